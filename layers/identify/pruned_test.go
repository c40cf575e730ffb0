package identify

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// blank returns a state of a net whose every element has a value of its own, as
// far as float32 goes.
func blank(t *testing.T, n *layers.Net) layers.StateDict {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	var s layers.StateDict
	next := float32(0)
	for _, slot := range m.Slots() {
		e := layers.Entry{Name: slot.Variable.Name, Shape: slot.Shape()}
		if slot.Variable.DType == engine.Int64 {
			e.Int = []int64{3}
		} else {
			e.Data = make([]float32, slot.Variable.Len())
			for i := range e.Data {
				next++
				e.Data[i] = next
			}
		}
		s = append(s, e)
	}
	return s
}

// TestPrunedFamilies cuts random channels of half of the groups of every family,
// and wants the file found to be that net: no module of it is in the file.
func TestPrunedFamilies(t *testing.T) {
	for i, family := range layers.Families() {
		// What is connected, and how channels are shuffled, depends on the base in
		// some families, and a pruned file does not tell the base.
		a := layers.Arch{Family: family, Classes: 7}
		if layers.FamilyWidths(family, func(string) int { return 1 }) != nil && !strings.HasPrefix(family, "shufflenet") {
			a.Base = 8
		}
		if family == "resnext50_32x4d" {
			a.Base = 32 // where its groups are wider than one channel
		}
		n, err := a.Net()
		if err != nil {
			t.Fatal(err)
		}
		groups, err := n.Groups()
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(i), 5))
		keep := make(map[string][]int)
		for _, g := range groups {
			// Some channels of ShuffleNet's stages lie on the same axes throughout,
			// so that shapes do not tell how many of each have been cut.
			apart := !strings.HasPrefix(family, "shufflenet") || !strings.Contains(g.Name, "branch1")
			if g.Fixed != "" || g.Size < 2 || r.IntN(2) == 0 || !apart {
				continue
			}
			units := r.Perm(g.Size)[:1+r.IntN(g.Size-1)]
			slices.Sort(units)
			keep[g.Name] = units
		}
		if len(keep) == 0 {
			t.Errorf("%s has nothing to cut", family)
		}
		pruned, state, err := layers.Select(keep)(n, blank(t, n))
		if err != nil {
			t.Fatalf("%s: %v", family, err)
		}
		var file []named.Tensor
		for _, e := range state {
			file = append(file, named.Tensor{Name: e.Name, Shape: e.Shape, DType: "float32", Float: e.Data, Int: e.Int})
		}
		m, err := Identify(file)
		if err != nil {
			t.Errorf("%s: %v", family, err)
			continue
		}
		if !m.Net.Equal(pruned) {
			t.Errorf("%s is found as another net, a %s", family, m.Net.Family)
		}
		checkState(t, m, file)
	}
}

// TestAuxiliaryHeads: what torchvision's files hold beside a net that has been
// trained with auxiliary heads is left out in a line; what has other names is not.
func TestAuxiliaryHeads(t *testing.T) {
	for family, heads := range map[string][]string{
		"inception_v3": {"AuxLogits.conv0.conv", "AuxLogits.fc"}, "googlenet": {"aux1.conv.conv", "aux1.fc1", "aux2.conv.conv", "aux2.fc2"},
	} {
		n, err := layers.Arch{Family: family, Classes: 7, Base: 4}.Net()
		if err != nil {
			t.Fatal(err)
		}
		var net, file []named.Tensor
		for _, e := range blank(t, n) {
			net = append(net, named.Tensor{Name: e.Name, Shape: e.Shape, DType: "float32", Float: e.Data, Int: e.Int})
		}
		for _, h := range heads {
			file = append(file, vector(h+".weight", 5, 3, 1, 1), vector(h+".bias", 5))
		}
		for _, prefix := range []string{"", "module."} {
			m, err := Identify(under(prefix, slices.Concat(net[:len(net)-2], file, net[len(net)-2:])))
			if err != nil {
				t.Errorf("%s under %q: %v", family, prefix, err)
				continue
			}
			checkState(t, m, net)
			if !strings.Contains(m.LeftOut, "left out: "+prefix+heads[0]+".weight") {
				t.Errorf("%s under %q: the notes are %q", family, prefix, m.Notes)
			}
		}
		if m, err := Identify(append(file[:len(file):len(file)], append(net, vector("side.weight", 5, 3, 1, 1))...)); err == nil {
			t.Errorf("with another layer beside it, %s is found: %+v", family, m.Notes)
		}
	}
}
