package gpu

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/ref"
)

const batch, size, classes = 4, 12, 5

// A net is a small classifier with one layer of each kind: conv3x3 – BatchNorm
// – ReLU6 – max pool, depthwise – BatchNorm – ReLU6, pointwise – ReLU, grouped
// conv of stride 2, residual, global pool, Linear. Its activations behind the
// image may be bfloat16.
type net struct {
	name string
	vars []*engine.Variable
}

func (n *net) add(b *engine.Builder, name string, trainable bool, shape ...int) *engine.Value {
	for _, v := range n.vars {
		if v.Name == n.name+name {
			return b.Variable(v)
		}
	}
	v := &engine.Variable{Name: n.name + name, Spec: engine.F32(shape...), Trainable: trainable}
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
	x = b.One(engine.Conv2D{Pad: 1}, x, p("stem.weight", 3, 3, 3, 8), p("stem.bias", 8))
	x = b.One(engine.MaxPool2D{Window: engine.Window{Kernel: 2}}, n.norm(b, x, "bn1", train))
	x = b.One(engine.Conv2D{Pad: 1, Groups: 8}, x, p("depthwise.weight", 3, 3, 1, 8), p("depthwise.bias", 8))
	x = n.norm(b, x, "bn2", train)
	x = b.One(engine.Conv2D{}, x, p("pointwise.weight", 1, 1, 8, 12), p("pointwise.bias", 12))
	x = b.One(engine.Activation{F: engine.ReLU}, x)
	x = b.One(engine.Conv2D{Pad: 1, Stride: 2, Groups: 2}, x, p("grouped.weight", 3, 3, 6, 12))
	x = b.One(engine.Add{}, x, b.One(engine.Conv2D{Pad: 1}, x, p("dense.weight", 3, 3, 12, 12)))
	return b.One(engine.Linear{}, b.One(engine.GlobalAvgPool{}, x), p("fc.weight", 12, classes), p("fc.bias", classes))
}

// fill gives the variables their first values, the same for the same seed.
func fill(t *testing.T, store *engine.Store, seed uint64, vars []*engine.Variable) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, seed))
	for _, v := range vars {
		x := make([]float32, v.Len())
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * 0.3
			if strings.Contains(v.Name, "bn") && (strings.HasSuffix(v.Name, ".weight") || strings.HasSuffix(v.Name, "_var")) {
				x[i] = 1 + x[i]*x[i]
			}
		}
		if err := store.Set(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
	}
}

// A trial is a compiled program over nets of its own.
type trial struct {
	student, teacher *net
	store            *engine.Store
	prog             *engine.Program
	in               engine.Bindings
	read             []*engine.Value
}

// A recipe says what a trial's graph is.
type recipe struct {
	distil bool // a teacher in the same graph, and the distillation's loss
	move   bool // clipping and SGD; without it the gradients can be read
	half   bool // activations in bfloat16
	noFuse bool
}

