package engine_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A net is a graph under test with its store.
type net struct {
	t     *testing.T
	g     *engine.Graph
	b     *engine.Builder
	store *engine.Store
}

func newNet(t *testing.T, opts ...ref.Option) *net {
	g := engine.NewGraph()
	return &net{t: t, g: g, b: engine.NewBuilder(g), store: engine.NewStore(ref.New(opts...))}
}

func (n *net) variable(name string, values ...float32) *engine.Value {
	return n.shaped(name, []int{len(values)}, values...)
}

func (n *net) shaped(name string, shape []int, values ...float32) *engine.Value {
	n.t.Helper()
	v := &engine.Variable{Name: name, Spec: engine.F32(shape...), Trainable: true}
	if err := n.store.Set(v, engine.Bytes(values)); err != nil {
		n.t.Fatal(err)
	}
	return n.b.Variable(v)
}

func (n *net) compile(out ...*engine.Value) *engine.Program {
	n.t.Helper()
	if err := n.b.Err(); err != nil {
		n.t.Fatal(err)
	}
	p, err := n.g.Compile(n.store.Backend(), engine.Options{Store: n.store, Outputs: out})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { p.Close() })
	return p
}

func (n *net) run(p *engine.Program, in engine.Bindings) {
	n.t.Helper()
	if err := p.Run(context.Background(), in); err != nil {
		n.t.Fatal(err)
	}
}

func (n *net) read(p *engine.Program, v *engine.Value) []float32 {
	n.t.Helper()
	out := make([]float32, v.Len())
	if err := p.Read(v, engine.Bytes(out)); err != nil {
		n.t.Fatal(err)
	}
	return out
}

// ops lists the operators of a plan.
func ops(p *engine.Program) []string {
	var names []string
	for _, s := range p.Plan().Steps {
		names = append(names, s.Op)
	}
	return names
}

// TestGradSums: a value used twice gets both contributions, one that the loss
// does not depend on gets none.
func TestGradSums(t *testing.T) {
	n := newNet(t)
	x, unused := n.variable("x", 3), n.variable("unused", 1)
	y := n.b.One(engine.Add{Weights: []float32{2, 5}}, x, x)
	grads, err := engine.Grad(n.g, y, []*engine.Value{x, unused})
	if err != nil {
		t.Fatal(err)
	}
	if grads[1] != nil {
		t.Errorf("gradient of an unused value: %v", grads[1])
	}
	p := n.compile(grads[0])
	n.run(p, nil)
	if got := n.read(p, grads[0]); got[0] != 7 {
		t.Errorf("d(2x+5x)/dx = %v, want 7", got[0])
	}
}

func TestGradNeedsAScalar(t *testing.T) {
	n := newNet(t)
	x := n.variable("x", 1, 2)
	if _, err := engine.Grad(n.g, n.b.One(engine.Activation{F: engine.ReLU}, x), []*engine.Value{x}); !errors.Is(err, engine.ErrShape) {
		t.Errorf("gradient of a vector: %v", err)
	}
}

// TestGradOfTheUndifferentiable: an operator without a gradient in the way is
// an error, beside the way it is not.
func TestGradOfTheUndifferentiable(t *testing.T) {
	n := newNet(t)
	x := n.variable("x", 1, 2)
	norm := n.b.Apply(engine.ClipScale{}, x)[0]
	if _, err := engine.Grad(n.g, norm, []*engine.Value{x}); err == nil || !strings.Contains(err.Error(), "ClipScale") {
		t.Errorf("gradient through ClipScale: %v", err)
	}
	if _, err := engine.Grad(n.g, norm, []*engine.Value{n.variable("y", 1)}); err != nil {
		t.Errorf("gradient beside ClipScale: %v", err)
	}
}

