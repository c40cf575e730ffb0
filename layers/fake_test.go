package layers_test

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
)

// quantizedNet returns a small net with quantizers of every role, and a state.
func quantizedNet(t *testing.T) (*layers.Net, layers.StateDict) {
	t.Helper()
	b := `
input: {channels: 3, height: 6, width: 6}
modules:
  conv: {kind: Conv2d, out_channels: 4, kernel_size: 3, padding: 1}
  relu: ReLU
  pool: AdaptiveAvgPool2d
  fc: Linear
`
	n, err := layers.ParseYAML("net.yaml", []byte(b), 5)
	if err != nil {
		t.Fatal(err)
	}
	s := layers.Started(t, n, 1)
	weight := layers.Fake{Bits: 8, Signed: true, Symmetric: true, PerChannel: true}
	n, s, err = layers.SetFakes([]layers.Quantizer{
		{Module: "conv", Role: layers.FakeInput, Fake: layers.Fake{Bits: 8}, Scale: []float32{0.02}, Zero: []float32{100}},
		{Module: "conv", Role: layers.FakeWeight, Fake: weight, Scale: []float32{0.001, 0.002, 0.003, 0.0015}},
		{Module: "relu", Role: layers.FakeOutput, Fake: layers.Fake{Bits: 8, Symmetric: true}, Scale: []float32{0.004}},
		{Module: "fc", Role: layers.FakeWeight, Fake: layers.Fake{Bits: 4, Signed: true, Symmetric: true}, Scale: []float32{0.07}},
	})(n, s)
	if err != nil {
		t.Fatal(err)
	}
	return n, s
}

func TestFakeTexts(t *testing.T) {
	n, _ := quantizedNet(t)
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var back layers.Net
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&back, n) {
		t.Errorf("the net comes back from JSON as %+v, it was %+v", back, n)
	}
	yaml, err := n.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, err := layers.ParseYAML("net.yaml", yaml, 5)
	if err != nil {
		t.Fatalf("%v\n%s", err, yaml)
	}
	if !reflect.DeepEqual(again, n) {
		t.Errorf("the net comes back from YAML as %+v, it was %+v\n%s", again, n, yaml)
	}
	for bad, want := range map[string]string{
		`"bits":9`:                    "9 bits",
		`"bits":8,"x":1`:              "unknown key",
		`"bits":8,"per_channel":true`: "only a weight",
	} {
		text := strings.Replace(string(text), `"input":{"bits":8`, `"input":{`+bad, 1)
		if err := json.Unmarshal([]byte(text), &back); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "conv") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// TestFakeValues holds ranges that cannot be to one line that names the layer.
func TestFakeValues(t *testing.T) {
	n, s := quantizedNet(t)
	for name, bad := range map[string][]float32{
		"conv.input_scale":      {float32(math.NaN())},
		"relu.output_scale":     {-0.1},
		"fc.weight_scale":       {0},
		"conv.weight_scale":     {1, 1, float32(math.Inf(1)), 1},
		"conv.input_zero_point": {256},
	} {
		broken := slices.Clone(s)
		broken.Find(name).Data = bad
		module, _, _ := strings.Cut(name, ".")
		if err := n.CheckState(broken); err == nil || !strings.HasPrefix(err.Error(), module+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %v: %v", name, bad, err)
		}
		missing := slices.DeleteFunc(slices.Clone(s), func(e layers.Entry) bool { return e.Name == name })
		if err := n.CheckState(missing); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestFakeForward holds what a module reads, holds and makes to multiples of its
// scales, and codes to what they stand for.
func TestFakeForward(t *testing.T) {
	n, s := quantizedNet(t)
	coded, err := n.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	image := make([]float32, 2*6*6*3)
	for i := range image {
		image[i] = float32(rng.NormFloat64())
	}
	logits, relu := fakeRun(t, n, s, image)
	again, _ := fakeRun(t, n, coded, image)
	if !slices.Equal(logits, again) {
		t.Error("the values of the codes give other logits")
	}
	some := false
	for i, v := range relu {
		q := float64(v) / 0.004
		if math.Abs(q-math.Round(q)) > 1e-4 || q < 0 || q > 255.001 {
			t.Fatalf("element %d of the ReLU is %g, which is no code", i, v)
		}
		some = some || q > 0
	}
	if !some {
		t.Error("the ReLU gives zeros alone: the test is void")
	}
	for _, name := range []string{"conv.weight", "fc.weight"} {
		c := coded.Find(name).Codes
		q, err := layers.UnpackCodes(c.Bytes, len(s.Find(name).Data), c.Encoding.Bits)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(layers.PackCodes(q, c.Encoding.Bits), c.Bytes) {
			t.Errorf("%s: codes do not come back", name)
		}
	}
}

func fakeRun(t *testing.T, n *layers.Net, s layers.StateDict, image []float32) (logits, relu []float32) {
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
	x := b.Input("image", engine.F32(2, 6, 6, 3))
	o := m.Build(b, x, false)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	out := []*engine.Value{o.Logits, o.At("relu")}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: out})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(image)}); err != nil {
		t.Fatal(err)
	}
	for i, v := range out {
		x := make([]float32, v.Len())
		if err := p.Read(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			logits = x
		} else {
			relu = x
		}
	}
	return logits, relu
}

// TestFakeSelect cuts the scales with the channels.
func TestFakeSelect(t *testing.T) {
	n, s := quantizedNet(t)
	cut, state, err := layers.Select(map[string][]int{"conv": {1, 3}})(n, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := cut.CheckState(state); err != nil {
		t.Fatal(err)
	}
	if got := state.Find("conv.weight_scale").Data; !slices.Equal(got, []float32{0.002, 0.0015}) {
		t.Errorf("the scales that are left are %v", got)
	}
}
