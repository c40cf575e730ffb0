package distill

import (
	"context"
	"encoding/json"
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

// goldenContrast is three steps of RepDistiller's CRD.
type goldenContrast struct {
	Contrast struct {
		Weights map[string]struct {
			Shape []int
			Data  []float64
		}
		Memory, After [][]float64
		Steps         []struct {
			Own                        []uint32
			Negatives                  [][]int
			Student, Teacher, Gradient []float64
			Value                      float64
			WeightGradients            map[string][]float64 `json:"weight_gradients"`
		}
	}
}

// A contrastRun is the loss in a graph, with the data of its variables.
type contrastRun struct {
	g goldenContrast
	*written
	l                *Loss
	student, teacher *engine.Value
	names            []string // of the layers' tensors, in the order of the gradients behind the first
	step             int
}

func newContrastRun(t *testing.T) *contrastRun {
	t.Helper()
	r := &contrastRun{written: newWritten(0)}
	raw, err := os.ReadFile("testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(raw, &r.g)
	}
	if err != nil || len(r.g.Contrast.Steps) != 3 {
		t.Fatalf("no golden steps (%v)", err)
	}
	maps := func(prefix string, channels int) (*engine.Value, *engine.Outputs) {
		o, v := new(engine.Outputs), r.b.Input(prefix, engine.F32(5, 2, 2, channels))
		o.Add("one", v)
		return v, o
	}
	var own, its *engine.Outputs
	r.student, own = maps("student", 6)
	r.teacher, its = maps("teacher", 8)
	r.l = &Loss{s: Settings{Spec: "crd:T=0.0625,K=5,dim=4,w=1"}}
	if err := r.l.prepare(); err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	labels := make([]int32, 16)
	for i := range labels {
		labels[i] = int32(i % 3)
	}
	item := r.l.spec.Items[0]
	x, err := item.Method.prepare(item, &features{store: store, labels: labels, student: own, teachers: []*engine.Outputs{its}})
	if err != nil {
		t.Fatal(err)
	}
	r.l.terms[0] = x
	x.(*contrast).draw = func(_ *data.Batch, _, n int, times []float32) {
		for _, i := range r.g.Contrast.Steps[r.step].Negatives[n] {
			times[i]++
		}
	}
	target := r.b.Input("target", engine.F32(5, 3))
	r.in[target] = make([]byte, target.Bytes())
	r.term(t, r.l.imitate(r.b, train.NewBatch(r.b, nil, target, r.in), own, []*engine.Outputs{its}))
	r.wrt = []*engine.Value{r.student}
	for _, v := range r.l.State() {
		value := r.b.Variable(v)
		switch {
		case strings.HasSuffix(v.Name, ".memory"):
			k := 0
			if strings.Contains(v.Name, "teacher") {
				k = 1
			}
			r.at[value] = slices.Clone(r.g.Contrast.Memory[k])
		case strings.HasSuffix(v.Name, ".scale"):
			r.at[value] = make([]float64, 1)
		default:
			name := strings.NewReplacer("distillation.crd.student.", "embed_s.", "distillation.crd.teacher.", "embed_t.").Replace(v.Name)
			r.at[value] = inOut(r.g.Contrast.Weights[name].Data, r.g.Contrast.Weights[name].Shape)
			r.wrt, r.names = append(r.wrt, value), append(r.names, name)
		}
	}
	if len(r.names) != 4 {
		t.Fatalf("the layers have the tensors %v", r.names)
	}
	return r
}

// inOut takes a weight [O,I] to [I,O].
func inOut(x []float64, shape []int) []float64 {
	if len(shape) != 2 {
		return x
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i%shape[1]*shape[0]+i/shape[1]] = v
	}
	return out
}

// begin gives the data of a step, and what it is to come to.
func (r *contrastRun) begin(step int) {
	s := r.g.Contrast.Steps[step]
	r.step = step
	r.at[r.student], r.at[r.teacher], r.value = s.Student, s.Teacher, s.Value
	r.want = [][]float64{s.Gradient}
	for _, name := range r.names {
		r.want = append(r.want, inOut(s.WeightGradients[name], r.g.Contrast.Weights[name].Shape))
	}
	r.l.Tell(train.Moment{Update: step, Batch: step}, &data.Batch{N: 5, Numbers: s.Own})
}