func newTrial(t *testing.T, backend engine.Backend, r recipe) *trial {
	t.Helper()
	c := &trial{student: &net{}, teacher: &net{name: "teacher."}, store: engine.NewStore(backend), in: engine.Bindings{}}
	b := engine.NewBuilder(engine.NewGraph())
	x, target := b.Input("images", engine.F32(batch, size, size, 3)), b.Input("target", engine.F32(batch, classes))
	c.in[x], c.in[target] = images()
	pixels := x
	if r.half {
		pixels = b.One(engine.Cast{To: engine.BFloat16}, x)
	}
	logits := c.student.forward(b, pixels, true)
	loss := b.One(engine.CrossEntropy{LabelSmoothing: 0.1}, logits, target)
	if r.distil {
		soft := b.One(engine.KLDiv{T: 4}, logits, c.teacher.forward(b, pixels, false))
		loss = b.One(engine.Add{Weights: []float32{0.3, 0.7}}, loss, soft)
	}
	params := c.trainable(b)
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		t.Fatal(err)
	}
	c.read = []*engine.Value{loss}
	if r.move {
		c.sgd(b, params, grads)
	} else {
		c.read = append(c.read, grads...)
	}
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	if c.prog, err = b.Graph().Compile(backend, engine.Options{Store: c.store, Outputs: c.read, NoFuse: r.noFuse}); err != nil {
		t.Fatal(err)
	}
	fill(t, c.store, 11, c.student.vars)
	fill(t, c.store, 12, c.teacher.vars)
	t.Cleanup(func() {
		if err := c.prog.Close(); err != nil {
			t.Error(err)
		}
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// images returns a batch of noise and its one-hot target.
func images() (pixels, target []byte) {
	rng := rand.New(rand.NewPCG(1, 2))
	x, y := make([]float32, batch*size*size*3), make([]float32, batch*classes)
	for i := range x {
		x[i] = rng.Float32()
	}
	for i := range batch {
		y[i*classes+i%classes] = 1
	}
	return engine.Bytes(x), engine.Bytes(y)
}

func (c *trial) trainable(b *engine.Builder) (params []*engine.Value) {
	for _, v := range c.student.vars {
		if v.Trainable {
			params = append(params, b.Variable(v))
		}
	}
	return params
}

func (c *trial) sgd(b *engine.Builder, params, grads []*engine.Value) {
	hyper := b.Input("hyper", engine.F32(engine.HyperLen))
	c.in[hyper] = engine.Bytes([]float32{engine.HyperLR: 0.05, engine.HyperWeightDecay: 1e-3, engine.HyperLen - 1: 0})
	scale := b.Apply(engine.ClipScale{MaxNorm: 0.5}, grads...)[1]
	b.Apply(engine.SGD{K: len(params)}, slices.Concat([]*engine.Value{hyper, scale}, params, grads)...)
}

func (c *trial) run(t *testing.T) {
	t.Helper()
	if err := c.prog.Run(context.Background(), c.in); err != nil {
		t.Fatal(err)
	}
}

// outputs reads what the program computed, and the variables.
func (c *trial) outputs(t *testing.T) [][]float32 {
	t.Helper()
	var all [][]float32
	for _, v := range c.read {
		x := make([]float32, v.Len())
		if err := c.prog.Read(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	for _, v := range c.student.vars {
		x := make([]float32, v.Len())
		if err := c.store.Get(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

// agree compares all that two trials computed. A tensor's elements are held to
// the largest of them, or of all gradients where those of a bias before a
// BatchNorm are nothing but rounding errors.
func agree(t *testing.T, what string, got, want [][]float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) || len(want) < 2 {
		t.Fatalf("%s: %d and %d tensors", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		for _, v := range w {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
	}
	for k, w := range want {
		for i, v := range w {
			if d := math.Abs(float64(got[k][i]) - float64(v)); !(d <= tolerance*largest) {
				t.Fatalf("%s: tensor %d[%d] is %v, want %v ± %v", what, k, i, got[k][i], v, tolerance*largest)
			}
		}
	}
}

// backends returns the backends under test: with our kernels alone, and with
// what is chosen among those of the stand-in libraries.
func backends(t *testing.T) map[string]*Backend {
	return map[string]*Backend{"ours": openBackend(t, ours(t)), "libraries": openBackend(t, fakeOptions(t))}
}

// TestStep holds the loss and the gradients of a training step and of a
// distillation step to the reference.
func TestStep(t *testing.T) {
	for name, b := range backends(t) {
		for what, r := range map[string]recipe{"training": {}, "distillation": {distil: true}} {
			t.Run(name+"/"+what, func(t *testing.T) {
				got, want := newTrial(t, b, r), newTrial(t, ref.New(ref.WithoutFusion()), r)
				got.run(t)
				want.run(t)
				agree(t, what, got.outputs(t), want.outputs(t), 2e-6)
			})
		}
	}
}

// TestSteps holds the weights after several steps to those of the CPU.
func TestSteps(t *testing.T) {
	host, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for name, b := range backends(t) {
		t.Run(name, func(t *testing.T) {
			r := recipe{distil: true, move: true}
			got, want := newTrial(t, b, r), newTrial(t, host, r)
			for range 4 {
				got.run(t)
				want.run(t)
			}
			agree(t, "four steps", got.outputs(t), want.outputs(t), 1e-5)
		})
	}
}

// TestHalf shows that a step in bfloat16 is near the one in float32, and not
// the same.
func TestHalf(t *testing.T) {
	b := openBackend(t, ours(t))
	half, full := newTrial(t, b, recipe{distil: true, half: true}), newTrial(t, b, recipe{distil: true})
	half.run(t)
	full.run(t)
	got, want := half.outputs(t), full.outputs(t)
	agree(t, "bfloat16", got, want, 3e-2)
	if got[0][0] == want[0][0] {
		t.Error("the loss in bfloat16 is that in float32 to the bit")
	}
}

// TestFusion shows that fusing changes no result beyond rounding, and what is
// fused.
func TestFusion(t *testing.T) {
	b := openBackend(t, ours(t))
	fused, plain := newTrial(t, b, recipe{distil: true}), newTrial(t, b, recipe{distil: true, noFuse: true})
	fused.run(t)
	plain.run(t)
	agree(t, "fused", fused.outputs(t), plain.outputs(t), 2e-6)
	count := func(steps []engine.PlanStep, op string) (n int) {
		for _, s := range steps {
			if s.Op == op && (op != "Conv2D" || len(s.Fused) > 1) {
				n++
			}
		}
		return n
	}
	p := fused.prog.Plan()
	for op, want := range map[string]int{"BatchNormAct": 2, "BatchNormActBackward": 2, "Conv2D": 6, "BatchNorm": 0} {
		if n := count(p.Steps, op); n != want {
			t.Errorf("%d steps are fused to %s, want %d", n, op, want)
		}
	}
	if n := count(p.Prepared, "FoldBatchNorm"); n != 2 {
		t.Errorf("%d BatchNorms of the teacher are folded beforehand, want 2", n)
	}
}

// TestTeacherIsPreparedAgain shows that a frozen net's folded and packed weights
// follow its variables.
func TestTeacherIsPreparedAgain(t *testing.T) {
	for name, b := range backends(t) {
		t.Run(name, func(t *testing.T) {
			if name == "libraries" {
				b.forced = 2
			}
			r := recipe{distil: true}
			got, want := newTrial(t, b, r), newTrial(t, ref.New(ref.WithoutFusion()), r)
			got.run(t)
			first := got.outputs(t)
			fill(t, got.store, 99, got.teacher.vars)
			fill(t, want.store, 99, want.teacher.vars)
			fill(t, got.store, 11, got.student.vars)
			got.run(t)
			want.run(t)
			agree(t, "another teacher", got.outputs(t), want.outputs(t), 2e-6)
			if got.outputs(t)[0][0] == first[0][0] {
				t.Error("another teacher gives the same loss")
			}
		})
	}
}

func TestRunAllocatesNothing(t *testing.T) {
	for name, b := range backends(t) {
		c := newTrial(t, b, recipe{distil: true, move: true})
		c.run(t) // uploads, hoisted steps
		ctx := context.Background()
		if n := testing.AllocsPerRun(5, func() {
			if err := c.prog.Run(ctx, c.in); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a run", name, n)
		}
	}
}

// TestRunsAreRepeatable shows that two runs from the same start give the same
// bits.
func TestRunsAreRepeatable(t *testing.T) {
	o := fakeOptions(t)
	o.Deterministic = true
	c := newTrial(t, openBackend(t, o), recipe{distil: true, move: true})
	var first [][]float32
	for range 2 {
		fill(t, c.store, 11, c.student.vars)
		c.run(t)
		c.run(t)
		got := c.outputs(t)
		if first == nil {
			first = got
		}
		for k := range got {
			if !slices.Equal(got[k], first[k]) {
				t.Fatalf("tensor %d differs between two runs", k)
			}
		}
	}
}
