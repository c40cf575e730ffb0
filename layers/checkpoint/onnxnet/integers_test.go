package onnxnet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
	"github.com/potstill/potstill/layers/checkpoint/onnxread/onnxtest"
)

const uint8Type, int8Type = 2, 3

// classifier is a net of images [N,1,4,4] from the nodes of a convolution, from x to c,
// and of a product with a matrix, from f to y.
func classifier(conv, product []onnxtest.Message, tensors ...onnxtest.Message) onnxtest.Graph {
	nodes := slices.Concat(conv, []onnxtest.Message{
		onnxtest.Node("Relu", []string{"c"}, []string{"r"}),
		onnxtest.Node("GlobalAveragePool", []string{"r"}, []string{"p"}),
		onnxtest.Node("Flatten", []string{"p"}, []string{"f"}),
	}, product)
	scalar := func(name string, dtype int64, raw string) onnxtest.Message {
		return onnxtest.Tensor(name, dtype, nil, raw)
	}
	tensors = append(tensors,
		scalar("sx", onnxtest.Float32, onnxtest.Floats(0.5)), scalar("zx", uint8Type, "\x03"),
		scalar("sf", onnxtest.Float32, onnxtest.Floats(0.25)), scalar("zf", uint8Type, "\x00"),
		scalar("sy", onnxtest.Float32, onnxtest.Floats(2)), scalar("zy", uint8Type, "\x80"),
		onnxtest.Tensor("w", int8Type, []int64{2, 1, 1, 1}, "\x05\xfd"),
		onnxtest.Tensor("sw", onnxtest.Float32, []int64{2}, onnxtest.Floats(0.5, 0.125)),
		onnxtest.Tensor("zw", int8Type, []int64{2}, "\x00\x00"),
		onnxtest.Tensor("m", int8Type, []int64{2, 2}, "\x01\x02\x03\xfc"),
		onnxtest.Tensor("sm", onnxtest.Float32, []int64{1}, onnxtest.Floats(0.25)),
		onnxtest.Tensor("zm", int8Type, []int64{1}, "\x00"),
		onnxtest.Tensor("swx", onnxtest.Float32, []int64{1, 2, 1, 1}, onnxtest.Floats(0.25, 0.0625)), // sw·sx
		onnxtest.Tensor("sw4", onnxtest.Float32, []int64{1, 2, 1, 1}, onnxtest.Floats(0.5, 0.125)),
		onnxtest.Tensor("smf", onnxtest.Float32, nil, onnxtest.Floats(0.0625)), // sm·sf
	)
	return onnxtest.Graph{Opset: 17, Nodes: nodes, Tensors: tensors, Inputs: []onnxtest.Message{onnxtest.Info("x", -1, 1, 4, 4)},
		Outputs: []onnxtest.Message{onnxtest.Info("y", -1, 2)}}
}

