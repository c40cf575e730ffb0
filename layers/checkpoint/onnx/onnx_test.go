package onnx

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"google.golang.org/protobuf/encoding/protowire"
)

// testSize is the height and width of the images of the tests' nets.
const testSize = 24

// sample returns a checkpoint of m with random weights and statistics, stored in
// the given way. Some of BatchNorm's factors are negative.
func sample(t *testing.T, m *layers.Model, quant string) *checkpoint.Checkpoint {
	t.Helper()
	s, err := checkpoint.Quantize(checkpointtest.Redraw(checkpointtest.State(t, m, 5), 11, uneven), quant)
	if err != nil {
		t.Fatal(err)
	}
	return &checkpoint.Checkpoint{Net: m.Net(), State: s, Preprocess: checkpoint.Preprocess{Size: testSize}}
}

// uneven is the rule by which the samples' statistics and factors are drawn.
func uneven(e layers.Entry) (lo, hi float64) {
	switch {
	case strings.HasSuffix(e.Name, "running_var"):
		return 0.2, 2
	case len(e.Shape) == 1:
		return -1, 1.5
	}
	return 0, 0
}

// small returns the family's narrowest nets, in uneven widths.
func small(t *testing.T, family string) *layers.Model {
	t.Helper()
	widths := map[string][]int{
		"cnn-plain":         {3, 2, 5, 4, 3},
		"cnn-dwpw":          {3, 2, 5, 4, 3, 4, 5, 6, 7},
		"cnn-group":         {2, 4, 6, 4, 2, 5},
		"cnn-group-printed": {2, 4, 6, 4, 2, 4},
		"hw7-student":       {2, 3, 4, 5, 6, 7, 4, 3},
		"resnet18":          {2, 3, 2, 3},

		"shufflenet_v2_x0_5": {2, 4, 6, 4, 5},
	}
	m, err := layers.New(layers.Arch{Family: family, Classes: 4, Widths: widths[family]})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func encode(t *testing.T, c *checkpoint.Checkpoint, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, c, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func bits(x []float32) []uint32 {
	out := make([]uint32, len(x))
	for i, v := range x {
		out[i] = math.Float32bits(v)
	}
	return out
}

// TestKeptTensors exports nets of families with its BatchNorms: all floats of the
// state are there, bit by bit, and no others but ReLU6's bounds.
func TestKeptTensors(t *testing.T) {
	for _, family := range checkpointtest.Families() {
		c := sample(t, small(t, family), checkpoint.Float32)
		m := readBack(t, encode(t, c, Options{KeepBatchNorm: true}))
		m.wired(t)
		for _, e := range c.State {
			if e.Integer() {
				continue
			}
			if got := m.floats(t, e.Name); !slices.Equal(bits(got), bits(e.Data)) || !slices.Equal(m.tensors[e.Name].shape, e.Shape) {
				t.Errorf("%s: %s %v differs", family, e.Name, m.tensors[e.Name].shape)
			}
			delete(m.tensors, e.Name)
		}
		for name, x := range m.tensors {
			if !strings.HasPrefix(name, "relu6.") && x.dtype != typeInt64 { // shapes and places
				t.Errorf("%s: %s is not a tensor of the state", family, name)
			}
		}
	}
}

// TestHeader reads what surrounds the graph.
func TestHeader(t *testing.T) {
	c := sample(t, small(t, "cnn-group"), checkpoint.Affine8)
	c.Classes = []string{"a", "b", "ç", "d"}
	c.Preprocess = checkpoint.Preprocess{Size: 31, Resize: 40, Mean: []float32{0.1, 0.2, 0.3}, Std: []float32{0.5, 0.25, 1}}
	c.History = []checkpoint.Event{{Kind: "train", Detail: "x"}}
	m := readBack(t, encode(t, c, Options{Version: "v1"}))
	opset := m.model.sub(t, 8)[0]
	if m.model.int(1) != 8 || opset.int(2) != 17 || opset.string(1) != "" || m.model.string(2) != "potstill" || m.model.string(3) != "v1" {
		t.Errorf("IR version %d, opset %q %d, producer %q %q", m.model.int(1), opset.string(1), opset.int(2), m.model.string(2), m.model.string(3))
	}
	shape := func(field int) string {
		v := m.graph.sub(t, protowire.Number(field))[0]
		typ := v.sub(t, 2)[0].sub(t, 1)[0]
		s := fmt.Sprint(v.string(1), " ", typ.int(1))
		for _, d := range typ.sub(t, 2)[0].sub(t, 1) {
			if s += " " + d.string(2); d.string(2) == "" {
				s += fmt.Sprint(d.int(1))
			}
		}
		return s
	}
	if in, out := shape(11), shape(12); in != "images 1 N 3 31 31" || out != "logits 1 N 4" {
		t.Errorf("%s to %s", in, out)
	}
	var pre checkpoint.Preprocess
	var arch layers.Arch
	var classes []string
	var history []checkpoint.Event
	for key, to := range map[string]any{"preprocessing": &pre, "architecture": &arch, "classes": &classes, "history": &history} {
		if err := json.Unmarshal([]byte(m.metadata[key]), to); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	if !reflect.DeepEqual(pre, c.Preprocess) || !reflect.DeepEqual(arch, c.Net.Arch()) || !reflect.DeepEqual(classes, c.Classes) || !reflect.DeepEqual(history, c.History) {
		t.Errorf("metadata: %v %v %v %v", pre, arch, classes, history)
	}
	if m.metadata["producer"] != "potstill v1" || m.metadata["quantisation"] != `"affine8"` {
		t.Errorf("metadata %v", m.metadata)
	}
}

// TestStructure follows the nodes of two nets.
func TestStructure(t *testing.T) {
	m := readBack(t, encode(t, sample(t, small(t, "cnn-dwpw"), ""), Options{}))
	m.wired(t)
	conv := m.find(t, "cnn.1.1")
	want := readNode{op: "Conv", name: "cnn.1.0", in: []string{"cnn.0.3", "cnn.1.0.weight", "cnn.1.0.bias"}, out: []string{"cnn.1.1"},
		ints:   map[string][]int{"kernel_shape": {3, 3}, "strides": {1, 1}, "pads": {1, 1, 1, 1}, "dilations": {1, 1}, "group": {3}},
		floats: map[string]float32{}}
	if !reflect.DeepEqual(conv, want) {
		t.Errorf("%+v, want %+v", conv, want)
	}
	if pool := m.find(t, "cnn.0.3"); pool.op != "MaxPool" || !slices.Equal(pool.ints["strides"], []int{2, 2}) || !slices.Equal(pool.in, []string{"cnn.0.2"}) {
		t.Errorf("%+v", pool)
	}
	if fc := m.find(t, "logits"); fc.op != "Gemm" || fc.name != "fc.0" || !slices.Equal(fc.in, []string{"cnn.9", "fc.0.weight", "fc.0.bias"}) || fc.ints["transB"][0] != 1 {
		t.Errorf("%+v", fc)
	}
	m = readBack(t, encode(t, sample(t, small(t, "resnet18"), ""), Options{}))
	m.wired(t)
	if add := m.find(t, "layer2.0.add"); add.op != "Add" || !slices.Equal(add.in, []string{"layer2.0.bn2", "layer2.0.downsample.1"}) {
		t.Errorf("%+v", add)
	}
	if relu := m.find(t, "layer2.0.relu_1"); relu.op != "Relu" || relu.in[0] != "layer2.0.add" {
		t.Errorf("%+v", relu)
	}
	if stem := m.find(t, "bn1"); stem.name != "conv1" || !slices.Equal(stem.in, []string{"images", "conv1.weight", "conv1.bias"}) || !slices.Equal(stem.ints["kernel_shape"], []int{7, 7}) {
		t.Errorf("%+v", stem)
	}
}

// TestFolding compares folded weights with the formula.
func TestFolding(t *testing.T) {
	c := sample(t, small(t, "resnet18"), "")
	m := readBack(t, encode(t, c, Options{}))
	at := func(name string) []float32 { return c.State.Find(name).Data }
	for i, w := range m.floats(t, "layer1.0.conv2.weight") {
		o := i / (2 * 9)
		f := float64(at("layer1.0.bn2.weight")[o]) / math.Sqrt(float64(at("layer1.0.bn2.running_var")[o])+float64(float32(1e-5)))
		if want := float32(float64(at("layer1.0.conv2.weight")[i]) * f); math.Float32bits(w) != math.Float32bits(want) {
			t.Fatalf("weight %d is %g, want %g", i, w, want)
		}
		b := m.floats(t, "layer1.0.conv2.bias")[o]
		if want := float64(at("layer1.0.bn2.bias")[o]) - float64(at("layer1.0.bn2.running_mean")[o])*f; math.Abs(float64(b)-want) > 1e-6 {
			t.Fatalf("bias %d is %g, want %g", o, b, want)
		}
	}
}

// TestCodes writes 8-bit weights: the file's codes, and what decodes to the
// folded weights.
func TestCodes(t *testing.T) {
	for _, quant := range []string{"", checkpoint.Affine8, checkpoint.Affine8PerChannel} {
		for _, keep := range []bool{false, true} {
			c := sample(t, small(t, "cnn-group"), "")
			if w := c.State.Find("cnn.3.3.weight"); quant != checkpoint.Affine8 {
				n := len(w.Data) / w.Shape[0]
				for i := range n { // a channel of equal weights
					w.Data[i] = 0.25
				}
			}
			var err error
			if c.State, err = checkpoint.Quantize(c.State, quant); err != nil {
				t.Fatal(err)
			}
			m := readBack(t, encode(t, c, Options{Int8: Weights8, KeepBatchNorm: keep}))
			m.wired(t)
			whole := readBack(t, encode(t, c, Options{KeepBatchNorm: keep}))
			complemented := 0
			for _, e := range c.State {
				if len(e.Shape) < 2 {
					continue
				}
				ranges := e.Shape[0]
				if quant == checkpoint.Affine8 {
					ranges = 1
				}
				codes, _, _, err := affine.EncodeChannels8(e.Data, ranges)
				if err != nil {
					t.Fatal(err)
				}
				got := m.tensors[e.Name+".codes"]
				if got.dtype != typeUint8 || !slices.Equal(got.shape, e.Shape) || len(got.raw) != len(codes) {
					t.Fatalf("%s: type %d, shape %v, %d codes", e.Name, got.dtype, got.shape, len(got.raw))
				}
				scale, offset, want := m.floats(t, e.Name+".scale"), m.floats(t, e.Name+".offset"), whole.floats(t, e.Name)
				each := len(codes) / e.Shape[0]
				largest := float64(slices.Max(want)) - float64(slices.Min(want))
				for i, q := range got.raw {
					o := i / each
					if q != codes[i] && (keep || q != 255-codes[i]) {
						t.Fatalf("%s: code %d is %d, in the file %d", e.Name, i, q, codes[i])
					}
					if q != codes[i] {
						complemented++
					}
					near := 0.0
					if quant == "" {
						near = float64(scale[o]) / 2
					}
					if w := float64(scale[o])*float64(q) + float64(offset[o]); math.Abs(w-float64(want[i])) > near+1e-6*largest {
						t.Fatalf("%s %q: weight %d decodes to %g, is %g", e.Name, quant, i, w, want[i])
					}
				}
			}
			if keep == (complemented > 0) {
				t.Errorf("BatchNorm kept: %v, codes complemented: %d", keep, complemented)
			}
		}
	}
}

// TestQDQ follows a quantized net: convolutions and linear layers but the stem read
// nothing but decoded codes, those of the checkpoint, and nothing stands between one and
// the clamp behind it.
func TestQDQ(t *testing.T) {
	c := quantized(t, sample(t, small(t, "cnn-dwpw"), ""))
	m := readBack(t, encode(t, c, Options{Int8: QDQ}))
	m.wired(t)
	coded, err := c.Net.Encode(c.State)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, n := range m.nodes {
		if n.op == "Clip" || n.op == "Relu" {
			if from := m.find(t, n.in[0]); from.op == "DequantizeLinear" {
				t.Errorf("%s reads codes", n.name)
			}
		}
		if n.op != "Conv" && n.op != "Gemm" {
			continue
		}
		if found++; found == 1 { // see TestStem
			continue
		}
		x, w, b := m.find(t, n.in[0]), m.find(t, n.in[1]), m.find(t, n.in[2])
		for _, from := range []readNode{x, w, b} {
			if from.op != "DequantizeLinear" {
				t.Errorf("%s reads %s from %s", n.name, from.name, from.op)
			}
		}
		sx, sw, sb := m.floats(t, x.in[1])[0], m.floats(t, w.in[1]), m.floats(t, b.in[1])
		if want := coded.Find(w.name); !bytes.Equal(m.tensors[w.in[0]].raw, want.Codes.Bytes) {
			t.Errorf("%s: the codes are not the checkpoint's", n.name)
		}
		bias := c.State.Find(b.name).Data
		for o, s := range sb {
			raw := m.tensors[b.in[0]].raw[4*o:]
			q := int32(uint32(raw[0]) | uint32(raw[1])<<8 | uint32(raw[2])<<16 | uint32(raw[3])<<24)
			if s != sx*sw[o] || math.Abs(float64(q)*float64(s)-float64(bias[o])) > float64(s)*0.5001 {
				t.Errorf("%s: bias %d is %d·%g, want %g", n.name, o, q, s, bias[o])
			}
		}
	}
	if found != 18 {
		t.Errorf("%d layers with weights", found)
	}
}

// TestUnquantized: what has no ranges of activations is not written in 8 bits, and
// what has can be written in float32.
func TestUnquantized(t *testing.T) {
	c := sample(t, small(t, "resnet18"), "")
	if err := Encode(&bytes.Buffer{}, c, Options{Int8: QDQ}); err == nil || !strings.Contains(err.Error(), "potstill quantize") {
		t.Errorf("error %v", err)
	}
	m := readBack(t, encode(t, quantized(t, c), Options{}))
	m.wired(t)
	for _, n := range m.nodes {
		if strings.Contains(n.op, "Quantize") {
			t.Errorf("%s is a %s", n.name, n.op)
		}
	}
}

// TestWrite: the size is the file's, equal models make equal files.
func TestWrite(t *testing.T) {
	c := sample(t, small(t, "hw7-student"), "")
	path := filepath.Join(t.TempDir(), "m.onnx")
	n, err := Write(path, c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != n || !bytes.Equal(b, encode(t, c, Options{})) {
		t.Errorf("%d bytes reported, %d written (%v)", n, len(b), err)
	}
}
