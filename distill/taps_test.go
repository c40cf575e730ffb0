package distill

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
)

func attached(t *testing.T, spec, student, teacher string, size int) (*Loss, error) {
	t.Helper()
	m := func(family string) *layers.Model {
		m, err := layers.New(layers.Arch{Family: family, Classes: 4, Base: 8})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	store := engine.NewStore(ref.New())
	t.Cleanup(func() { store.Close() })
	l, err := NewLoss(Settings{Spec: spec}, []*layers.Model{m(teacher)}, Options{Seed: 3})
	if err != nil {
		t.Fatal(err)
	}
	return l, l.Attach(store, m(student), size, size)
}

// TestTaps: modules are paired by the sizes of their outputs, or as they are named.
func TestTaps(t *testing.T) {
	l, err := attached(t, "at", "resnet18", "resnet18", 64)
	if err != nil {
		t.Fatal(err)
	}
	p := l.terms[0].(*attention).paired[0]
	var names []string
	for _, q := range p {
		if q.student != q.teacher {
			t.Errorf("%s is paired with %s", q.student, q.teacher)
		}
		names = append(names, q.student)
	}
	// The stem's activation, and the last of each layer, of 32, 16, 8, 4 and 2 pixels.
	if len(names) != 5 || !strings.HasPrefix(names[1], "layer1.") || !strings.HasPrefix(names[4], "layer4.") {
		t.Errorf("paired are %v", names)
	}
	if l, err = attached(t, "at:stages=2-3/5", "resnet18", "resnet18", 64); err != nil {
		t.Fatal(err)
	}
	var some []string
	for _, q := range l.terms[0].(*attention).paired[0] {
		some = append(some, q.student)
	}
	if !slices.Equal(some, []string{names[1], names[2], names[4]}) {
		t.Errorf("of %v chosen are %v", names, some)
	}
	if l, err = attached(t, "fitnet:student=layer2,teacher=layer3", "resnet18", "resnet18", 64); err != nil {
		t.Fatal(err)
	}
	state := l.State()
	if len(state) != 6 || state[0].Name != "distillation.fitnet.1.1.conv.weight" || !slices.Equal(state[0].Shape, []int{3, 3, 16, 32}) {
		t.Errorf("the projector from layer2 to layer3 is %v", state)
	}
	for _, v := range state {
		if v.DType != engine.Float32 {
			t.Errorf("%s is %v, which no run keeps", v.Name, v.Spec)
		}
	}
	for spec, want := range map[string]string{
		"at:stages=6":                             "5: ",
		"at:stages=0":                             "stages=0",
		"at:stages=3-2":                           "stages=3-2",
		"at:stages=x":                             "stages=x",
		"at:student=layer9,teacher=layer1":        `has no module "layer9"`,
		"at:student=layer1":                       "name those of both",
		"at:student=layer1/layer2,teacher=layer1": "name as many",
		"sp:student=fc,teacher=layer1":            "no image",
		"at:form=mine":                            "code or paper",
	} {
		if _, err := attached(t, spec, "resnet18", "resnet18", 64); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want %q, got %v", spec, want, err)
		}
	}
}

// TestStagesOfFamilies: what is inside of a block is no stage.
func TestStagesOfFamilies(t *testing.T) {
	for teacher, want := range map[string]string{
		"resnet18":           "cnn.1.2 like relu, cnn.2.2 like layer1.1.relu_1, cnn.3.2 like layer2.1.relu_1, cnn.8.2 like layer3.1.relu_1",
		"resnet50":           "cnn.1.2 like relu, cnn.2.2 like layer1.2.relu_2, cnn.3.2 like layer2.3.relu_2, cnn.8.2 like layer3.5.relu_2",
		"mobilenet_v2":       "cnn.1.2 like features.2.conv.0.2, cnn.2.2 like features.4.conv.0.2, cnn.3.2 like features.7.conv.0.2, cnn.8.2 like features.14.conv.0.2",
		"shufflenet_v2_x1_0": "cnn.1.2 like conv1.2, cnn.2.2 like maxpool, cnn.3.2 like stage2.3.shuffle, cnn.8.2 like stage3.7.shuffle",
		"convnext_tiny":      "cnn.2.2 like features.2.0, cnn.3.2 like features.4.0, cnn.8.2 like features.6.0",
	} {
		l, err := attached(t, "at", "cnn-dwpw", teacher, 128)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := l.terms[0].(*attention).pairing(); got != want {
			t.Errorf("%s: %s", teacher, got)
		}
	}
}

// TestUnpairedNets: nets of no common size are refused in one line with both lists.
func TestUnpairedNets(t *testing.T) {
	store := engine.NewStore(ref.New())
	defer store.Close()
	net := func(name string, strides ...int) *layers.Model {
		b := layers.NewNetBuilder(name, layers.Input{Channels: 3})
		x, from := layers.Image, 3
		for k, s := range strides {
			conv := layers.Conv(from, 4, 1)
			conv.Stride = layers.Both(s)
			id := string(rune('a' + k))
			x = b.Add(id+".relu", layers.ReLU{}, b.Add(id+".conv", conv, x))
			from = 4
		}
		x = b.Add("pool", layers.AdaptiveAvgPool2d{}, x)
		n, err := b.Net(b.Add("fc", layers.Linear{InFeatures: 4, OutFeatures: 2, Bias: true}, x))
		if err != nil {
			t.Fatal(err)
		}
		m, err := n.Model()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	l, err := NewLoss(Settings{Spec: "at"}, []*layers.Model{net("teacher", 3, 2)}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = l.Attach(store, net("student", 2, 2), 24, 24)
	for _, want := range []string{"a.relu 4x12x12, b.relu 4x6x6", "a.relu 4x8x8, b.relu 4x4x4", "student=a.relu/b.relu"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	// What compares images with each other takes them all the same.
	l, err = NewLoss(Settings{Spec: "sp+rkd+pkt"}, []*layers.Model{net("teacher", 3, 2)}, Options{})
	if err == nil {
		err = l.Attach(store, net("student", 2, 2), 24, 24)
	}
	if err != nil {
		t.Error(err)
	}
}
