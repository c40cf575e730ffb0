package layers_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
)

// A familyGolden is what scripts/families_golden.py says of a family.
type familyGolden struct {
	Family string
	Params int
	State  string // SHA-256 of the state_dict's names, types and shapes
	// Of a small copy:
	Base, Size, Image int
	Logits            []float32
	Noise, Loss       float64 // how far PyTorch's float32 is from its float64
	Gradients         map[string][2]float64
}

func readFamilies(t *testing.T) []familyGolden {
	t.Helper()
	text, err := os.ReadFile("testdata/families.json")
	if err != nil {
		t.Fatal(err)
	}
	var gs []familyGolden
	if err := json.Unmarshal(text, &gs); err != nil {
		t.Fatal(err)
	}
	return gs
}

// drawnValues returns n numbers in (-1, 1) that follow from a name, the same as
// in scripts/families_golden.py.
func drawnValues(name string, n int) []float64 {
	h := uint32(2166136261)
	for i := range len(name) {
		h = (h ^ uint32(name[i])) * 16777619
	}
	out := make([]float64, n)
	for i := range out {
		x := h + uint32(i)*0x9E3779B9
		x = (x ^ x>>16) * 0x85EBCA6B
		x = (x ^ x>>13) * 0xC2B2AE35
		x ^= x >> 16
		out[i] = (float64(x>>21) - 1023.5) / 1024
	}
	return out
}

// drawnTensor returns the value of a tensor of PyTorch's shape.
func drawnTensor(name string, shape []int) []float32 {
	n := 1
	for _, d := range shape {
		n *= d
	}
	u := drawnValues(name, n)
	out := make([]float32, n)
	for i, v := range u {
		switch {
		case strings.HasSuffix(name, "layer_scale"):
			v = 0.5 + 0.25*v
		case len(shape) > 1:
			v *= math.Sqrt(3 / float64(n/shape[0]))
		case strings.HasSuffix(name, "running_var"), strings.HasSuffix(name, "weight"):
			v = 1 + 0.5*v
		default:
			v = 0.3 * v
		}
		out[i] = float32(v)
	}
	return out
}

// drawnValuesOf returns the state of a net with drawn values.
func drawnValuesOf(m *layers.Model) layers.StateDict {
	var s layers.StateDict
	for _, slot := range m.Slots() {
		e := layers.Entry{Name: slot.Variable.Name, Shape: slot.Shape()}
		if slot.Variable.DType == engine.Int64 {
			e.Int = []int64{0}
		} else {
			e.Data = drawnTensor(e.Name, e.Shape)
		}
		s = append(s, e)
	}
	return s
}

// TestFamilies holds every family to PyTorch: the number of its parameters, the
// names, types, shapes and order of its tensors, and of a small copy the logits
// and one training step's loss and gradients.
func TestFamilies(t *testing.T) {
	golden := make(map[string]familyGolden)
	for _, g := range readFamilies(t) {
		golden[g.Family] = g
	}
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = backend.Close() })
	for _, family := range layers.Families() {
		if strings.HasPrefix(family, "cnn-") || family == "hw7-student" {
			continue // see golden_test.go
		}
		g, ok := golden[family]
		if !ok {
			t.Errorf("testdata/families.json lacks %s; run scripts/families_golden.py", family)
			continue
		}
		t.Run(family, func(t *testing.T) {
			g.checkState(t)
			g.checkStep(t, backend)
		})
	}
}

func (g familyGolden) checkState(t *testing.T) {
	m := newModel(t, layers.Arch{Family: g.Family, Classes: 1000})
	if got := m.Params(); got != g.Params {
		t.Errorf("%d parameters, want %d", got, g.Params)
	}
	h := sha256.New()
	for _, s := range m.Slots() {
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Shape()), "[]"), " ", "x")
		if shape == "" {
			shape = "scalar"
		}
		fmt.Fprintf(h, "%s %v %s\n", s.Variable.Name, s.Variable.DType, shape)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != g.State {
		t.Errorf("the state_dict is not PyTorch's; compare it with python scripts/families.py %s", g.Family)
	}
}