// TestDrop: what no output needs is not run; what updates a variable is.
func TestDrop(t *testing.T) {
	n := newNet(t)
	x := n.variable("x", -1, 2)
	y := n.b.One(engine.Activation{F: engine.ReLU}, x)
	n.b.One(engine.Activation{F: engine.ReLU6}, x) // needed by nobody
	decay, average := n.b.Input("decay", engine.F32()), n.variable("average", 0, 0)
	n.b.Apply(engine.EMA{K: 1}, decay, x, average)
	p := n.compile(y)
	if got := append(planNames(p.Plan().Prepared), ops(p)...); !slices.Equal(got, []string{"Activation", "EMA"}) {
		t.Errorf("plan is %v", got)
	}
	n.run(p, engine.Bindings{decay: engine.Bytes([]float32{0.5})})
	got := make([]float32, 2)
	if err := n.store.Get(average.Variable(), engine.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	if want := []float32{-0.5, 1}; !slices.Equal(got, want) {
		t.Errorf("average is %v, want %v", got, want)
	}
}

func planNames(steps []engine.PlanStep) (names []string) {
	for _, s := range steps {
		names = append(names, s.Op)
	}
	return names
}

// TestHoist: what depends on unchanging variables only runs again when one of
// them is set, and not otherwise.
func TestHoist(t *testing.T) {
	n := newNet(t)
	x := n.b.Input("x", engine.F32(2))
	w := n.variable("w", -4, 4)
	folded := n.b.One(engine.Activation{F: engine.ReLU}, w)
	y := n.b.One(engine.Add{}, x, folded)
	p := n.compile(y)
	if len(p.Plan().Prepared) != 1 || len(p.Plan().Steps) != 1 {
		t.Fatalf("prepared %v, steps %v", p.Plan().Prepared, p.Plan().Steps)
	}
	in := engine.Bindings{x: engine.Bytes([]float32{1, 1})}
	for _, set := range [][]float32{nil, {5, -5}, nil} {
		want := []float32{1, 5}
		if set != nil {
			if err := n.store.Set(w.Variable(), engine.Bytes(set)); err != nil {
				t.Fatal(err)
			}
		}
		got := make([]float32, 2)
		if err := n.store.Get(w.Variable(), engine.Bytes(got)); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			want[i] = 1 + max(v, 0)
		}
		n.run(p, in)
		if got := n.read(p, y); !slices.Equal(got, want) {
			t.Errorf("y = %v, want %v", got, want)
		}
	}
}

// TestStaleRead: a plan that reads a variable after it has been overwritten is
// refused.
func TestStaleRead(t *testing.T) {
	n := newNet(t)
	decay := n.b.Input("decay", engine.F32())
	x, average := n.variable("x", 1), n.variable("average", 0)
	moved := n.b.Apply(engine.EMA{K: 1}, decay, x, average)[0]
	stale := n.b.One(engine.Add{}, average, x)
	_, err := n.g.Compile(n.store.Backend(), engine.Options{Store: n.store, Outputs: []*engine.Value{stale}})
	if err == nil || !strings.Contains(err.Error(), "overwritten") {
		t.Errorf("reading the old value: %v", err)
	}
	fresh := n.b.One(engine.Add{}, moved, x)
	p := n.compile(fresh)
	n.run(p, engine.Bindings{decay: engine.Bytes([]float32{0})})
	if got := n.read(p, fresh); got[0] != 2 {
		t.Errorf("reading the new value gives %v, want 2", got)
	}
}

// TestUpdatingWhatIsNoVariable: an operator may overwrite variables only.
func TestUpdatingWhatIsNoVariable(t *testing.T) {
	n := newNet(t)
	decay, x := n.b.Input("decay", engine.F32()), n.b.Input("x", engine.F32(1))
	n.b.Apply(engine.EMA{K: 1}, decay, x, n.b.One(engine.Activation{F: engine.ReLU}, x))
	if _, err := n.g.Compile(n.store.Backend(), engine.Options{Store: n.store}); err == nil {
		t.Error("overwriting an intermediate value is accepted")
	}
}

// blockNet is conv → BatchNorm → ReLU6 → MaxPool2 → mean → loss with its gradient.
func blockNet(t *testing.T, train bool, opts ...ref.Option) (*net, *engine.Value, engine.Bindings, []*engine.Value) {
	n := newNet(t, opts...)
	x, target := n.b.Input("x", engine.F32(2, 5, 5, 1)), n.b.Input("target", engine.F32(2, 2))
	w := n.shaped("w", []int{3, 3, 1, 2}, 1, -1, .5, 2, -.25, 1, 3, 1, -2, .5, .25, -.5, 1, 1, -1, 2, .75, -.75)
	gamma, beta := n.variable("gamma", 1, -2), n.variable("beta", .5, .25)
	mean, variance := n.variable("mean", 0, 0), n.variable("var", 1, 1)
	y := n.b.One(engine.Conv2D{Pad: engine.Around(1)}, x, w)
	y = n.b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, y, gamma, beta, mean, variance)
	y = n.b.One(engine.Activation{F: engine.ReLU6}, y)
	y = n.b.One(engine.MaxPool2D{Window: engine.Square(2, 0, 0)}, y)
	loss := n.b.One(engine.CrossEntropy{}, n.b.One(engine.GlobalAvgPool{}, y), target)
	pixels := make([]float32, x.Len())
	for i := range pixels {
		pixels[i] = float32(math.Sin(float64(i * i)))
	}
	in := engine.Bindings{x: engine.Bytes(pixels), target: engine.Bytes([]float32{1, 0, 0, 1})}
	outs := []*engine.Value{loss}
	grads, err := engine.Grad(n.g, loss, []*engine.Value{w, gamma, beta})
	if err != nil {
		t.Fatal(err)
	}
	return n, loss, in, append(outs, grads...)
}

