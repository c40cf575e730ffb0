package layers_test

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// Tolerances, relative to the largest magnitude of a tensor.
const (
	valueTolerance = 1e-4 // logits, losses, gradients
	statsTolerance = 1e-6 // BatchNorm2d's running statistics
)

// backends returns every backend that whole nets are tested on.
func backends(t *testing.T) map[string]engine.Backend {
	t.Helper()
	all := map[string]engine.Backend{
		"ref":       ref.New(),
		"ref-plain": ref.New(ref.WithoutFusion()),
	}
	for _, v := range cpu.Variants() {
		b, err := cpu.New(cpu.Options{Variant: v})
		if err != nil {
			t.Fatal(err)
		}
		all[b.Name()] = b
	}
	t.Cleanup(func() {
		for name, b := range all {
			if err := b.Close(); err != nil {
				t.Errorf("closing %s: %v", name, err)
			}
		}
	})
	return all
}

// A golden is a file that scripts/golden.py has made.
type golden struct {
	t    *testing.T
	file *safetensors.File
	meta struct {
		Arch, Teacher, Student layers.Arch
		Temperature, Alpha     float32
	}
}

func readGolden(t *testing.T, name string) *golden {
	t.Helper()
	f, err := safetensors.Read("testdata/golden_" + name + ".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{t: t, file: f}
	if err := json.Unmarshal([]byte(f.Metadata["golden"]), &g.meta); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *golden) tensor(name string) (data []float32, shape []int) {
	g.t.Helper()
	x, ok := g.file.Lookup(name)
	if !ok {
		g.t.Fatalf("the golden has no %s", name)
	}
	data, err := safetensors.Float32s(x)
	if err != nil {
		g.t.Fatal(err)
	}
	return data, x.Shape
}

// image returns an NCHW tensor as NHWC.
func (g *golden) image(name string) (data []float32, spec engine.Spec) {
	g.t.Helper()
	src, s := g.tensor(name)
	n, c, h, w := s[0], s[1], s[2], s[3]
	data = make([]float32, len(src))
	for i, v := range src {
		x, y, k, b := i%w, i/w%h, i/(w*h)%c, i/(w*h*c)
		data[((b*h+y)*w+x)*c+k] = v
	}
	return data, engine.F32(n, h, w, c)
}

// load fills store with the state under prefix.
func (g *golden) load(m *layers.Model, store *engine.Store, prefix string) {
	g.t.Helper()
	var s layers.StateDict
	for _, slot := range m.Slots() {
		e := layers.Entry{Name: slot.Variable.Name, Shape: slot.Shape()}
		if slot.Variable.DType == engine.Int64 {
			e.Data, e.Int = nil, []int64{0}
		} else {
			e.Data, e.Shape = g.tensor(prefix + e.Name)
		}
		s = append(s, e)
	}
	if err := m.Load(store, s); err != nil {
		g.t.Fatal(err)
	}
}

func largest(x []float32) float64 {
	var m float64
	for _, v := range x {
		m = max(m, math.Abs(float64(v)))
	}
	return m
}

// near fails the test unless every element of got is within tolerance·scale of
// want's. A NaN is never near.
func near(t *testing.T, what string, got, want []float32, tolerance, scale float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance*scale) {
			t.Errorf("%s[%d]: %v, want %v: off by %.2g of %.2g", what, i, got[i], want[i], d/scale, scale)
			return
		}
	}
}

