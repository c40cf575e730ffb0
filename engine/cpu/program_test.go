package cpu_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// eachVariant runs a test on every instruction set of this machine.
func eachVariant(t *testing.T, f func(t *testing.T, variant string)) {
	for _, v := range cpu.Variants() {
		t.Run(v, func(t *testing.T) { f(t, v) })
	}
}

// open returns a backend that is closed with the test.
func open(t *testing.T, variant string, threads int) *cpu.Backend {
	t.Helper()
	b, err := cpu.New(cpu.Options{Variant: variant, Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// The shapes of the test's net. Its images are large enough that every kind of
// launch but the losses is cut into several tasks.
const batch, size, classes = 8, 32, 5

// A net is a small classifier with one layer of each kind: conv3x3 – BatchNorm
// – ReLU6 – max pool, depthwise – BatchNorm – ReLU6, pointwise – ReLU, grouped
// conv of stride 2, global pool, Linear.
type net struct{ vars []*engine.Variable }

func (n *net) add(b *engine.Builder, name string, trainable bool, shape ...int) *engine.Value {
	for _, v := range n.vars {
		if v.Name == name {
			return b.Variable(v)
		}
	}
	v := &engine.Variable{Name: name, Spec: engine.F32(shape...), Trainable: trainable}
	n.vars = append(n.vars, v)
	return b.Variable(v)
}

func (n *net) norm(b *engine.Builder, x *engine.Value, name string, train bool) *engine.Value {
	c := x.Shape[3]
	x = b.One(engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: train}, x,
		n.add(b, name+".weight", true, c), n.add(b, name+".bias", true, c),
		n.add(b, name+".running_mean", false, c), n.add(b, name+".running_var", false, c))
	return b.One(engine.Activation{F: engine.ReLU6}, x)
}

func (n *net) forward(b *engine.Builder, x *engine.Value, train bool) *engine.Value {
	p := func(name string, shape ...int) *engine.Value { return n.add(b, name, true, shape...) }
	x = b.One(engine.Conv2D{Pad: 1}, x, p("stem.weight", 3, 3, 3, 16), p("stem.bias", 16))
	x = b.One(engine.MaxPool2D{Window: engine.Window{Kernel: 2}}, n.norm(b, x, "bn1", train))
	x = b.One(engine.Conv2D{Pad: 1, Groups: 16}, x, p("depthwise.weight", 3, 3, 1, 16), p("depthwise.bias", 16))
	x = n.norm(b, x, "bn2", train)
	x = b.One(engine.Conv2D{}, x, p("pointwise.weight", 1, 1, 16, 24), p("pointwise.bias", 24))
	x = b.One(engine.Activation{F: engine.ReLU}, x)
	x = b.One(engine.Conv2D{Pad: 1, Stride: 2, Groups: 2}, x, p("grouped.weight", 3, 3, 12, 24))
	x = b.One(engine.GlobalAvgPool{}, x)
	return b.One(engine.Linear{}, x, p("fc.weight", 24, classes), p("fc.bias", classes))
}

// fill gives the variables their first values, the same for the same seed.
func (n *net) fill(t *testing.T, store *engine.Store) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 11))
	for _, v := range n.vars {
		x := make([]float32, v.Len())
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * 0.3
			if strings.HasPrefix(v.Name, "bn") && (strings.HasSuffix(v.Name, ".weight") || strings.HasSuffix(v.Name, "_var")) {
				x[i] = 1 + x[i]*x[i]
			}
		}
		if err := store.Set(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
	}
}

// images returns a batch of noise and its one-hot target.
func images() (pixels, target []float32) {
	rng := rand.New(rand.NewPCG(1, 2))
	pixels, target = make([]float32, batch*size*size*3), make([]float32, batch*classes)
	for i := range pixels {
		pixels[i] = rng.Float32()
	}
	for i := range batch {
		target[i*classes+i%classes] = 1
	}
	return pixels, target
}

// A trial is a compiled program over a net of its own.
type trial struct {
	net   *net
	store *engine.Store
	prog  *engine.Program
	in    engine.Bindings
	read  []*engine.Value // loss and gradients, or the logits
}

