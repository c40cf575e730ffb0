package onnx

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

var update = flag.Bool("update", false, "write testdata/*.onnx anew; scripts/onnx_check.sh --golden then asks ONNX Runtime for its logits")

// A goldenCase is a committed file and how far ONNX Runtime's logits on it may be
// from ours, in units of the largest.
type goldenCase struct {
	file  string
	model *layers.Model
	quant string
	o     Options
	near  float64
}

func goldenCases(t *testing.T) []goldenCase {
	const exact = 1e-5
	cases := []goldenCase{{"composed.onnx", composed(t), "", Options{}, exact}}
	for _, family := range checkpointtest.Families() {
		cases = append(cases, goldenCase{family + ".onnx", small(t, family), "", Options{}, exact})
	}
	return append(cases,
		goldenCase{"joined.onnx", joined(t), "", Options{}, exact},
		goldenCase{"activated.onnx", activated(t), "", Options{}, exact},
		goldenCase{"windows.onnx", windows(t), "", Options{}, exact},
		goldenCase{"activated-qdq.onnx", activated(t), "", Options{Int8: QDQ}, 0.03},
		goldenCase{"gated.onnx", gated(t), "", Options{}, exact},
		goldenCase{"gated-qdq.onnx", gated(t), "", Options{Int8: QDQ}, 0.03},
		goldenCase{"joined-qdq.onnx", joined(t), "", Options{Int8: QDQ}, 0.03},
		goldenCase{"cnn-dwpw-bn.onnx", small(t, "cnn-dwpw"), "", Options{KeepBatchNorm: true}, exact},
		goldenCase{"cnn-dwpw-codes.onnx", small(t, "cnn-dwpw"), checkpoint.Affine8PerChannel, Options{Int8: Weights8}, exact},
		goldenCase{"resnet18-codes.onnx", small(t, "resnet18"), checkpoint.Affine8, Options{Int8: Weights8}, exact},
		goldenCase{"cnn-plain-qdq.onnx", small(t, "cnn-plain"), checkpoint.Affine8, Options{Int8: QDQ}, 0.02},
		goldenCase{"cnn-dwpw-qdq.onnx", small(t, "cnn-dwpw"), checkpoint.Affine8PerChannel, Options{Int8: QDQ}, 0.02},
		goldenCase{"resnet18-qdq.onnx", small(t, "resnet18"), "", Options{Int8: QDQ}, 0.02},
	)
}