func newModel(t *testing.T, a layers.Arch) *layers.Model {
	t.Helper()
	m, err := layers.New(a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// compile compiles a graph and closes the program with the test.
func compile(t *testing.T, b *engine.Builder, store *engine.Store, outputs ...*engine.Value) *engine.Program {
	t.Helper()
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: outputs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func run(t *testing.T, p *engine.Program, in engine.Bindings) {
	t.Helper()
	if err := p.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, p *engine.Program, v *engine.Value) []float32 {
	t.Helper()
	out := make([]float32, v.Len())
	if err := p.Read(v, engine.Bytes(out)); err != nil {
		t.Fatal(err)
	}
	return out
}

// trainable returns the slots and values of the model's parameters.
func trainable(m *layers.Model, b *engine.Builder) (slots []layers.Slot, values []*engine.Value) {
	for _, s := range m.Slots() {
		if s.Variable.Trainable {
			slots, values = append(slots, s), append(values, b.Variable(s.Variable))
		}
	}
	return slots, values
}

// TestNetsAgainstPyTorch holds one training step of whole nets (logits, loss,
// every gradient, running statistics) and the evaluation after it to PyTorch.
func TestNetsAgainstPyTorch(t *testing.T) {
	for name, backend := range backends(t) {
		for _, family := range []string{"cnn-dwpw", "cnn-plain", "cnn-group", "resnet18"} {
			t.Run(name+"/"+family, func(t *testing.T) {
				g := readGolden(t, family)
				m := newModel(t, g.meta.Arch)
				store := engine.NewStore(backend)
				defer store.Close()
				g.load(m, store, "state/")
				g.checkTraining(m, store)
				g.checkRunningStats(m, store)
				g.checkEvaluation(m, store)
			})
		}
		t.Run(name+"/shufflenet_v2_x0_5", func(t *testing.T) {
			g := readGolden(t, "shufflenet_v2_x0_5")
			m := newModel(t, g.meta.Arch)
			store := engine.NewStore(backend)
			defer store.Close()
			g.load(m, store, "state/")
			g.checkEvaluation(m, store)
		})
	}
}

func (g *golden) checkTraining(m *layers.Model, store *engine.Store) {
	t := g.t
	pixels, spec := g.image("input")
	target, shape := g.tensor("target")
	b := engine.NewBuilder(engine.NewGraph())
	x, y := b.Input("image", spec), b.Input("target", engine.F32(shape...))
	logits := m.Forward(b, x, true)
	loss := b.One(engine.CrossEntropy{}, logits, y)
	slots, params := trainable(m, b)
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		t.Fatal(err)
	}
	p := compile(t, b, store, append([]*engine.Value{logits, loss}, grads...)...)
	run(t, p, engine.Bindings{x: engine.Bytes(pixels), y: engine.Bytes(target)})

	want, _ := g.tensor("logits")
	near(t, "logits", read(t, p, logits), want, valueTolerance, largest(want))
	want, _ = g.tensor("loss")
	near(t, "loss", read(t, p, loss), want, valueTolerance, largest(want))

	// A bias in front of a BatchNorm2d has the gradient zero; what rounding
	// leaves of it is measured on the scale of all gradients.
	var all float64
	for _, s := range slots {
		want, _ := g.tensor("grad/" + s.Variable.Name)
		all = max(all, largest(want))
	}
	for i, s := range slots {
		want, shape := g.tensor("grad/" + s.Variable.Name)
		got := make([]float32, len(want))
		s.Layout.ToTorch(got, read(t, p, grads[i]), shape)
		scale := largest(want)
		if scale < 1e-9*all {
			scale = all / 10
		}
		near(t, "gradient of "+s.Variable.Name, got, want, valueTolerance, scale)
	}
}

func (g *golden) checkRunningStats(m *layers.Model, store *engine.Store) {
	state, err := m.State(store)
	if err != nil {
		g.t.Fatal(err)
	}
	n := 0
	for _, e := range state {
		if strings.Contains(e.Name, ".running_") {
			want, _ := g.tensor("after/" + e.Name)
			near(g.t, e.Name, e.Data, want, statsTolerance, largest(want))
			n++
		}
	}
	if n == 0 {
		g.t.Error("no running statistics were compared")
	}
}

func (g *golden) checkEvaluation(m *layers.Model, store *engine.Store) {
	pixels, spec := g.image("input")
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", spec)
	logits := m.Forward(b, x, false)
	p := compile(g.t, b, store, logits)
	run(g.t, p, engine.Bindings{x: engine.Bytes(pixels)})
	want, _ := g.tensor("eval")
	near(g.t, "logits in evaluation", read(g.t, p, logits), want, valueTolerance, largest(want))
}

// TestDistillationAgainstPyTorch holds the losses of 20 AdamW steps of
// knowledge distillation to PyTorch's.
func TestDistillationAgainstPyTorch(t *testing.T) {
	for name, backend := range backends(t) {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, "distill")
			store := engine.NewStore(backend)
			defer store.Close()
			teacher, student := newModel(t, g.meta.Teacher), newModel(t, g.meta.Student)
			g.load(teacher, store, "teacher/")
			g.load(student, store, "student/")

			_, spec := g.image("input/0")
			_, shape := g.tensor("target/0")
			b := engine.NewBuilder(engine.NewGraph())
			x, y := b.Input("image", spec), b.Input("target", engine.F32(shape...))
			s, te := student.Forward(b, x, true), teacher.Forward(b, x, false)
			alpha := g.meta.Alpha
			loss := b.One(engine.Add{Weights: []float32{1 - alpha, alpha}},
				b.One(engine.CrossEntropy{}, s, y), b.One(engine.KLDiv{T: g.meta.Temperature}, s, te))
			hyper := adamW(t, b, student, loss)
			p := compile(t, b, store, loss)

			want, _ := g.tensor("losses")
			got := make([]float32, len(want))
			for step := range want {
				i := strconv.Itoa(step % 2)
				pixels, _ := g.image("input/" + i)
				target, _ := g.tensor("target/" + i)
				run(t, p, engine.Bindings{x: engine.Bytes(pixels), y: engine.Bytes(target), hyper: engine.Bytes(adamWStep(step + 1))})
				got[step] = read(t, p, loss)[0]
				near(t, "loss of step "+strconv.Itoa(step), got[step:step+1], want[step:step+1], valueTolerance, float64(want[step]))
			}
			if got[len(got)-1] >= got[1]/1.5 {
				t.Errorf("the loss did not fall: %v", got)
			}
		})
	}
}

const (
	beta1, beta2 = 0.9, 0.999
	rate, decay  = 1e-3, 0.01
)

// adamW adds the optimizer and returns its hyper input.
func adamW(t *testing.T, b *engine.Builder, m *layers.Model, loss *engine.Value) *engine.Value {
	t.Helper()
	_, params := trainable(m, b)
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		t.Fatal(err)
	}
	hyper := b.Input("hyper", engine.F32(engine.HyperLen))
	in := append([]*engine.Value{hyper, b.One(engine.Fill{Value: 1})}, params...)
	in = append(in, grads...)
	for _, kind := range []string{"m", "v"} {
		for _, p := range params {
			in = append(in, b.Variable(&engine.Variable{Name: kind, Spec: p.Spec}))
		}
	}
	b.Apply(engine.Adam{K: len(params), Beta1: beta1, Beta2: beta2, Eps: 1e-8, Decoupled: true}, in...)
	return hyper
}

// adamWStep returns the hyper vector of step t, counted from 1.
func adamWStep(t int) []float32 {
	h := make([]float32, engine.HyperLen)
	h[engine.HyperLR], h[engine.HyperWeightDecay] = rate, decay
	h[engine.HyperBias1] = float32(1 - math.Pow(beta1, float64(t)))
	h[engine.HyperBias2] = float32(1 - math.Pow(beta2, float64(t)))
	return h
}
