package distill

import (
	"context"
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

// nothing is an objective whose gradients are zero.
type nothing struct{ train.Stateless }

func (nothing) Build(b *engine.Builder, _ *train.Batch, out *engine.Outputs) []train.Term {
	return []train.Term{{Name: "nothing", Weight: 0, Value: b.One(engine.MSE{}, out.Logits, out.Logits)}}
}

// TestSparse: a step of plain gradient descent under the penalty alone moves every γ
// by lr·strength toward 0, and nothing else.
func TestSparse(t *testing.T) {
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer ds.Close()
	ds.Train, ds.Val = ds.Train.Subset(10), ds.Val.Subset(10)
	m, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: len(ds.Classes), Base: 4})
	if err != nil {
		t.Fatal(err)
	}
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	store := engine.NewStore(b)
	defer store.Close()
	before := checkpointtest.Redraw(checkpointtest.State(t, m, 1), 2, checkpointtest.Trained)
	w := before.Find("cnn.3.1.weight")
	w.Data[1], w.Data[2] = -0.7, 0.01
	if err := m.Load(store, before); err != nil {
		t.Fatal(err)
	}
	const strength, lr = 0.5, 0.1
	o, err := NewSparse(nothing{}, m, strength)
	if err != nil {
		t.Fatal(err)
	}
	c := train.Config{
		Epochs: 1, Batch: ds.Train.Len(), Objective: o, Train: data.EvalTransform(28), Eval: data.EvalTransform(28),
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
	after, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, e := range before {
		if e.Integer() || strings.Contains(e.Name, "running_") {
			continue
		}
		norm := false
		if mod := m.Net().Module(strings.TrimSuffix(e.Name, ".weight")); mod != nil {
			_, norm = mod.Kind.(layers.BatchNorm2d)
		}
		for k, v := range e.Data {
			want := float64(v)
			if norm {
				sum += math.Abs(want)
				want -= lr * strength * math.Copysign(1, want)
			}
			if got := float64(after[i].Data[k]); math.Abs(got-want) > 1e-6 {
				t.Fatalf("%s %d: %g after %g, want %g", e.Name, k, got, v, want)
			}
		}
	}
	if loss := res.History[0].TrainLoss; math.Abs(loss-strength*sum) > 1e-4*sum {
		t.Errorf("the loss is %g, want %g", loss, strength*sum)
	}
	folded, err := layers.New(layers.Arch{Family: "vgg16", Classes: 3, Base: 4})
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []struct {
		m        *layers.Model
		strength float64
		want     string
	}{{m, 0, "give a positive number"}, {m, math.NaN(), "give a positive number"}, {folded, 1, "vgg16 trains none"}} {
		if _, err := NewSparse(nothing{}, bad.m, bad.strength); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: %v", bad.strength, err)
		}
	}
}
