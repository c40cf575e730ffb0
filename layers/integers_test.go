package layers_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
)

// everything is a net with all that there is in integers: a strided first layer, a
// depthwise one, ReLU6, squeeze and excitation, a sum, a concatenation, pools.
const everything = `
input: {channels: 3, height: 12, width: 12}
modules:
  stem: {kind: Conv2d, out_channels: 8, kernel_size: 3, stride: 2, padding: 1, bias: false}
  bn: BatchNorm2d
  relu: ReLU
  expand: {kind: Conv2d, out_channels: 16, kernel_size: 1}
  relu6: ReLU6
  depthwise: {kind: Conv2d, out_channels: 16, kernel_size: 3, padding: 1, groups: 16}
  swish: Hardswish
  squeeze: AdaptiveAvgPool2d
  fc1: {kind: Linear, out_features: 4}
  relu1: ReLU
  fc2: {kind: Linear, out_features: 16}
  gate: Hardsigmoid
  scale: {kind: Mul, from: [swish, gate]}
  project: {kind: Conv2d, out_channels: 8, kernel_size: 1}
  add: {kind: Add, from: [project, relu]}
  relu2: ReLU
  max: {kind: MaxPool2d, kernel_size: 3, stride: 1, padding: 1}
  mean: {kind: AvgPool2d, from: [relu2], kernel_size: 3, stride: 1, padding: 1}
  cat: {kind: Concat, from: [max, mean]}
  pool: {kind: MaxPool2d, kernel_size: 2}
  flat: Flatten
  drop: {kind: Dropout, p: 0.5}
  head: {kind: Linear, out_features: 6}
`

// calibrated gives every module of a net quantizers: the ranges of its outputs on an
// image, per channel for weights.
func calibrated(t *testing.T, n *layers.Net, s layers.StateDict, image []float32) (*layers.Net, layers.StateDict) {
	t.Helper()
	n, s, err := layers.FoldBatchNorm(n, s)
	if err != nil {
		t.Fatal(err)
	}
	values := valuesOf(t, n, s, image)
	var qs []layers.Quantizer
	for i := range n.Modules {
		m := &n.Modules[i]
		switch layers.KindName(m.Kind) {
		case "Conv2d", "Linear":
			w := s.Find(m.Name + ".weight")
			q := layers.Quantizer{Module: m.Name, Role: layers.FakeWeight, Fake: layers.Fake{Bits: 8, Signed: true, Symmetric: true, PerChannel: true}}
			each := len(w.Data) / w.Shape[0]
			for o := range w.Shape[0] {
				most := float32(0)
				for _, v := range w.Data[o*each : (o+1)*each] {
					most = max(most, float32(math.Abs(float64(v))))
				}
				q.Scale = append(q.Scale, most/127)
			}
			qs = append(qs, q)
		}
		if i+1 < len(n.Modules) {
			switch next := layers.KindName(n.Modules[i+1].Kind); {
			case strings.HasPrefix(next, "ReLU"), m.Name == "head", layers.KindName(m.Kind) == "MaxPool2d":
				continue
			}
		} else {
			continue // the logits
		}
		least, most := float32(0), float32(0)
		for _, v := range values[m.Name] {
			least, most = min(least, v), max(most, v)
		}
		scale := (most - least) / 255
		qs = append(qs, layers.Quantizer{Module: m.Name, Role: layers.FakeOutput, Fake: layers.Fake{Bits: 8},
			Scale: []float32{scale}, Zero: []float32{float32(math.Round(float64(-least / scale)))}})
	}
	qs = append(qs, layers.Quantizer{Module: "stem", Role: layers.FakeInput, Fake: layers.Fake{Bits: 8, Signed: true}, Scale: []float32{0.03}, Zero: []float32{3}})
	n, s, err = layers.SetFakes(qs)(n, s)
	if err != nil {
		t.Fatal(err)
	}
	return n, s
}

