package distill

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
)

// goldenLosses is what scripts/golden_distill.py writes.
type goldenLosses struct {
	Logits []struct {
		Spec, Name        string
		Value             float64
		Gradient, Student []float64
		Teachers          [][]float64
		Shape, Labels     []int
		Other             []int
		Share             []float64
		Weighted          bool
	}
	Features []struct {
		Spec             string
		Value            float64
		Student, Teacher [][]float64
		Gradients        [][]float64
		Shapes           [][]int
		Teacher_shapes   [][]int
		Weights          map[string]struct {
			Shape []int
			Data  []float64
		}
		Weight_gradients map[string][]float64
	}
}

func golden(t *testing.T) (g goldenLosses) {
	t.Helper()
	raw, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(raw, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Logits) < 15 || len(g.Features) < 10 {
		t.Fatal("testdata/golden.json is not whole; make it with scripts/golden_distill.py")
	}
	return g
}

// A written loss is a graph with the data of its inputs and the values that are held
// to the golden ones.
type written struct {
	b     *engine.Builder
	in    engine.Bindings // what the loss binds
	at    map[*engine.Value][]float64
	loss  *engine.Value
	wrt   []*engine.Value
	want  [][]float64
	value float64
}

// term closes the graph with the weighted sum of the loss's own terms.
func (w *written) term(t *testing.T, terms []train.Term) {
	t.Helper()
	op, in := engine.Add{}, []*engine.Value(nil)
	for _, x := range terms {
		op.Weights, in = append(op.Weights, x.Weight), append(in, x.Value)
	}
	w.loss = w.b.One(op, in...)
	if err := w.b.Err(); err != nil {
		t.Fatal(err)
	}
}

// hold compares a value and its gradients. The tolerance is relative to the value, to
// the largest of each gradient where that is above 1, and twenty times as large to the
// largest of all: small gradients must be right, too, but for those that are zero in theory.
func (w *written) hold(t *testing.T, what string, tolerance, value float64, grads [][]float64) {
	t.Helper()
	if d := math.Abs(value - w.value); !(d <= tolerance*max(1, math.Abs(w.value))) {
		t.Errorf("%s: the loss is %.14g, not %.14g", what, value, w.value)
	}
	all := 0.0
	for _, want := range w.want {
		all = max(all, largest(want))
	}
	for k, g := range grads {
		most := largest(w.want[k])
		for i, v := range g {
			if d := math.Abs(v - w.want[k][i]); !(d <= tolerance*max(1, most)) || !(d <= 20*tolerance*all) {
				t.Errorf("%s: gradient %d of %v is %.14g at %d, not %.14g", what, k, w.wrt[k], v, i, w.want[k][i])
				break
			}
		}
	}
}

func largest(x []float64) (most float64) {
	for _, v := range x {
		most = max(most, math.Abs(v))
	}
	return most
}

// double computes the loss and its gradients in float64.
func (w *written) double(t *testing.T) (value float64, grads [][]float64) {
	t.Helper()
	ds, err := engine.Grad(w.b.Graph(), w.loss, w.wrt)
	if err != nil {
		t.Fatal(err)
	}
	at := w.evaluate(t)
	for _, d := range ds {
		grads = append(grads, at[d].V)
	}
	return at[w.loss].V[0], grads
}

// evaluate runs the graph node by node in float64.
func (w *written) evaluate(t *testing.T) map[*engine.Value]ref.Array {
	t.Helper()
	at := make(map[*engine.Value]ref.Array)
	for v, x := range w.at {
		at[v] = ref.Array{Spec: v.Spec, V: x}
	}
	for v, raw := range w.in {
		at[v] = ref.Array{Spec: v.Spec, V: widened(raw)}
	}
	for _, n := range w.b.Graph().Nodes() {
		var in []ref.Array
		for _, v := range n.In {
			a, ok := at[v]
			if !ok {
				a = ref.NewArray(v.Spec) // statistics that training does not read
			}
			in = append(in, a)
		}
		out, err := ref.Eval(n.Op, in)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range n.Out {
			at[v] = out[i]
		}
	}
	return at
}

