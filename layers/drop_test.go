package layers_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestDropBranch: a net without a branch computes what it does with a branch whose last
// tensors are zeros, and has all other tensors as they were.
func TestDropBranch(t *testing.T) {
	for family, sum := range map[string]string{"mlperf_resnet8": "", "resnet18": "layer3.1.add", "convnext_tiny": ""} { // "": the first
		n := newModel(t, layers.Arch{Family: family, Classes: 3, Base: 8}).Net()
		sums := n.Branches()
		if len(sums) == 0 || sum != "" && !slices.Contains(sums, sum) {
			t.Fatalf("%s has the branches %q", family, sums)
		}
		if sum == "" {
			sum = sums[0]
		}
		s := drawnState(t, n, 3)
		out, state, err := layers.DropBranch(sum)(n, s)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.CheckState(state); err != nil {
			t.Errorf("%s: %v", family, err)
		}
		silent := slices.Clone(s)
		for i, e := range silent {
			switch kept := state.Find(e.Name); {
			case kept == nil && len(e.Int) == 0 && !strings.HasSuffix(e.Name, "running_var"):
				silent[i].Data = make([]float32, len(e.Data))
			case kept != nil && !slices.Equal(kept.Data, e.Data):
				t.Errorf("%s: %s has changed", family, e.Name)
			}
		}
		if len(state) >= len(s) || !slices.Equal(logitsOf(t, out, state), logitsOf(t, n, silent)) {
			t.Errorf("%s without %s is not the net with a silent branch", family, sum)
		}
		if alone, none, err := layers.DropBranch(sum)(n, nil); err != nil || none != nil || !alone.Equal(out) {
			t.Errorf("%s: the net alone: %v", family, err)
		}
	}
}

func TestDropBranchRefusals(t *testing.T) {
	n := newModel(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 8}).Net()
	s := drawnState(t, n, 3)
	for _, c := range []struct {
		sum, want string
		s         layers.StateDict
	}{
		{"nothing", "no module nothing", s},
		{"layer2.0.add", "no sum with a shortcut and a branch", s}, // its shortcut is a convolution
		{"layer1.0.add", "is missing", s[1:]},
	} {
		if _, _, err := layers.DropBranch(c.sum)(n, c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.sum, err, c.want)
		}
	}
}
