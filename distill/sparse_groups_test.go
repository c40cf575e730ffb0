package distill

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// places returns the unit of each element of a tensor of PyTorch's shape, -1 for none.
func places(e *layers.Entry, u *layers.Use) []int {
	inner := 1
	for _, d := range e.Shape[u.Axis+1:] {
		inner *= d
	}
	out := make([]int, len(e.Data))
	for i := range out {
		out[i] = int(u.At[i/inner%e.Shape[u.Axis]])
	}
	return out
}

// A pull is the penalty on groups in float64, from its definition.
type pull struct {
	by     string
	growth float64              // over the strength
	factor map[string][]float64 // growing: of the units of a group
}

// of returns the penalty over its strength, and its gradient by the names of tensors.
func (p *pull) of(t *testing.T, n *layers.Net, s layers.StateDict) (float64, map[string][]float64) {
	t.Helper()
	groups, err := n.Groups()
	if err != nil {
		t.Fatal(err)
	}
	loss, grad := 0.0, make(map[string][]float64)
	for _, g := range groups {
		if g.Fixed != "" || g.Size == 1 {
			continue
		}
		square := make([]float64, g.Size)
		each := func(do func(name string, i, unit int, w float64)) {
			for k := range g.Uses {
				e := s.Find(g.Uses[k].Tensor)
				if !strings.HasSuffix(e.Name, ".weight") {
					continue
				}
				for i, unit := range places(e, &g.Uses[k]) {
					if unit >= 0 {
						do(e.Name, i, unit, float64(e.Data[i]))
					}
				}
			}
		}
		each(func(_ string, _, unit int, w float64) { square[unit] += w * w })
		least, most := math.Inf(1), 0.0
		for _, v := range square {
			least, most = min(least, math.Sqrt(v)), max(most, math.Sqrt(v))
		}
		factor := make([]float64, g.Size)
		for k, v := range square {
			far := (most - math.Sqrt(v)) / (most - least)
			switch {
			case p.by == SparseGroups:
				factor[k] = math.Pow(2, 4*far)
			case p.factor[g.Name] == nil:
				factor[k] = 1
			default:
				factor[k] = p.factor[g.Name][k] + p.growth*far
			}
			loss += factor[k] * v / 2
		}
		if p.by == SparseGrowing {
			p.factor[g.Name] = factor
		}
		each(func(name string, i, unit int, w float64) {
			if grad[name] == nil {
				grad[name] = make([]float64, len(s.Find(name).Data))
			}
			grad[name][i] += factor[unit] * w
		})
	}
	return loss, grad
}

// TestSparseGroups: epochs of one step of plain gradient descent under the penalty
// alone move every weight by its gradient as it is defined, and nothing else, in
// nets with residual sums, depthwise and grouped convolutions, squeeze and
// excitation, shuffles, concatenations and a linear layer behind a flatten.
func TestSparseGroups(t *testing.T) {
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(10), ds.Val.Subset(10)
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for family, base := range map[string]int{"resnet20": 8, "mobilenet_v3_small": 8, "shufflenet_v2_x0_5": 8, "regnet_x_400mf": 8, "squeezenet1_1": 8, "vgg11_bn": 1} {
		for _, by := range []string{SparseGroups, SparseGrowing} {
			t.Run(family+" "+by, func(t *testing.T) {
				testSparseGroups(t, b, ds, layers.Arch{Family: family, Classes: len(ds.Classes), Base: base}, by)
			})
		}
	}
}

func testSparseGroups(t *testing.T, b engine.Backend, ds *data.Dataset, arch layers.Arch, by string) {
	const strength, growth, lr, epochs, size = 1e-2, 5e-3, 0.1, 3, 64
	m, err := layers.New(arch)
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	want := checkpointtest.Redraw(checkpointtest.State(t, m, 1), 2, checkpointtest.Trained)
	if err := m.Load(store, want); err != nil {
		t.Fatal(err)
	}
	s := Sparsity{Strength: strength, By: by}
	if by == SparseGrowing {
		s.Growth = growth
	}
	o, err := s.Objective(nothing{}, m, store)
	if err != nil {
		t.Fatal(err)
	}
	c := train.Config{
		Epochs: epochs, Batch: ds.Train.Len(), Objective: o, Train: data.EvalTransform(size), Eval: data.EvalTransform(size),
		Optimizer: train.OptimizerConfig{Kind: train.SGD, LR: lr},
	}
	tr, err := train.New(m, store, ds, c, train.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	res, err := tr.Run(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p := &pull{by: by, growth: growth / strength, factor: make(map[string][]float64)}
	for epoch := range epochs {
		loss, grad := p.of(t, m.Net(), want)
		if got := res.History[epoch].TrainLoss; math.Abs(got-strength*loss) > 1e-5*strength*loss {
			t.Errorf("epoch %d: the loss is %g, want %g", epoch, got, strength*loss)
		}
		for name, g := range grad {
			e := want.Find(name)
			for i := range e.Data {
				e.Data[i] = float32(float64(e.Data[i]) - lr*strength*g[i])
			}
		}
	}
	after, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range want {
		for k, v := range e.Data {
			if got := float64(after[i].Data[k]); !strings.Contains(e.Name, "running_") && math.Abs(got-float64(v)) > 1e-5*max(math.Abs(float64(v)), 0.1) {
				t.Fatalf("%s %d: %g, want %g", e.Name, k, got, v)
			}
		}
	}
}

// TestSparsityValidate: settings that contradict each other are named.
func TestSparsityValidate(t *testing.T) {
	for want, s := range map[string]Sparsity{
		"give a positive number, as 1e-4": {Strength: math.NaN()},
		"sparsity a positive number":      {By: SparseGroups},
		"give scales, groups or growing":  {Strength: 1, By: "size"},
		"grows with by growing alone":     {Strength: 1, By: SparseGroups, Growth: 1},
		"grows by -1":                     {Strength: 1, By: SparseGrowing, Growth: -1},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", s, err)
		}
	}
	if err := (Sparsity{}).Validate(); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(Sparsity{Strength: 1e-4, By: SparseGrowing, Growth: 1e-5}); got != "0.0001 by growing and 1e-05 an epoch" {
		t.Error(got)
	}
}