func widened(raw []byte) []float64 {
	f := make([]float32, len(raw)/4)
	copy(engine.Bytes(f), raw)
	out := make([]float64, len(f))
	for i, v := range f {
		out[i] = float64(v)
	}
	return out
}

func narrowed(x []float64) []byte {
	f := make([]float32, len(x))
	for i, v := range x {
		f[i] = float32(v)
	}
	return engine.Bytes(f)
}

// single runs the graph on a backend.
func (w *written) single(t *testing.T, b engine.Backend) (value float64, grads [][]float64) {
	t.Helper()
	store := engine.NewStore(b)
	defer store.Close()
	ds, err := engine.Grad(w.b.Graph(), w.loss, w.wrt)
	if err != nil {
		t.Fatal(err)
	}
	in := engine.Bindings{}
	for v, x := range w.at {
		if v.Variable() == nil {
			in[v] = narrowed(x)
		} else if err := store.Set(v.Variable(), narrowed(x)); err != nil {
			t.Fatal(err)
		}
	}
	for v, raw := range w.in {
		in[v] = raw
	}
	outs := append([]*engine.Value{w.loss}, ds...)
	p, err := w.b.Graph().Compile(b, engine.Options{Store: store, Outputs: outs})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	for _, v := range outs {
		raw := make([]byte, v.Bytes())
		if err := p.Read(v, raw); err != nil {
			t.Fatal(err)
		}
		grads = append(grads, widened(raw))
	}
	return grads[0][0], grads[1:]
}

// eachLoss writes every golden loss down.
func eachLoss(t *testing.T, f func(t *testing.T, write func() *written)) {
	g := golden(t)
	for i := range g.Logits {
		t.Run(fmt.Sprintf("%d-%s%s", i, g.Logits[i].Spec, g.Logits[i].Name), func(t *testing.T) {
			f(t, func() *written { return g.logits(t, i) })
		})
	}
	for i := range g.Features {
		t.Run(fmt.Sprintf("%d-%s", i, g.Features[i].Spec), func(t *testing.T) {
			f(t, func() *written { return g.features(t, i) })
		})
	}
}

func newWritten(value float64) *written {
	return &written{b: engine.NewBuilder(engine.NewGraph()), in: engine.Bindings{}, at: make(map[*engine.Value][]float64), value: value}
}

// logits writes a loss on logits.
func (g goldenLosses) logits(t *testing.T, i int) *written {
	c := g.Logits[i]
	w := newWritten(c.Value)
	s := Settings{Spec: c.Spec}
	if c.Weighted {
		s.Teachers = Confidence
	}
	l := &Loss{s: s.Normalized(), o: Options{Mixed: c.Share != nil}}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	spec := engine.F32(c.Shape...)
	own := w.b.Input("student", spec)
	w.at[own], w.wrt, w.want = c.Student, []*engine.Value{own}, [][]float64{c.Gradient}
	var teachers []*engine.Outputs
	for k, x := range c.Teachers {
		v := w.b.Input(fmt.Sprint("teacher", k), spec)
		w.at[v] = x
		teachers = append(teachers, &engine.Outputs{Logits: v})
	}
	target := w.b.Input("target", spec)
	classes := spec.Shape[1]
	rows := make([]float32, spec.Len())
	batch := &data.Batch{N: spec.Shape[0], Classes: classes, Targets: rows}
	for n, y := range c.Labels {
		share := float32(1)
		if c.Share != nil {
			share = float32(c.Share[n])
			rows[n*classes+c.Other[n]] += 1 - share
		}
		rows[n*classes+y] += share
		batch.Labels = append(batch.Labels, int32(y))
	}
	w.in[target] = engine.Bytes(rows)
	w.term(t, l.imitate(w.b, train.NewBatch(w.b, nil, target, w.in), &engine.Outputs{Logits: own}, teachers))
	l.Tell(train.Moment{}, batch)
	return w
}