// valuesOf returns what all modules make of images.
func valuesOf(t *testing.T, n *layers.Net, s layers.StateDict, image []float32) map[string][]float32 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := m.Load(store, s); err != nil {
		t.Fatal(err)
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", engine.F32(2, n.Input.Height, n.Input.Width, n.Input.Channels))
	o := m.Build(b, x, false)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	var out []*engine.Value
	for _, name := range o.Modules() {
		if v := o.At(name); v.DType == engine.Float32 {
			out = append(out, v)
		}
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: out})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(image)}); err != nil {
		t.Fatal(err)
	}
	values := make(map[string][]float32)
	for _, name := range o.Modules() {
		if v := o.At(name); v.DType == engine.Float32 {
			values[name] = make([]float32, v.Len())
			if err := p.Read(v, engine.Bytes(values[name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	values[""] = values[n.Output]
	return values
}

// TestIntegers holds a net in integers to the same net with quantizers in floats,
// which differ by codes whose sums lie at a half, and to the net without them.
func TestIntegers(t *testing.T) {
	n, s, image := drawnNet(t)
	float := valuesOf(t, n, s, image)[""]
	q, state := calibrated(t, n, s, image)
	fake := valuesOf(t, q, state, image)[""]
	ints, istate, err := layers.Integers(q, state)
	if err != nil {
		t.Fatal(err)
	}
	left, err := layers.InFloat(q, state)
	if err != nil || len(left) > 0 {
		t.Errorf("in float32: %q, %v", left, err)
	}
	for i := range ints.Modules {
		if _, ok := ints.Modules[i].Kind.(layers.Integer); !ok {
			t.Errorf("%s is a %s", ints.Modules[i].Name, layers.KindName(ints.Modules[i].Kind))
		}
	}
	got := valuesOf(t, ints, istate, image)[""]
	most := float32(0)
	for _, v := range float {
		most = max(most, v, -v)
	}
	for i, v := range got {
		if d := math.Abs(float64(v - fake[i])); d > 0.02*float64(most) {
			t.Errorf("logit %d is %g in integers, %g with quantizers", i, v, fake[i])
		}
		if d := math.Abs(float64(v - float[i])); d > 0.1*float64(most) {
			t.Errorf("logit %d is %g in integers, %g in floats", i, v, float[i])
		}
	}
	if slices.Equal(got, float) || most == 0 {
		t.Error("nothing is rounded: the test is void")
	}
}

// TestIntegersLeft names what stays in float32.
func TestIntegersLeft(t *testing.T) {
	n, s, image := drawnNet(t)
	q, state := calibrated(t, n, s, image)
	for i := range q.Modules {
		if m := &q.Modules[i]; m.Name == "project" || m.Name == "fc1" {
			m.Fake = nil
		}
	}
	state = slices.DeleteFunc(state, func(e layers.Entry) bool {
		return strings.HasSuffix(e.Name, "_scale") && (strings.HasPrefix(e.Name, "project.") || strings.HasPrefix(e.Name, "fc1.")) ||
			e.Name == "project.output_zero_point"
	})
	left, err := layers.InFloat(q, state)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"fc1: its weight has no quantizer", "project: its weight has no quantizer"}; !slices.Equal(left[:1], want[:1]) || !slices.Contains(left, want[1]) {
		t.Errorf("in float32: %q", left)
	}
	ints, istate, err := layers.Integers(q, state)
	if err != nil {
		t.Fatal(err)
	}
	if got := valuesOf(t, ints, istate, image)[""]; len(got) != 12 {
		t.Errorf("%d logits", len(got))
	}
}

func drawnNet(t *testing.T) (*layers.Net, layers.StateDict, []float32) {
	t.Helper()
	n, err := layers.ParseYAML("net.yaml", []byte(everything), 6)
	if err != nil {
		t.Fatal(err)
	}
	s := layers.Started(t, n, 3)
	rng := rand.New(rand.NewPCG(3, 4))
	image := make([]float32, 2*12*12*3)
	for i := range image {
		image[i] = float32(rng.NormFloat64())
	}
	return n, s, image
}