// TestFuse: the fused plan has the fused operators and none that they stand
// for, and computes the same.
func TestFuse(t *testing.T) {
	for _, train := range []bool{true, false} {
		var results [2][][]float32
		for i, opts := range [][]ref.Option{nil, {ref.WithoutFusion()}} {
			n, _, in, outs := blockNet(t, train, opts...)
			p := n.compile(outs...)
			n.run(p, in)
			for _, v := range outs {
				results[i] = append(results[i], n.read(p, v))
			}
			fused := slices.Contains(ops(p), "BatchNormAct") && slices.Contains(ops(p), "BatchNormActBackward") && !slices.Contains(ops(p), "MaxPool2D")
			if want := train && i == 0; fused != want {
				t.Errorf("train=%v, fusion %v: plan is %v", train, i == 0, ops(p))
			}
		}
		for k, want := range results[1] {
			for i := range want {
				if d := math.Abs(float64(results[0][k][i] - want[i])); d > 1e-5*(1+math.Abs(float64(want[i]))) {
					t.Errorf("train=%v, output %d[%d]: fused %v, plain %v", train, k, i, results[0][k][i], want[i])
				}
			}
		}
	}
}

// TestFoldForEvaluation: convolution, BatchNorm, residual and activation become
// one step, the fold is hoisted.
func TestFoldForEvaluation(t *testing.T) {
	n := newNet(t)
	x := n.b.Input("x", engine.F32(1, 2, 2, 2))
	w := n.shaped("w", []int{1, 1, 2, 2}, 1, 2, 3, 4)
	y := n.b.One(engine.Conv2D{}, x, w)
	y = n.b.One(engine.BatchNorm{Eps: 1}, y, n.variable("γ", 2, 2), n.variable("β", 1, -40), n.variable("μ", 0, 0), n.variable("v", 3, 0))
	y = n.b.One(engine.Activation{F: engine.ReLU}, n.b.One(engine.Add{}, y, x))
	p := n.compile(y)
	if got := ops(p); !slices.Equal(got, []string{"Conv2D"}) || len(p.Plan().Prepared) != 1 {
		t.Fatalf("plan is %v, prepared %v", got, p.Plan().Prepared)
	}
	n.run(p, engine.Bindings{x: engine.Bytes([]float32{1, 1, 2, 2, -1, -1, 0, 10})})
	// (x·w)·γ/√(v+1) + β + x, then ReLU: γ/√(v+1) is 1 and 2
	want := []float32{4 + 1 + 1, 0, 8 + 1 + 2, 0, 0, 0, 30 + 1, 80 - 40 + 10}
	if got := n.read(p, y); !slices.Equal(got, want) {
		t.Errorf("y = %v, want %v", got, want)
	}
}

func TestRunRefusesWrongInputs(t *testing.T) {
	n := newNet(t)
	x := n.b.Input("x", engine.F32(2))
	y := n.b.One(engine.Activation{F: engine.ReLU}, x)
	p := n.compile(y)
	if err := p.Run(context.Background(), nil); err == nil || !strings.Contains(err.Error(), "x(2) is not bound") {
		t.Errorf("unbound input: %v", err)
	}
	if err := p.Run(context.Background(), engine.Bindings{x: make([]byte, 4)}); !errors.Is(err, engine.ErrShape) {
		t.Errorf("short input: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := p.Read(x, make([]byte, 8)); err == nil {
		t.Error("reading what is no output is accepted")
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// TestBuilderKeepsTheFirstError: a net may be written down without a check
// after every layer; the error names the layer and the shapes.
func TestBuilderKeepsTheFirstError(t *testing.T) {
	n := newNet(t)
	restore := n.b.Scope("features.0")
	x := n.b.Input("x", engine.F32(1, 8, 8, 3))
	y := n.b.One(engine.Conv2D{}, x, n.shaped("w", []int{3, 3, 4, 8}, make([]float32, 3*3*4*8)...))
	y = n.b.One(engine.GlobalAvgPool{}, y)
	restore()
	n.b.One(engine.Linear{}, y, y)
	err := n.b.Err()
	if !errors.Is(err, engine.ErrShape) || !strings.Contains(err.Error(), "features.0") || !strings.Contains(err.Error(), "3x3x4x8") {
		t.Errorf("error is %v", err)
	}
}