// features writes a loss on features, whose projectors have the golden weights.
func (g goldenLosses) features(t *testing.T, i int) *written {
	c := g.Features[i]
	w := newWritten(c.Value)
	names := []string{"one", "two"}
	maps := func(prefix string, shapes [][]int, x [][]float64) *engine.Outputs {
		o := new(engine.Outputs)
		for k, s := range shapes {
			v := w.b.Input(prefix+names[k], engine.F32(s...))
			w.at[v] = x[k]
			o.Add(names[k], v)
			if prefix == "student." {
				w.wrt, w.want = append(w.wrt, v), append(w.want, c.Gradients[k])
			}
		}
		return o
	}
	own, its := maps("student.", c.Shapes, c.Student), maps("teacher.", c.Teacher_shapes, c.Teacher)
	spec := c.Spec
	if list := names[:len(c.Shapes)]; !slices.Equal(c.Shapes[0][1:3], c.Teacher_shapes[0][1:3]) {
		sep := ":"
		if strings.Contains(spec, ":") {
			sep = ","
		}
		spec += fmt.Sprintf("%sstudent=%s,teacher=%s", sep, strings.Join(list, "/"), strings.Join(list, "/"))
	}
	l := &Loss{s: Settings{Spec: spec}}
	if err := l.prepare(); err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	item := l.spec.Items[0]
	var err error
	if l.terms[0], err = item.Method.prepare(item, &features{store: store, student: own, teachers: []*engine.Outputs{its}}); err != nil {
		t.Fatal(err)
	}
	target := w.b.Input("target", engine.F32(c.Shapes[0][0], 3))
	w.in[target] = make([]byte, target.Bytes())
	w.term(t, l.imitate(w.b, train.NewBatch(w.b, nil, target, w.in), own, []*engine.Outputs{its}))
	g.weights(t, i, w, l.State())
	return w
}

// projectorNames are PyTorch's names of a projector's tensors, and ours.
var projectorNames = strings.NewReplacer(
	"abfs.0.", "distillation.reviewkd.1.", "abfs.1.", "distillation.reviewkd.2.", "abfs.2.", "distillation.reviewkd.3.",
	"conv1.0.", "in.conv.", "conv1.1.", "in.bn.", "conv2.0.", "out.conv.", "conv2.1.", "out.bn.", "att_conv.0.", "attention.conv.")

func (g goldenLosses) weights(t *testing.T, i int, w *written, vars []*engine.Variable) {
	c := g.Features[i]
	found := 0
	for name, x := range c.Weights {
		ours := projectorNames.Replace(name)
		if !strings.HasPrefix(ours, "distillation.") {
			ours = "distillation.fitnet.1.1." + name
		}
		k := slices.IndexFunc(vars, func(v *engine.Variable) bool { return v.Name == ours })
		if k < 0 {
			t.Fatalf("the projector has no %s", ours)
		}
		found++
		v := w.b.Variable(vars[k])
		order := func(d []float64) []float64 {
			if len(x.Shape) != 4 {
				return d
			}
			out := make([]float64, len(d)) // OIHW to HWIO
			o, in, h, wd := x.Shape[0], x.Shape[1], x.Shape[2], x.Shape[3]
			for at, value := range d {
				q, p, b, a := at%wd, at/wd%h, at/wd/h%in, at/wd/h/in
				out[((p*wd+q)*in+b)*o+a] = value
			}
			return out
		}
		w.at[v] = order(x.Data)
		w.wrt, w.want = append(w.wrt, v), append(w.want, order(c.Weight_gradients[name]))
	}
	for _, v := range vars {
		if v.Trainable {
			found--
		}
	}
	if found != 0 {
		t.Fatalf("the projector has %d tensors less than the reference", found)
	}
}

// TestGoldenLosses holds every loss and its gradients to the reference
// implementations in float64.
func TestGoldenLosses(t *testing.T) {
	eachLoss(t, func(t *testing.T, write func() *written) {
		w := write()
		value, grads := w.double(t)
		w.hold(t, "float64", 1e-10, value, grads)
	})
}

// TestGoldenLossesOnBackends holds them in float32.
func TestGoldenLossesOnBackends(t *testing.T) {
	eachBackend(t, func(t *testing.T, b engine.Backend) {
		eachLoss(t, func(t *testing.T, write func() *written) {
			w := write()
			value, grads := w.single(t, b)
			w.hold(t, b.Name(), 1e-5, value, grads)
		})
	})
}