// TestContrast holds three steps, and the memories after them, to RepDistiller.
func TestContrast(t *testing.T) {
	r := newContrastRun(t)
	ds, err := engine.Grad(r.b.Graph(), r.loss, r.wrt)
	if err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		r.begin(step)
		at := make(map[*engine.Value]ref.Array)
		for v, x := range r.at {
			at[v] = ref.Array{Spec: v.Spec, V: x}
		}
		for v, raw := range r.in {
			at[v] = ref.Array{Spec: v.Spec, V: widened(raw)}
		}
		written := make(map[*engine.Value][]float64)
		for _, n := range r.b.Graph().Nodes() {
			var in []ref.Array
			for _, v := range n.In {
				in = append(in, at[v])
			}
			out, err := ref.Eval(n.Op, in)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range n.Out {
				at[v] = out[i]
				if u, ok := n.Op.(engine.Updater); ok && u.Alias(i) >= 0 {
					written[n.In[u.Alias(i)]] = out[i].V
				}
			}
		}
		var grads [][]float64
		for _, d := range ds {
			grads = append(grads, at[d].V)
		}
		r.hold(t, "float64", 1e-10, at[r.loss].V[0], grads)
		for v, x := range written {
			r.at[v] = x
		}
	}
	r.memories(t, 1e-10, func(v *engine.Value) []float64 { return r.at[v] })
}

// memories compares what is remembered.
func (r *contrastRun) memories(t *testing.T, tolerance float64, of func(v *engine.Value) []float64) {
	t.Helper()
	for k, v := range r.l.terms[0].(*contrast).memory {
		for i, x := range of(r.b.Variable(v)) {
			if want := r.g.Contrast.After[k][i]; !(math.Abs(x-want) <= tolerance) {
				t.Fatalf("%s[%d] is %.12g, not %.12g", v.Name, i, x, want)
			}
		}
	}
}

// TestContrastOnBackends does so in float32, compiled.
func TestContrastOnBackends(t *testing.T) { eachBackend(t, contrastOn) }

func contrastOn(t *testing.T, b engine.Backend) {
	r := newContrastRun(t)
	store := engine.NewStore(b)
	defer store.Close()
	ds, err := engine.Grad(r.b.Graph(), r.loss, r.wrt)
	if err != nil {
		t.Fatal(err)
	}
	for v, x := range r.at {
		if err := store.Set(v.Variable(), narrowed(x)); err != nil {
			t.Fatal(err)
		}
	}
	outs := append([]*engine.Value{r.loss}, ds...)
	p, err := r.b.Graph().Compile(b, engine.Options{Store: store, Outputs: outs})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for step := range 3 {
		r.begin(step)
		r.in[r.student], r.in[r.teacher] = narrowed(r.at[r.student]), narrowed(r.at[r.teacher])
		if err := p.Run(context.Background(), r.in); err != nil {
			t.Fatal(err)
		}
		var read [][]float64
		for _, v := range outs {
			raw := make([]byte, v.Bytes())
			if err := p.Read(v, raw); err != nil {
				t.Fatal(err)
			}
			read = append(read, widened(raw))
		}
		r.hold(t, b.Name(), 1e-5, read[0][0], read[1:])
	}
	r.memories(t, 1e-6, func(v *engine.Value) []float64 {
		raw := make([]byte, v.Bytes())
		if err := store.Get(v.Variable(), raw); err != nil {
			t.Fatal(err)
		}
		return widened(raw)
	})
}

// TestNegatives: there are K of them, none of the image's class; no image is there
// twice where there are enough, and they depend on the batch and the image alone.
func TestNegatives(t *testing.T) {
	for _, k := range []int{1, 7, 20, 21, 500} {
		c := &contrast{k: k, seed: 5, class: make([]int32, 30)}
		for i := range c.class {
			c.class[i] = int32(i / 5 % 3) // 10 of each of 3 classes
		}
		c.sort()
		seen := make([]float32, 30)
		for batch := range 50 {
			for class := range 3 {
				times, again := make([]float32, 30), make([]float32, 30)
				c.negatives(batch, 3, class, times)
				c.negatives(batch, 3, class, again)
				if !slices.Equal(times, again) {
					t.Fatal("the draws depend on those before")
				}
				sum := float32(0)
				for i, n := range times {
					sum += n
					seen[i] += n
					if n > 0 && int(c.class[i]) == class || n > 1 && k <= 20 {
						t.Fatalf("K = %d: image %d of class %d is drawn %v times for class %d", k, i, c.class[i], n, class)
					}
				}
				if sum != float32(k) {
					t.Fatalf("%v draws, not %d", sum, k)
				}
			}
		}
		mean := float32(k) * 150 / 30
		for i, n := range seen {
			if math.Abs(float64(n-mean)) > 6*math.Sqrt(float64(mean)) {
				t.Errorf("K = %d: image %d is drawn %v times, the mean is %v", k, i, n, mean)
			}
		}
	}
}
