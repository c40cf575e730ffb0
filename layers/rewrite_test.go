package layers

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// started returns a model's state as training begins with it.
func started(t *testing.T, n *Net, seed uint64) StateDict {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(memory{})
	if err := m.Init(store, seed); err != nil {
		t.Fatal(err)
	}
	s, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReplaceHead gives every family a new last layer, and keeps every other
// tensor.
func TestReplaceHead(t *testing.T) {
	for _, family := range Families() {
		m := newModel(t, Arch{Family: family, Classes: 7, Base: 4})
		s := started(t, m.Net(), 5)
		n, got, err := ReplaceHead(2, 3)(m.Net(), s)
		if err != nil {
			t.Fatal(err)
		}
		want := newModel(t, Arch{Family: family, Classes: 2, Base: 4}).Net()
		if !n.Equal(want) || n.Classes() != 2 {
			t.Errorf("%s: the net is not that of 2 classes", family)
		}
		fresh := started(t, want, 3)
		for i, e := range got {
			w := s[i]
			if i >= len(got)-2 {
				w = fresh[i]
			}
			if e.Name != w.Name || !slices.Equal(e.Shape, w.Shape) || !slices.Equal(e.Data, w.Data) {
				t.Errorf("%s: %s is not what it should be", family, e.Name)
			}
		}
		if _, _, err := ReplaceHead(0, 1)(m.Net(), s); err == nil || !strings.Contains(err.Error(), "0 classes") {
			t.Errorf("no classes: %v", err)
		}
	}
}
