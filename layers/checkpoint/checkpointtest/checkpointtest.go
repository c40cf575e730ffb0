// Package checkpointtest makes the small nets with drawn weights that the tests
// of everything that takes a checkpoint begin with, and runs them. It knows
// nets and their states only; what else is in a checkpoint is each test's own,
// so that the tests of package checkpoint can use it too.
package checkpointtest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// Counter is the value of a state's first counter, and no float16.
const Counter = 4711

// Families returns the families that tests go through where all would take too
// long: the study's, and one with a residual connection and one with a shuffle of
// channels beside them. Tests of package layers hold what they say of the others.
func Families() []string {
	return []string{"cnn-plain", "cnn-dwpw", "cnn-group", "cnn-group-printed", "hw7-student", "resnet18", "shufflenet_v2_x0_5"}
}

// Architectures returns a small net of each of Families, by the family's name,
// and a pruned net of each kind.
func Architectures() map[string]layers.Arch {
	all := make(map[string]layers.Arch)
	for _, f := range Families() {
		all[f] = layers.Arch{Family: f, Classes: 5, Base: 4}
	}
	all["pruned dwpw"] = layers.Arch{Family: "cnn-dwpw", Classes: 11, Widths: []int{16, 32, 64, 44, 44, 44, 89, 89, 256}}
	all["pruned student"] = layers.Arch{Family: "hw7-student", Classes: 3, Widths: []int{4, 8, 16, 3, 7, 5, 11, 13}}
	all["pruned resnet"] = layers.Arch{Family: "resnet18", Classes: 3, Widths: []int{3, 5, 7, 4}}
	all["pruned group"] = layers.Arch{Family: "cnn-group", Classes: 3, Widths: []int{2, 4, 2, 6, 2, 7}}
	return all
}

// Draw returns a net of an architecture and its State.
func Draw(t testing.TB, a layers.Arch, seed uint64) (*layers.Model, layers.StateDict) {
	t.Helper()
	m, err := layers.New(a)
	if err != nil {
		t.Fatal(err)
	}
	return m, State(t, m, seed)
}

// State returns a net's state as training begins with it: weights that the seed
// draws, every BatchNorm at the constants it starts from. Only the counters
// differ from zero and from one another: they go on from Counter.
func State(t testing.TB, m *layers.Model, seed uint64) layers.StateDict {
	t.Helper()
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := m.Init(store, seed); err != nil {
		t.Fatal(err)
	}
	state, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	count := int64(Counter)
	for _, e := range state {
		if e.Integer() {
			e.Int[0] = count
			count++
		}
	}
	return state
}

// Redraw draws a state's values anew, each uniform in the range that the rule
// gives for its tensor, from lo to but without hi. Where lo is hi the tensor is
// left as it is. It returns the state.
func Redraw(s layers.StateDict, seed uint64, rule func(e layers.Entry) (lo, hi float64)) layers.StateDict {
	r := random.New(seed, 0, 0, random.UseOther)
	for _, e := range s {
		lo, hi := rule(e)
		if lo == hi {
			continue
		}
		for i := range e.Data {
			e.Data[i] = float32(r.Uniform(lo, hi))
		}
	}
	return s
}

// Trained is a rule for Redraw under which biases and BatchNorms are like those
// of a net that has learned: no two values alike, factors and variances in
// [0.5, 1.5), biases, shifts and means in [-0.3, 0.3).
func Trained(e layers.Entry) (lo, hi float64) {
	switch {
	case len(e.Shape) != 1: // weights of layers, and counters
		return 0, 0
	case strings.HasSuffix(e.Name, ".weight"), strings.HasSuffix(e.Name, ".running_var"):
		return 0.5, 1.5
	}
	return -0.3, 0.3
}

// Logits runs a net on three drawn images of 32×32 pixels, on the CPU with one
// thread, and returns its logits, [3, classes]. The net is loaded by restore,
// such as a Checkpoint's Restore.
func Logits(t testing.TB, restore func(*engine.Store) (*layers.Model, error)) []float32 {
	t.Helper()
	const batch, size = 3, 32
	images := make([]float32, batch*size*size*3)
	r := random.New(1, 0, 0, random.UseOther)
	for i := range images {
		images[i] = float32(r.Float64())
	}
	return LogitsOf(t, restore, images, batch, size)
}

// LogitsOf is Logits for given images [batch, size, size, C].
func LogitsOf(t testing.TB, restore func(*engine.Store) (*layers.Model, error), images []float32, batch, size int) []float32 {
	t.Helper()
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	store := engine.NewStore(b)
	defer store.Close()
	m, err := restore(store)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.NewEvaluator(m, store, m.Arch().Classes, train.EvalOptions{Batch: batch})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	out, err := e.Logits(context.Background(), images, batch, size, size)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Muted returns the state with zeros in the columns, of all consumers, of the
// units that are not kept: what a cut must equal.
func Muted(s layers.StateDict, groups []layers.Group, keep map[string][]int) layers.StateDict {
	out := slices.Clone(s)
	for _, g := range groups {
		kept, cut := keep[g.Name]
		if !cut {
			continue
		}
		for _, u := range g.Uses {
			if u.Axis != 1 {
				continue
			}
			e := out.Find(u.Tensor)
			e.Data = slices.Clone(e.Data)
			inner := len(e.Data) / e.Shape[0] / e.Shape[1]
			for i := range e.Data {
				if unit := u.At[i/inner%e.Shape[1]]; unit >= 0 && !slices.Contains(kept, int(unit)) {
					e.Data[i] = 0
				}
			}
		}
	}
	return out
}