func imported(t *testing.T, g onnxtest.Graph) (*onnxnet.Result, error) {
	t.Helper()
	m, err := onnxread.Decode(g.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return onnxnet.Import(m, onnxnet.Options{})
}

// checkWeights compares the weights of the convolution and of the matrix: codes times
// scales, and as PyTorch has them.
func checkWeights(t *testing.T, r *onnxnet.Result) {
	t.Helper()
	want := map[string][]float32{"Conv2d": {2.5, -0.375}, "Linear": {0.25, 0.75, 0.5, -1}}
	found := 0
	for i := range r.Net.Modules {
		m := &r.Net.Modules[i]
		var kind string
		switch m.Kind.(type) {
		case layers.Conv2d:
			kind = "Conv2d"
		case layers.Linear:
			kind = "Linear"
		default:
			continue
		}
		found++
		if got := r.State.Find(m.Tensor("weight")).Data; !slices.Equal(got, want[kind]) {
			t.Errorf("%s has the weight %v, want %v", m.Name, got, want[kind])
		}
		if _, coded := m.Fake[layers.FakeWeight]; !coded {
			t.Errorf("%s: the codes of the weight are lost", m.Name)
		}
	}
	if found != 2 {
		t.Errorf("%d layers with weights", found)
	}
}

// TestIntegerProducts: products of codes of activations with ranges are computed in
// integers.
func TestIntegerProducts(t *testing.T) {
	node := onnxtest.Node
	float := onnxtest.Attribute("to", 1)
	g := classifier([]onnxtest.Message{
		node("QuantizeLinear", []string{"x", "sx", "zx"}, []string{"q"}),
		node("ConvInteger", []string{"q", "w", "zx", "zw"}, []string{"i"}),
		node("Cast", []string{"i"}, []string{"n"}, float),
		node("Mul", []string{"swx", "n"}, []string{"c"}),
	}, []onnxtest.Message{
		node("QuantizeLinear", []string{"f", "sf", "zf"}, []string{"fq"}),
		node("QLinearMatMul", []string{"fq", "sf", "zf", "m", "sm", "zm", "sy", "zy"}, []string{"yq"}),
		node("DequantizeLinear", []string{"yq", "sy", "zy"}, []string{"y"}),
	})
	r, err := imported(t, g)
	if err != nil {
		t.Fatal(err)
	}
	checkWeights(t, r)
	if slices.Contains(r.Notes, onnxnet.NoBatchNorms) {
		t.Errorf("notes %q of a net with quantizers", r.Notes)
	}
	qs, err := r.Net.Quantizers(r.State)
	if err != nil {
		t.Fatal(err)
	}
	var scales []float32
	for _, q := range qs {
		if q.Role != layers.FakeWeight {
			scales = append(scales, q.Scale[0])
		}
	}
	if want := []float32{0.5, 0.25, 2}; !slices.Equal(scales, want) {
		t.Errorf("activations have the scales %v, want %v", scales, want)
	}
	if n, _, err := layers.Integers(r.Net, r.State); err != nil || n == r.Net {
		t.Errorf("the net is not computed in integers (%v)", err)
	}
}

// TestDynamicQuantization: ranges that are found for each batch are left out, codes of
// weights are kept, and the file's notes say so.
func TestDynamicQuantization(t *testing.T) {
	node := onnxtest.Node
	float := onnxtest.Attribute("to", 1)
	g := classifier([]onnxtest.Message{
		node("DynamicQuantizeLinear", []string{"x"}, []string{"q", "s", "z"}),
		node("ConvInteger", []string{"q", "w", "z", "zw"}, []string{"i"}),
		node("Cast", []string{"i"}, []string{"n"}, float),
		node("Mul", []string{"s", "sw4"}, []string{"scales"}),
		node("Mul", []string{"n", "scales"}, []string{"c"}),
	}, []onnxtest.Message{
		node("DynamicQuantizeLinear", []string{"f"}, []string{"fq", "fs", "fz"}),
		node("MatMulInteger", []string{"fq", "m", "fz", "zm"}, []string{"fi"}),
		node("Cast", []string{"fi"}, []string{"fn"}, float),
		node("Mul", []string{"fs", "sm"}, []string{"fscales"}),
		node("Mul", []string{"fn", "fscales"}, []string{"y"}),
	})
	r, err := imported(t, g)
	if err != nil {
		t.Fatal(err)
	}
	checkWeights(t, r)
	if notes := strings.Join(r.Notes, "; "); !strings.Contains(notes, "for each batch") {
		t.Errorf("notes %q", notes)
	}
	if _, integers := r.Net.Quantized(); integers {
		t.Error("the net is computed in integers, without ranges")
	}

	g.Nodes = slices.Delete(g.Nodes, len(g.Nodes)-3, len(g.Nodes)) // nothing multiplies by the scales
	g.Nodes[len(g.Nodes)-1] = node("MatMulInteger", []string{"fq", "m", "fz", "zm"}, []string{"y"})
	if _, err := imported(t, g); err == nil || !strings.Contains(err.Error(), "Integer") && !strings.Contains(err.Error(), "DynamicQuantizeLinear") {
		t.Errorf("without its scales: error %v", err)
	}
}
