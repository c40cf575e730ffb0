package distill

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// goldenReuse is a case of what scripts/golden_simkd.py writes.
type goldenReuse struct {
	Spec                        string
	Strides                     [2]int
	Image                       []float64
	Shape                       []int
	Student, Teacher, Projector map[string]struct {
		Shape []int
		Data  []float64
	}
	Value     float64
	Logits    []float64
	Gradients map[string][]float64
}

// smallNet is Small of the script.
func smallNet(t *testing.T, width, stride int) *layers.Net {
	t.Helper()
	b := layers.NewNetBuilder("small", layers.Input{Channels: 3})
	conv := layers.Conv(3, width, 3)
	conv.Stride, conv.Padding = layers.Both(stride), layers.Around(1)
	x := b.Add("relu", layers.ReLU{}, b.Add("conv", conv, layers.Image))
	x = b.Add("pool", layers.AdaptiveAvgPool2d{}, x)
	x = b.Add("drop", layers.Dropout{P: 0.5}, x)
	n, err := b.Net(b.Add("fc", layers.Linear{InFeatures: width, OutFeatures: 3, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// write writes a case down: a student with the classifier of its teacher, and the loss.
func (c goldenReuse) write(t *testing.T) (w *written, logits *engine.Value) {
	t.Helper()
	size := [2]int{c.Shape[1], c.Shape[2]}
	teacherNet := smallNet(t, 6, c.Strides[1])
	values := func(from map[string]struct {
		Shape []int
		Data  []float64
	}) (s layers.StateDict) {
		for _, name := range []string{"conv.weight", "conv.bias", "fc.weight", "fc.bias"} {
			e := layers.Entry{Name: name, Shape: from[name].Shape}
			for _, v := range from[name].Data {
				e.Data = append(e.Data, float32(v))
			}
			s = append(s, e)
		}
		return s
	}
	spec, err := ParseSpec(c.Spec)
	if err != nil {
		t.Fatal(err)
	}
	net, state, err := spec.Reuse(teacherNet, values(c.Teacher), size, size, 1)(smallNet(t, 4, c.Strides[0]), values(c.Student))
	if err != nil {
		t.Fatal(err)
	}
	student, err := net.Model()
	if err != nil {
		t.Fatal(err)
	}
	teacher, err := teacherNet.Model()
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLoss(Settings{Spec: c.Spec}, []*layers.Model{teacher}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := l.Attach(store, student, size[0], size[1]); err != nil {
		t.Fatal(err)
	}
	if len(l.State()) != 0 || l.spec.CE() != 0 {
		t.Errorf("the loss keeps %v, with a weight of %v of the labels", l.State(), l.spec.CE())
	}
	if err := student.Freeze(Reused); err != nil {
		t.Fatal(err)
	}
	w = newWritten(c.Value)
	x := w.b.Input("images", engine.F32(c.Shape...))
	w.at[x] = c.Image
	target := w.b.Input("target", engine.F32(c.Shape[0], 3))
	w.in[target] = make([]byte, target.Bytes())
	out := student.Build(w.b, x, true)
	w.term(t, l.imitate(w.b, train.NewBatch(w.b, []*engine.Value{x}, target, w.in), out, []*engine.Outputs{teacher.Build(w.b, x, false)}))
	for _, slot := range teacher.Slots() {
		w.at[w.b.Variable(slot.Variable)] = widened(slot.Raw(values(c.Teacher).Find(slot.Variable.Name)))
	}
	for _, slot := range student.Slots() {
		e := state.Find(slot.Variable.Name)
		name := strings.Replace(e.Name, projector, "transfer", 1)
		if from, ok := c.Projector[name]; ok {
			if !slices.Equal(e.Shape, from.Shape) {
				t.Fatalf("%s is %v, not %v", e.Name, e.Shape, from.Shape)
			}
			e.Data = nil
			for _, v := range from.Data {
				e.Data = append(e.Data, float32(v))
			}
		}
		v := w.b.Variable(slot.Variable)
		if slot.Variable.DType == engine.Float32 && !strings.Contains(e.Name, "running_") {
			w.at[v] = widened(slot.Raw(e))
		}
		if g, ok := c.Gradients[name]; ok {
			narrow := layers.Entry{Name: e.Name, Shape: e.Shape}
			w.wrt, w.want = append(w.wrt, v), append(w.want, torchOrder(slot, narrow, g))
		}
	}
	if len(w.wrt) != len(c.Gradients) {
		t.Fatalf("%d of %d gradients are known", len(w.wrt), len(c.Gradients))
	}
	return w, out.Logits
}

// torchOrder takes numbers from PyTorch's layout of a slot to the engine's.
func torchOrder(slot layers.Slot, e layers.Entry, x []float64) []float64 {
	e.Data = make([]float32, len(x))
	for i := range e.Data {
		e.Data[i] = float32(i) // where each goes
	}
	out := make([]float64, len(x))
	for i, from := range widened(slot.Raw(&e)) {
		out[i] = x[int(from)]
	}
	return out
}

func goldenReuses(t *testing.T) []goldenReuse {
	t.Helper()
	var g struct{ Cases []goldenReuse }
	raw, err := os.ReadFile("testdata/simkd.json")
	if err == nil {
		err = json.Unmarshal(raw, &g)
	}
	if err != nil || len(g.Cases) != 3 {
		t.Fatalf("testdata/simkd.json is not whole (%v); make it with scripts/golden_simkd.py", err)
	}
	return g.Cases
}

// TestGoldenReuse holds the loss, its gradients, and the logits by the teacher's classifier, to the
// reference implementation: in float64, and in float32 on every backend.
func TestGoldenReuse(t *testing.T) {
	for _, c := range goldenReuses(t) {
		w, _ := c.write(t)
		value, grads := w.double(t)
		w.hold(t, c.Spec, 1e-10, value, grads)
		w, logits := c.write(t)
		w.loss, w.wrt = logits, nil
		for i, v := range w.evaluate(t)[logits].V {
			if math.Abs(v-c.Logits[i]) > 1e-10 {
				t.Errorf("%s: logit %d is %.14g, not %.14g", c.Spec, i, v, c.Logits[i])
			}
		}
	}
	eachBackend(t, func(t *testing.T, b engine.Backend) {
		for _, c := range goldenReuses(t) {
			w, _ := c.write(t)
			value, grads := w.single(t, b)
			w.hold(t, b.Name()+" "+c.Spec, 1e-5, value, grads)
		}
	})
}

// TestReuse: the classifiers of families are found, and their students are whole nets that
// store again.
func TestReuse(t *testing.T) {
	spec, err := ParseSpec("simkd")
	if err != nil {
		t.Fatal(err)
	}
	student, err := layers.Arch{Family: "cnn-dwpw", Base: 4, Classes: 5}.Net()
	if err != nil {
		t.Fatal(err)
	}
	for family, want := range map[string]string{
		"resnet18":           "teacher.avgpool teacher.fc",
		"mobilenet_v2":       "teacher.avgpool teacher.classifier.1",
		"squeezenet1_1":      "teacher.classifier.1 teacher.classifier.2 teacher.classifier.3",
		"mobilenet_v3_small": "teacher.avgpool teacher.classifier.0 teacher.classifier.1 teacher.classifier.3",
		"vgg16":              "teacher.avgpool teacher.flatten teacher.classifier.0 teacher.classifier.1 teacher.classifier.3 teacher.classifier.4 teacher.classifier.6",
		"densenet121":        "teacher.avgpool teacher.classifier",
		"convnext_tiny":      "teacher.avgpool teacher.classifier.0 teacher.classifier.2",
	} {
		teacher, err := layers.Arch{Family: family, Base: 8, Classes: 5}.Net()
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := spec.Reuse(teacher, nil, [2]int{64, 64}, [2]int{64, 64}, 1)(student, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		var tail []string
		for _, m := range n.Modules {
			if layers.Fits(Reused, m.Name) {
				tail = append(tail, m.Name)
			}
		}
		if got := strings.Join(tail, " "); got != want {
			t.Errorf("%s: the classifier is %s", family, got)
		}
		if n.Module("fc.0") != nil || n.Classes() != 5 {
			t.Errorf("%s: the student keeps its classifier", family)
		}
		if _, _, err := spec.Reuse(teacher, nil, [2]int{64, 64}, [2]int{64, 64}, 1)(n, nil); err == nil || !strings.Contains(err.Error(), "named projector already") {
			t.Errorf("%s: a second time: %v", family, err)
		}
	}
}

// TestSingleTeachers: methods of one teacher say so before anything is run.
func TestSingleTeachers(t *testing.T) {
	for _, m := range Methods() {
		s, err := ParseSpec(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		err = s.CheckTeachers(2)
		if one := slices.Contains([]string{"crd", "reviewkd", "simkd"}, m.Name); one != (err != nil) {
			t.Errorf("%s under two teachers: %v", m.Name, err)
		}
		if err := s.CheckTeachers(1); err != nil {
			t.Error(err)
		}
	}
}