// compile compiles the graph, fills the variables and returns r, which is closed
// with the test.
func (r *trial) compile(t *testing.T, b *engine.Builder, o engine.Options) *trial {
	t.Helper()
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.prog, err = b.Graph().Compile(r.store.Backend(), o); err != nil {
		t.Fatal(err)
	}
	r.net.fill(t, r.store)
	t.Cleanup(func() {
		if err := r.prog.Close(); err != nil {
			t.Error(err)
		}
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// training compiles forward, loss and gradient and, if move is set, clipping
// and Adam. Without it the loss and the gradients can be read.
func training(t *testing.T, backend engine.Backend, move, noFuse bool) *trial {
	t.Helper()
	r := &trial{net: &net{}, store: engine.NewStore(backend), in: engine.Bindings{}}
	b := engine.NewBuilder(engine.NewGraph())
	x, target := b.Input("images", engine.F32(batch, size, size, 3)), b.Input("target", engine.F32(batch, classes))
	pixels, want := images()
	r.in[x], r.in[target] = engine.Bytes(pixels), engine.Bytes(want)
	loss := b.One(engine.CrossEntropy{}, r.net.forward(b, x, true), target)
	var params []*engine.Value
	for _, v := range r.net.vars {
		if v.Trainable {
			params = append(params, b.Variable(v))
		}
	}
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		t.Fatal(err)
	}
	r.read = []*engine.Value{loss}
	if move {
		r.adam(b, params, grads)
	} else {
		r.read = append(r.read, grads...)
	}
	return r.compile(t, b, engine.Options{Store: r.store, Outputs: r.read, NoFuse: noFuse})
}

// adam adds clipping and one step of AdamW to the graph.
func (r *trial) adam(b *engine.Builder, params, grads []*engine.Value) {
	hyper := b.Input("hyper", engine.F32(engine.HyperLen))
	r.in[hyper] = engine.Bytes([]float32{1e-2, 1e-2, 0.1, 0.001, 0, 0, 0, 0})
	scale := b.Apply(engine.ClipScale{MaxNorm: 0.5}, grads...)[1]
	args := slices.Concat([]*engine.Value{hyper, scale}, params, grads)
	for _, moment := range []string{"m", "v"} {
		for _, p := range params {
			args = append(args, b.Variable(&engine.Variable{Name: moment + "." + p.Variable().Name, Spec: p.Spec}))
		}
	}
	b.Apply(engine.Adam{K: len(params), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decoupled: true}, args...)
}

// inference compiles the net in evaluation mode.
func inference(t *testing.T, backend engine.Backend, noFuse bool) *trial {
	t.Helper()
	r := &trial{net: &net{}, store: engine.NewStore(backend), in: engine.Bindings{}}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(batch, size, size, 3))
	pixels, _ := images()
	r.in[x] = engine.Bytes(pixels)
	r.read = []*engine.Value{r.net.forward(b, x, false)}
	return r.compile(t, b, engine.Options{Store: r.store, Outputs: r.read, NoFuse: noFuse})
}

func (r *trial) run(t *testing.T) {
	t.Helper()
	if err := r.prog.Run(context.Background(), r.in); err != nil {
		t.Fatal(err)
	}
}

// outputs reads what the program computed.
func (r *trial) outputs(t *testing.T) [][]float32 {
	t.Helper()
	var all [][]float32
	for _, v := range r.read {
		x := make([]float32, v.Len())
		if err := r.prog.Read(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

func TestRunAllocatesNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		b := open(t, variant, 2)
		for name, r := range map[string]*trial{"training": training(t, b, true, false), "inference": inference(t, b, false)} {
			ctx := context.Background()
			r.run(t) // uploads, hoisted steps
			if n := testing.AllocsPerRun(5, func() {
				if err := r.prog.Run(ctx, r.in); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations a run", name, n)
			}
		}
	})
}

func TestFusionChangesNoResult(t *testing.T) {
	eachVariant(t, func(t *testing.T, variant string) {
		b := open(t, variant, 2)
		agree(t, "training", training(t, b, false, false), training(t, b, false, true))
		agree(t, "inference", inference(t, b, false), inference(t, b, true))
	})
}

// agree compares what two programs compute, tensor by tensor. The gradient of a
// bias before a BatchNorm is nothing but rounding errors: it is held to the
// largest gradient of all.
func agree(t *testing.T, what string, fused, plain *trial) {
	t.Helper()
	fused.run(t)
	plain.run(t)
	got, want := fused.outputs(t), plain.outputs(t)
	if len(got) != len(want) || len(want[0]) == 0 {
		t.Fatalf("%s: %d and %d outputs", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		for _, v := range w {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
	}
	for k, w := range want {
		for i, v := range w {
			if d := math.Abs(float64(got[k][i]) - float64(v)); !(d <= 1e-5*largest) {
				t.Fatalf("%s: output %d[%d] is %v fused, %v unfused", what, k, i, got[k][i], v)
			}
		}
	}
}

// count returns how many steps have this operator, and stand for these.
func count(steps []engine.PlanStep, op string, fused ...string) (n int) {
	for _, s := range steps {
		all := s.Op == op
		for _, f := range fused {
			all = all && slices.Contains(s.Fused, f)
		}
		if all {
			n++
		}
	}
	return n
}

func TestPlanShowsTheFusion(t *testing.T) {
	b := open(t, cpu.Variants()[0], 1)
	fused, plain := training(t, b, true, false).prog.Plan(), training(t, b, true, true).prog.Plan()
	for _, c := range []struct {
		op    string
		fused []string
		want  int
	}{
		{"BatchNormAct", []string{"BatchNorm", "Activation"}, 2},
		{"BatchNormAct", []string{"BatchNorm", "Activation", "MaxPool2D"}, 1},
		{"BatchNormActBackward", []string{"ActivationBackward", "BatchNormBackward"}, 2},
		{"BatchNormActBackward", []string{"MaxPool2DBackward", "ActivationBackward", "BatchNormBackward"}, 1},
		{"Conv2D", []string{"Conv2D", "Activation"}, 1},
		{"BatchNorm", nil, 0},
		{"MaxPool2D", nil, 0},
	} {
		if n := count(fused.Steps, c.op, c.fused...); n != c.want {
			t.Errorf("training: %d steps are %s of %v, want %d", n, c.op, c.fused, c.want)
		}
	}
	if n := count(plain.Steps, "BatchNormAct") + count(plain.Steps, "BatchNormActBackward"); n != 0 {
		t.Errorf("without fusion %d steps are fused", n)
	}
	if n := count(plain.Steps, "BatchNorm"); n != 2 {
		t.Errorf("without fusion %d steps are BatchNorm, want 2", n)
	}
	if len(fused.Steps) >= len(plain.Steps) || fused.Traffic >= plain.Traffic {
		t.Errorf("fusion takes %d steps to %d, %d bytes moved to %d", len(plain.Steps), len(fused.Steps), plain.Traffic, fused.Traffic)
	}
	eval := inference(t, b, false).prog.Plan()
	if n := count(eval.Prepared, "FoldBatchNorm"); n != 2 {
		t.Errorf("inference: %d BatchNorms are folded beforehand, want 2", n)
	}
	if n := count(eval.Steps, "Conv2D", "BatchNorm", "Activation"); n != 2 {
		t.Errorf("inference: %d convolutions stand for BatchNorm and activation, want 2", n)
	}
	var text strings.Builder
	if _, err := fused.WriteTo(&text); err != nil || !strings.Contains(text.String(), "BatchNorm + Activation + MaxPool2D") {
		t.Errorf("the printed plan does not show the fusion (%v):\n%s", err, text.String())
	}
}

func TestArenaIsShared(t *testing.T) {
	b := open(t, cpu.Variants()[0], 1)
	for name, r := range map[string]*trial{"training": training(t, b, true, false), "inference": inference(t, b, false)} {
		p := r.prog.Plan()
		if p.ArenaBytes >= p.NaiveBytes || p.ArenaBytes < p.PeakBytes || p.PeakBytes == 0 {
			t.Errorf("%s: an arena of %d bytes, %d without sharing, %d at least", name, p.ArenaBytes, p.NaiveBytes, p.PeakBytes)
		}
	}
}
