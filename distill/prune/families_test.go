package prune

import (
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
)

// bases are those of the small copies, where it is not 4.
var bases = map[string]int{"googlenet": 8, "inception_v3": 2, "convnext_tiny": 6, "resnext50_32x4d": 16, "shufflenet_v2_x1_0": 8}

// normed reports whether a net normalizes over channels, so that zeros are not what
// a cut leaves.
func normed(n *layers.Net) bool {
	return slices.ContainsFunc(n.Modules, func(m layers.Module) bool {
		switch m.Kind.(type) {
		case layers.LayerNorm2d, layers.GroupNorm, layers.LocalResponseNorm:
			return true
		}
		return false
	})
}

// TestFamilies prunes every family by 30, 50 and 75 %: the cut net computes what the
// dense one does with the consumers' columns zeroed, and comes back from ONNX.
func TestFamilies(t *testing.T) {
	criteria, ranks := []string{"l1", "l2", "lamp", "fpgm", "random"}, rankings
	for i, family := range layers.Families() {
		if testing.Short() && i%4 != 0 {
			continue
		}
		t.Run(family, func(t *testing.T) {
			base := bases[family]
			if base == 0 {
				base = 4
			}
			c := drawn(t, layers.Arch{Family: family, Classes: 3, Base: base})
			size := 32
			switch {
			case family == "inception_v3":
				size = 80
			case strings.HasPrefix(family, "vgg1"):
				size = 224
			}
			c.Preprocess.Size = size
			r := rand.New(rand.NewPCG(uint64(i), 1))
			images := make([]float32, size*size*3)
			for k := range images {
				images[k] = r.Float32()
			}
			for k, ratio := range []float64{0.3, 0.5, 0.75} {
				o := Options{Ratio: ratio, Criterion: criteria[(i+k)%len(criteria)], Rank: ranks[(i+k)%len(ranks)], Size: size}
				checkCut(t, c, o, images, size)
			}
		})
	}
}

func checkCut(t *testing.T, c *checkpoint.Checkpoint, o Options, images []float32, size int) {
	t.Helper()
	out, rep := cutBy(t, c, o)
	if rep.ParamsAfter >= rep.ParamsBefore {
		t.Errorf("%+v: %d of %d parameters", o, rep.ParamsAfter, rep.ParamsBefore)
	}
	got := checkpointtest.LogitsOf(t, out.Restore, images, 1, size)
	groups, err := c.Net.Groups()
	if err != nil {
		t.Fatal(err)
	}
	keep := make(map[string][]int)
	i := 0
	for _, g := range groups {
		if g.Fixed == "" {
			if rep.Kept[i] != nil {
				keep[g.Name] = rep.Kept[i]
			}
			i++
		}
	}
	if normed(c.Net) {
		sliced(t, c, out, groups, keep)
	} else {
		dense := *c
		dense.State = checkpointtest.Muted(c.State, groups, keep)
		if d := apart(checkpointtest.LogitsOf(t, dense.Restore, images, 1, size), got); d > 1e-5 {
			t.Errorf("%+v: the cut net differs by %g from the dense one with zeros", o, d)
		}
	}
	path := filepath.Join(t.TempDir(), "cut.onnx")
	if _, err := onnx.Write(path, out, onnx.Options{}); err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	back, err := checkpoint.Open(path, checkpoint.OpenOptions{})
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	if d := apart(got, checkpointtest.LogitsOf(t, back.Restore, images, 1, size)); d > 1e-4 {
		t.Errorf("%+v: back from ONNX the net differs by %g", o, d)
	}
}

// sliced cuts every tensor by hand, index by index, and compares.
func sliced(t *testing.T, c, out *checkpoint.Checkpoint, groups []layers.Group, keep map[string][]int) {
	t.Helper()
	gone := make(map[string]map[int]map[int]bool) // tensor, axis, index
	for _, g := range groups {
		kept, cut := keep[g.Name]
		if !cut {
			continue
		}
		for _, u := range g.Uses {
			for at, unit := range u.At {
				if unit < 0 || slices.Contains(kept, int(unit)) {
					continue
				}
				if gone[u.Tensor] == nil {
					gone[u.Tensor] = make(map[int]map[int]bool)
				}
				if gone[u.Tensor][u.Axis] == nil {
					gone[u.Tensor][u.Axis] = make(map[int]bool)
				}
				gone[u.Tensor][u.Axis][at] = true
			}
		}
	}
	for _, e := range c.State {
		var want []float32
		for i, v := range e.Data {
			rest, stays := len(e.Data), true
			for axis, d := range e.Shape {
				rest /= d
				if gone[e.Name][axis][i/rest%d] {
					stays = false
				}
			}
			if stays {
				want = append(want, v)
			}
		}
		if got := out.State.Find(e.Name).Data; !slices.Equal(got, want) {
			t.Errorf("%s is not what is left of it: %d values, want %d", e.Name, len(got), len(want))
		}
	}
}
