package train

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A drawn objective has the labels' term and one that draws the logits to the
// squares of what its own matrix makes of them: that matrix has no gradient of the labels.
type drawn struct {
	Stateless
	own *engine.Variable
}

func (o *drawn) State() []*engine.Variable { return []*engine.Variable{o.own} }

func (o *drawn) Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term {
	like := b.One(engine.Linear{}, out.Logits, b.Variable(o.own))
	return []Term{
		{Name: "labels", Weight: 0.5, Value: b.One(engine.CrossEntropy{}, out.Logits, in.Target)},
		{Name: "teacher", Weight: 2, Value: b.One(engine.MSE{}, like, b.One(engine.Fill{Value: 1, Shape: like.Shape})), Imitation: true},
	}
}

// TestDOT holds three steps to the rule by hand: two momenta for what has both
// gradients, one for what has that of the teacher alone.
func TestDOT(t *testing.T) {
	const lr, mu, delta, decay, n = 0.1, 0.5, 0.25, 0.125, 4
	net, store := newLinearNet(2*2*3, 3), newStore(t)
	fill(t, store, net.Variables(), 4)
	o := &drawn{own: &engine.Variable{Name: "own", Spec: engine.F32(3, 3), Trainable: true}}
	fill(t, store, []*engine.Variable{o.own}, 5)
	c := Config{Objective: o, Optimizer: OptimizerConfig{Kind: SGD, LR: lr, Momentum: mu, WeightDecay: decay, DOT: new(delta)}}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(n, 2, 2, 3))
	step := NewStep(net, c)
	w, err := step.Build(b, []*engine.Value{x}, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Params) != 5 { // two of the net, twice, and the objective's
		t.Fatalf("%d gradients, not 5", len(w.Params))
	}
	prog, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: append(w.Outputs(), w.Gradients...)})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	images, target := make([]float32, x.Len()), make([]float32, 3*n)
	for i := range images {
		images[i] = float32(i*7919%256)/128 - 1
	}
	for i := range n {
		target[i*3+i%3] = 1
	}
	buffers := [2]map[*engine.Variable][]float64{{}, {}}
	for k := range 3 {
		step.Tell(Moment{Update: k, First: true, LR: lr}, &data.Batch{N: n})
		w.In[x], w.In[w.Target] = engine.Bytes(images), engine.Bytes(target)
		want := make(map[*engine.Variable][]float64)
		for _, p := range w.Params {
			if want[p] == nil {
				for _, v := range floats(t, store, p) {
					want[p] = append(want[p], float64(v))
				}
			}
		}
		before := make(map[*engine.Variable][]float64)
		for p, v := range want {
			before[p] = append([]float64(nil), v...)
		}
		if err := prog.Run(context.Background(), w.In); err != nil {
			t.Fatal(err)
		}
		for i, p := range w.Params {
			g := make([]float32, p.Len())
			if err := prog.Read(w.Gradients[i], engine.Bytes(g)); err != nil {
				t.Fatal(err)
			}
			part, momentum, lambda := 0, mu-delta, decay
			switch {
			case p == o.own:
				part, momentum = 1, mu
			case i >= 2:
				part, momentum, lambda = 1, mu+delta, 0
			}
			buffer := buffers[part][p]
			if buffer == nil {
				buffer = make([]float64, len(g))
				momentum = 0
			}
			for j := range g {
				buffer[j] = momentum*buffer[j] + float64(g[j]) + lambda*before[p][j]
				want[p][j] -= lr * buffer[j]
			}
			buffers[part][p] = buffer
		}
		for p, v := range want {
			for j, got := range floats(t, store, p) {
				if math.Abs(float64(got)-v[j]) > 1e-6 {
					t.Fatalf("step %d: %s[%d] is %v, by hand %v", k, p.Name, j, got, v[j])
				}
			}
		}
	}
}

func TestDOTSettings(t *testing.T) {
	for want, set := range map[string]func(c *Config){
		"belong to sgd":    func(c *Config) { c.Optimizer.Kind, c.Optimizer.DOT = AdamW, new(0.1) },
		"at most the mom":  func(c *Config) { c.Optimizer.Kind, c.Optimizer.DOT = SGD, new(0.1) },
		"neither clipped":  func(c *Config) { c.Optimizer.Momentum, c.Optimizer.DOT, c.ClipNorm = 0.9, new(0.05), 1 },
		"nor accumulated;": func(c *Config) { c.Optimizer.Momentum, c.Optimizer.DOT, c.Accumulate = 0.9, new(0.05), 2 },
	} {
		c := base()
		c.Optimizer.Kind = SGD
		set(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	b := engine.NewBuilder(engine.NewGraph())
	net := newLinearNet(2*2*3, 3)
	c := Config{Optimizer: OptimizerConfig{Kind: SGD, LR: 1, Momentum: 0.5, DOT: new(0.1)}}
	_, err := NewStep(net, c).Build(b, []*engine.Value{b.Input("images", engine.F32(2, 2, 2, 3))}, 3, 1)
	if err == nil || !strings.Contains(err.Error(), "terms of both") {
		t.Errorf("without a teacher: %v", err)
	}
}