// composed has the kinds that no family has, and a BatchNorm without a
// convolution before it.
func composed(t *testing.T) *layers.Model {
	t.Helper()
	conv := layers.Conv2d{InChannels: 3, OutChannels: 4, KernelSize: layers.Both(5), Stride: layers.Both(2), Padding: layers.Around(2), Dilation: layers.Both(2), Groups: 1}
	same := layers.Conv2d{
		InChannels: 4, OutChannels: 4, KernelSize: layers.Both(3), Stride: layers.Both(1), Padding: layers.Around(1), Dilation: layers.Both(1), Groups: 1,
		WeightInit: layers.KaimingNormalFanOut,
	}
	b := layers.NewNetBuilder("composed", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	x := b.Add("norm", layers.BatchNorm(3), layers.Image)
	x = b.Add("conv", conv, x)
	x = b.Add("relu", layers.ReLU{}, x)
	x = b.Add("pool", layers.AvgPool(3, 2, 1), x)
	y := b.Add("block.conv1", same, x)
	y = b.Add("block.bn1", layers.BatchNorm(4), y)
	y = b.Add("block.relu", layers.ReLU{}, y)
	y = b.Add("block.conv2", same, y)
	y = b.Add("block.bn2", layers.BatchNorm(4), y)
	x = b.Add("block.add", layers.Add{}, y, x)
	x = b.Add("block.relu_1", layers.ReLU{}, x)
	x = b.Add("drop", layers.Dropout{P: 0.5}, x)
	x = b.Add("weighted", weighted{}, x)
	x = b.Add("flat", layers.Flatten{}, x)
	x = b.Add("hidden", layers.Linear{InFeatures: 100, OutFeatures: 5, Bias: true}, x)
	x = b.Add("bound", layers.ReLU6{}, x)
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 5, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// joined has the kinds that part, join and normalize channels, on images and on
// vectors.
func joined(t *testing.T) *layers.Model {
	t.Helper()
	b := layers.NewNetBuilder("joined", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	x := b.Add("conv1", layers.Conv(3, 8, 3), layers.Image)
	left := b.Add("left", layers.Slice{Start: 0, End: 4}, x)
	right := b.Add("right", layers.Slice{Start: 4, End: 8}, x)
	right = b.Add("conv2", layers.Conv(4, 4, 1), right)
	x = b.Add("cat", layers.Concat{}, left, right)
	x = b.Add("shuffle", layers.ChannelShuffle{Groups: 2}, x)
	x = b.Add("layer_norm", layers.LayerNorm2d{NumChannels: 8, Eps: 1e-6}, x)
	x = b.Add("conv3", layers.Conv(8, 6, 3), x)
	x = b.Add("group_norm", layers.GroupNorm{NumGroups: 3, NumChannels: 6, Eps: 1e-5}, x)
	x = b.Add("relu", layers.ReLU{}, x)
	x = b.Add("pool", layers.AdaptiveAvgPool2d{}, x)
	x = b.Add("norm", layers.LayerNorm2d{NumChannels: 6, Eps: 1e-5}, x)
	y := b.Add("part", layers.Slice{Start: 2, End: 4}, x)
	x = b.Add("cat2", layers.Concat{}, x, y)
	x = b.Add("shuffle2", layers.ChannelShuffle{Groups: 4}, x)
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 8, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// activated has every activation, with constants other than the usual ones too,
// each on some channels of a convolution; those that want a positive argument
// stand behind a logistic function.
func activated(t *testing.T) *layers.Model {
	t.Helper()
	inf := layers.Bound(math.Inf(1))
	any := []layers.Kind{
		layers.ReLU{}, layers.ReLU6{}, layers.Sigmoid{}, layers.Tanh{}, layers.SiLU{}, layers.SELU{}, layers.Mish{}, layers.Hardswish{},
		layers.LeakyReLU{NegativeSlope: 0.1}, layers.ELU{Alpha: 0.5}, layers.Celu{Alpha: 2}, layers.Hardsigmoid{Alpha: 0.2, Beta: 0.4},
		layers.GELU{Approximate: "none"}, layers.GELU{Approximate: "tanh"}, layers.Softplus{Beta: 1, Threshold: 20},
		layers.Softplus{Beta: 2, Threshold: 1}, layers.Hardtanh{MinVal: -0.5, MaxVal: 0.25}, layers.Hardtanh{MinVal: -inf, MaxVal: 0.5},
		layers.Hardtanh{MinVal: -0.5, MaxVal: inf}, layers.ThresholdedReLU{Alpha: 0.25}, layers.Exp{}, layers.Abs{}, layers.Neg{},
		layers.Erf{}, layers.Softsign{}, layers.Pow{Exponent: 2},
	}
	positive := []layers.Kind{layers.Log{}, layers.Sqrt{}, layers.Reciprocal{}, layers.Pow{Exponent: 0.3}, layers.Pow{Exponent: -1}}
	channels := len(any) + len(positive) + 1
	b := layers.NewNetBuilder("activated", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	conv := b.Add("conv", layers.Conv(3, channels, 3), layers.Image)
	var parts []string
	for i, k := range append(any, positive...) {
		x := b.Add(fmt.Sprintf("part%d", i), layers.Slice{Start: i, End: i + 2}, conv)
		if i >= len(any) {
			x = b.Add(fmt.Sprintf("positive%d", i), layers.Sigmoid{}, x)
		}
		parts = append(parts, b.Add(fmt.Sprintf("f%d", i), k, x))
	}
	x := b.Add("pool", layers.AdaptiveAvgPool2d{}, b.Add("cat", layers.Concat{}, parts...))
	x = b.Add("hidden", layers.Linear{InFeatures: 2 * len(parts), OutFeatures: 5, Bias: true}, x)
	x = b.Add("vector", layers.SiLU{}, x)
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 5, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// windows has convolutions and pools of two and four sides, and the kinds that put
// something around pictures and normalize what is near.
func windows(t *testing.T) *layers.Model {
	t.Helper()
	b := layers.NewNetBuilder("windows", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	x := b.Add("reflect", layers.ReflectionPad2d{Padding: layers.Borders{1, 0, 2, 3}}, layers.Image)
	x = b.Add("conv", layers.Conv2d{InChannels: 3, OutChannels: 6, KernelSize: layers.Pair{3, 5}, Stride: layers.Pair{1, 2}, Dilation: layers.Pair{2, 1},
		Padding: layers.Pads{0, 2, 1, 3}, Groups: 1, Bias: true}, x)
	x = b.Add("response", layers.LocalResponseNorm{Size: 3, Alpha: 0.5, Beta: 0.75, K: 1}, x)
	x = b.Add("edge", layers.ReplicationPad2d{Padding: layers.Borders{0, 2, 1, 0}}, x)
	x = b.Add("instance", layers.InstanceNorm2d{NumFeatures: 6, Eps: 1e-5}, x)
	x = b.Add("constant", layers.ConstantPad2d{Padding: layers.Borders{1, 1, 0, 1}, Value: -0.5}, x)
	x = b.Add("affine", layers.InstanceNorm2d{NumFeatures: 6, Eps: 1e-3, Affine: true}, x)
	part := func(name string, k layers.Kind) string {
		return b.Add(name, layers.AdaptiveAvgPool2d{}, b.Add(name+".pool", k, x))
	}
	x = b.Add("cat", layers.Concat{},
		part("max", layers.MaxPool2d{KernelSize: layers.Pair{3, 2}, Stride: layers.Both(2), Padding: layers.Pads{1, 0, 1, 1}, CeilMode: true}),
		part("dilated", layers.MaxPool2d{KernelSize: layers.Both(2), Stride: layers.Both(1), Dilation: layers.Pair{2, 3}}),
		part("counted", layers.AvgPool2d{KernelSize: layers.Pair{2, 3}, Stride: layers.Both(2), Padding: layers.Sides(1, 1), CountIncludePad: true}),
		part("excluded", layers.AvgPool2d{KernelSize: layers.Both(3), Stride: layers.Both(2), Padding: layers.Around(1), CeilMode: true}),
		part("rest", layers.AvgPool2d{KernelSize: layers.Both(3), Stride: layers.Both(2), CeilMode: true, CountIncludePad: true}),
		part("regions", layers.AdaptiveAvgPool2d{OutputSize: layers.Pair{3, 2}}),
		part("kept", layers.AdaptiveAvgPool2d{KeepDims: true}),
		b.Add("largest", layers.AdaptiveMaxPool2d{}, x))
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 48, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// gated has the kinds that multiply, compare and scale what they read: squeeze and
// excitation, factors of pixels, and arithmetic on images and on vectors.
func gated(t *testing.T) *layers.Model {
	t.Helper()
	b := layers.NewNetBuilder("gated", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	x := b.Add("conv", layers.Conv(3, 6, 3), layers.Image)
	x = b.Add("prelu", layers.PReLU{NumParameters: 6, Start: 0.25}, x)
	y := b.Add("se.pool", layers.AdaptiveAvgPool2d{}, x)
	y = b.Add("se.fc1", layers.Linear{InFeatures: 6, OutFeatures: 4, Bias: true}, y)
	y = b.Add("se.fc2", layers.Linear{InFeatures: 4, OutFeatures: 6, Bias: true}, b.Add("se.silu", layers.SiLU{}, y))
	x = b.Add("se.scale", layers.Mul{}, b.Add("se.gate", layers.Sigmoid{}, y), x)
	y = b.Add("pixels", layers.Softmax{}, b.Add("conv2", layers.Conv(6, 6, 1), x))
	one := b.Add("one", layers.Slice{Start: 2, End: 3}, y)
	x = b.Add("attended", layers.Mul{}, x, one, y)
	x = b.Add("scale", layers.ScaleShift{Channels: 6, Scale: true, Bias: true, Dims: 3, Start: 1}, x)
	x = b.Add("depth", layers.StochasticDepth{P: 0.2}, x)
	y = b.Add("conv3", layers.Conv(6, 6, 1), x)
	x = b.Add("largest", layers.Maximum{}, x, y, b.Add("shift", layers.ScaleShift{Channels: 6, Bias: true, Dims: 1, Start: 1}, y))
	x = b.Add("difference", layers.Sub{}, b.Add("smallest", layers.Minimum{}, x, y), y)
	x = b.Add("ratio", layers.Div{}, x, b.Add("positive", layers.Exp{}, y))
	x = b.Add("pool", layers.AdaptiveAvgPool2d{}, b.Add("slope", layers.PReLU{NumParameters: 1, Start: 0.25}, x))
	x = b.Add("factor", layers.ScaleShift{Channels: 6, Scale: true, Dims: 1, Start: 1}, x)
	x = b.Add("prelu2", layers.PReLU{NumParameters: 6, Start: 0.25}, b.Add("log", layers.LogSoftmax{}, x))
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 6, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// weighted is 0.5·x - 2·relu(x) + x, in one operator.
type weighted struct{}

func (weighted) Check(int) error                            { return nil }
func (weighted) Params() []layers.Param                     { return nil }
func (weighted) Tie(t *layers.Ties)                         { t.Output(t.Input(0)) }
func (w weighted) Keep([][]int, []int) (layers.Kind, error) { return w, nil }
func (weighted) Build(c *layers.Call) *engine.Value {
	restore := c.Scope("") // names that are those of operators
	r := c.One(engine.Activation{F: engine.ReLU}, c.In[0])
	id := c.One(engine.Activation{}, c.In[0])
	c.Scope("Add.add")
	y := c.One(engine.Add{Weights: []float32{0.5, -2, 1}}, c.In[0], r, id)
	restore()
	return y
}

// logits runs c's model on the tests' images by the reference, in integers where it
// has ranges of activations.
func logits(t *testing.T, c *checkpoint.Checkpoint) []float32 {
	t.Helper()
	n, s, err := layers.Integers(c.Net, c.State)
	if err != nil {
		t.Fatal(err)
	}
	return outputs(t, n, s)[n.Output]
}

// outputs returns what the modules of a net that are in float32 make of the tests'
// images, by the reference.
func outputs(t *testing.T, n *layers.Net, s layers.StateDict) map[string][]float32 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	if err := m.Load(store, s); err != nil {
		t.Fatal(err)
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(3, testSize, testSize, n.Input.Channels))
	o := m.Build(b, x, false)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	var names []string
	var values []*engine.Value
	for _, name := range o.Modules() {
		if v := o.At(name); v.DType == engine.Float32 && v.Node() != nil {
			names, values = append(names, name), append(values, v)
		}
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: values})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(pixels(3))}); err != nil {
		t.Fatal(err)
	}
	out := make(map[string][]float32)
	for i, v := range values {
		x := make([]float32, v.Len())
		if err := p.Read(v, engine.Bytes(x)); err != nil {
			t.Fatal(err)
		}
		out[names[i]] = x
	}
	return out
}

// pixels returns n images of the tests' formula, NHWC.
func pixels(n int) []float32 {
	const hw = testSize * testSize
	out := make([]float32, n*hw*3)
	for i := range out {
		b, ch, p := i/(3*hw), i/hw%3, i%hw
		out[(b*hw+p)*3+ch] = float32(i*7919%256) / 255
	}
	return out
}

// quantized gives a net whose batch norms are folded quantizers: per channel of
// weights, and of what a module makes the range on the tests' images, widened to
// multiples of 1/16, so that what is written does not depend on the last bit of an
// activation, which differs between processors.
func quantized(t *testing.T, c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	t.Helper()
	n, s, err := layers.FoldBatchNorm(c.Net, c.State)
	if err != nil {
		t.Fatal(err)
	}
	values := outputs(t, n, s)
	var qs []layers.Quantizer
	for i := range n.Modules {
		m := &n.Modules[i]
		switch m.Kind.(type) {
		case layers.Conv2d, layers.Linear:
			w := s.Find(m.Tensor("weight"))
			q := layers.Quantizer{Module: m.Name, Role: layers.FakeWeight, Fake: layers.Fake{Bits: 8, Signed: true, Symmetric: true, PerChannel: true}}
			for each := len(w.Data) / w.Shape[0]; len(q.Scale) < w.Shape[0]; {
				most := float32(1e-3)
				for _, v := range w.Data[len(q.Scale)*each : (len(q.Scale)+1)*each] {
					most = max(most, v, -v)
				}
				q.Scale = append(q.Scale, most/127)
			}
			qs = append(qs, q)
			if m.In[0] == layers.Image {
				qs = append(qs, layers.Quantizer{Module: m.Name, Role: layers.FakeInput, Fake: layers.Fake{Bits: 8}, Scale: []float32{1. / 255}, Zero: []float32{0}})
			}
			if m.Name == n.Output || clampsNext(n, m.Name) {
				continue
			}
		case layers.MaxPool2d, layers.AdaptiveMaxPool2d, layers.Flatten, layers.Dropout, layers.Slice, layers.ChannelShuffle:
			continue
		case layers.Add:
			if clampsNext(n, m.Name) {
				continue
			}
		default:
			if m.Name == n.Output || len(m.In) == 1 && m.In[0] == layers.Image {
				continue
			}
		}
		least, most := 0.0, 0.0
		for _, v := range values[m.Name] {
			least, most = min(least, float64(v)), max(most, float64(v))
		}
		least, most = math.Floor(least*16)/16, math.Ceil(most*16+1)/16
		scale := float32((most - least) / 255)
		qs = append(qs, layers.Quantizer{Module: m.Name, Role: layers.FakeOutput, Fake: layers.Fake{Bits: 8}, Scale: []float32{scale},
			Zero: []float32{float32(math.Round(-least / float64(scale)))}})
	}
	out := *c
	if out.Net, out.State, err = layers.SetFakes(qs)(n, s); err != nil {
		t.Fatal(err)
	}
	return &out
}

// clampsNext reports whether a clamp alone reads a module.
func clampsNext(n *layers.Net, name string) bool {
	readers, clamps := 0, false
	for i := range n.Modules {
		for _, from := range n.Modules[i].In {
			if from == name {
				readers++
				switch n.Modules[i].Kind.(type) {
				case layers.ReLU, layers.ReLU6, layers.Hardtanh:
					clamps = true
				}
			}
		}
	}
	return readers == 1 && clamps
}

// TestGolden: the export is the committed file, byte for byte, and the logits that
// ONNX Runtime got from that file are the reference's.
func TestGolden(t *testing.T) {
	var want map[string][][]float64
	if text, err := os.ReadFile("testdata/ort.json"); err == nil {
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
	} else if !*update {
		t.Fatal(err)
	}
	for _, g := range goldenCases(t) {
		c := sample(t, g.model, g.quant)
		if g.o.Int8 == QDQ {
			c = quantized(t, c)
		}
		x, err := export(c, g.o)
		if err != nil {
			t.Errorf("%s: %v", g.file, err)
			continue
		}
		var got bytes.Buffer
		if err := x.encode(&got); err != nil {
			t.Fatal(err)
		}
		readBack(t, got.Bytes()).wired(t)
		path := filepath.Join("testdata", g.file)
		if *update {
			if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		file, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(file, got.Bytes()) {
			t.Errorf("%s: the export differs from the committed file (%v); if it should, run scripts/onnx_check.sh --golden", g.file, err)
		}
		compare(t, g, logits(t, c), want[g.file])
	}
}

func compare(t *testing.T, g goldenCase, got []float32, want [][]float64) {
	t.Helper()
	if len(want) != 3 || len(got) != 3*len(want[0]) {
		t.Errorf("%s: %d logits, ONNX Runtime gave %d rows", g.file, len(got), len(want))
		return
	}
	largest, off := 0.0, 0.0
	for i, v := range got {
		w := want[i/len(want[0])][i%len(want[0])]
		largest, off = max(largest, math.Abs(w)), max(off, math.Abs(float64(v)-w))
	}
	if !(off <= g.near*largest) {
		t.Errorf("%s: the logits differ by %g of the largest, at most %g is right", g.file, off/largest, g.near)
	}
	t.Logf("%s: %.3g", g.file, off/largest)
}