// goldenClasses and goldenBatch are those of the small copies.
const goldenClasses, goldenBatch = 5, 4

func (g familyGolden) checkStep(t *testing.T, backend engine.Backend) {
	n, err := layers.Arch{Family: g.Family, Classes: goldenClasses, Base: g.Base}.Net()
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.WithoutDropout().Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(backend)
	defer store.Close()
	if err := m.Load(store, drawnValuesOf(m)); err != nil {
		t.Fatal(err)
	}
	pixels := drawnImage(fmt.Sprint("image", g.Image), goldenBatch, 3, g.Size)
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", engine.F32(goldenBatch, g.Size, g.Size, 3))
	logits := m.Forward(b, x, false)
	p := compile(t, b, store, logits)
	run(t, p, engine.Bindings{x: engine.Bytes(pixels)})
	near(t, "logits", read(t, p, logits), g.Logits, valueTolerance, largest(g.Logits))
	if g.Gradients == nil {
		return
	}

	b = engine.NewBuilder(engine.NewGraph())
	x = b.Input("image", engine.F32(goldenBatch, g.Size, g.Size, 3))
	y := b.Input("target", engine.F32(goldenBatch, goldenClasses))
	loss := b.One(engine.CrossEntropy{}, m.Forward(b, x, true), y)
	slots, params := trainable(m, b)
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		t.Fatal(err)
	}
	target := make([]float32, goldenBatch*goldenClasses)
	for i := range goldenBatch {
		target[i*goldenClasses+i%goldenClasses] = 1
	}
	p = compile(t, b, store, append([]*engine.Value{loss}, grads...)...)
	run(t, p, engine.Bindings{x: engine.Bytes(pixels), y: engine.Bytes(target)})
	near(t, "loss", read(t, p, loss), []float32{float32(g.Loss)}, valueTolerance, g.Loss)
	g.checkGradients(t, slots, func(i int) []float32 { return read(t, p, grads[i]) })
}

// checkGradients compares norms and products with a drawn direction, both on the
// scale of the gradient's norm. They may be off by a few times what PyTorch's
// float32 is.
func (g familyGolden) checkGradients(t *testing.T, slots []layers.Slot, gradient func(i int) []float32) {
	tolerance := max(valueTolerance, 4*g.Noise)
	var all float64
	for _, want := range g.Gradients {
		all = max(all, want[0])
	}
	if len(slots) != len(g.Gradients) {
		t.Errorf("%d gradients, want %d", len(slots), len(g.Gradients))
	}
	for i, s := range slots {
		name := s.Variable.Name
		want := g.Gradients[name]
		got := make([]float32, s.Variable.Len())
		s.Layout.ToTorch(got, gradient(i), s.Shape())
		direction := drawnValues("direction/"+name, len(got))
		var square, product float64
		for k, v := range got {
			square += float64(v) * float64(v)
			product += float64(v) * direction[k]
		}
		scale := want[0]
		if scale < 1e-9*all {
			scale = all / 10 // zero but for rounding: a bias before a BatchNorm
		}
		for k, d := range []float64{math.Sqrt(square) - want[0], product - want[1]} {
			if !(math.Abs(d) <= tolerance*scale) {
				t.Errorf("gradient of %s: %s is off by %.2g of %.2g, more than %.2g", name, []string{"the norm", "g·d"}[k], d/scale, scale, tolerance)
			}
		}
	}
}

// drawnImage returns images whose values are drawn in PyTorch's order, as NHWC.
func drawnImage(name string, n, c, size int) []float32 {
	u := drawnValues(name, n*c*size*size)
	out := make([]float32, len(u))
	for i, v := range u {
		x, y, k, b := i%size, i/size%size, i/(size*size)%c, i/(size*size*c)
		out[((b*size+y)*size+x)*c+k] = float32(v)
	}
	return out
}
