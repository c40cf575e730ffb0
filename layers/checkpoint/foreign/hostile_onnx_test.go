package foreign

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
	"github.com/potstill/potstill/layers/checkpoint/onnxread/onnxtest"
)

// decodeONNX reads bytes as an ONNX file and makes a net of it, or as any other.
func decodeONNX(b []byte) error {
	if !onnxread.Sniff(b) {
		_, err := Decode(b)
		return err
	}
	m, err := onnxread.Decode(b)
	if err != nil {
		return err
	}
	_, err = onnxnet.Import(m, onnxnet.Options{})
	return err
}

// changed is a sound file with something changed.
func changed(change func(g *onnxtest.Graph)) []byte {
	g := onnxtest.Small()
	change(&g)
	return g.Bytes()
}

// before puts a node between the image and the convolution.
func before(n onnxtest.Message, tensors ...onnxtest.Message) []byte {
	return changed(func(g *onnxtest.Graph) {
		g.Tensors = append(g.Tensors, tensors...)
		g.Nodes[0] = onnxtest.Node("Conv", []string{"z", "conv.weight", "conv.bias"}, []string{"c"}, onnxtest.AttributeInts("pads", 1, 1, 1, 1))
		g.Nodes = append([]onnxtest.Message{n}, g.Nodes...)
	})
}

// withTensor is a sound file with a tensor in the place of the Gemm's weight.
func withTensor(t onnxtest.Message) []byte {
	return changed(func(g *onnxtest.Graph) { g.Tensors[2] = t })
}

// deep is an If whose branch has an If whose branch …
func deep(n int) []byte {
	graph := onnxtest.Message{}
	for range n {
		graph = onnxtest.Message{}.Msg(1, onnxtest.Node("If", []string{"x"}, []string{"z"}, onnxtest.Message{}.Text(1, "then_branch").Msg(6, graph)))
	}
	return before(onnxtest.Node("If", []string{"x"}, []string{"z"}, onnxtest.Message{}.Text(1, "then_branch").Msg(6, graph)))
}

func hostileONNX() []hostile {
	node, tensor, ints := onnxtest.Node, onnxtest.Tensor, onnxtest.Ints
	const huge = 1 << 62
	filled := func(dims ...int64) []byte { // weights that the file does not hold
		return changed(func(g *onnxtest.Graph) {
			g.Tensors[2] = tensor("shape", onnxtest.Int64, []int64{int64(len(dims))}, ints(dims...))
			g.Nodes = append([]onnxtest.Message{node("ConstantOfShape", []string{"shape"}, []string{"fc.weight"})}, g.Nodes...)
		})
	}
	many := func(n int, m onnxtest.Message) onnxtest.Message {
		return onnxtest.Message(strings.Repeat(string(onnxtest.Message{}.Msg(1, m)), n))
	}
	return []hostile{
		{"ONNX: a shape of exabytes", "impossible shape", withTensor(tensor("fc.weight", onnxtest.Float32, []int64{huge}, ""))},
		{"ONNX: a shape whose product overflows", "impossible shape", withTensor(tensor("fc.weight", onnxtest.Float32, []int64{1 << 20, 1 << 20, 1 << 30}, ""))},
		{"ONNX: a shape of more than 2^31 elements", "impossible shape", withTensor(tensor("fc.weight", onnxtest.Float32, []int64{1 << 16, 1 << 16}, ""))},
		{"ONNX: a negative size", "impossible shape", withTensor(tensor("fc.weight", onnxtest.Float32, []int64{-2, 2}, ""))},
		{"ONNX: 65 dimensions", "more than 64 dimensions", withTensor(tensor("fc.weight", onnxtest.Float32, make([]int64, 65), ""))},
		{"ONNX: data of another length than their shape", "12 bytes of data, but its shape [2 2] of float32 needs 16", withTensor(tensor("fc.weight", onnxtest.Float32, []int64{2, 2}, "0123456789ab"))},
		{"ONNX: fewer numbers than its shape", "has 1 values, but its shape [4] needs 4", withTensor(onnxtest.Message{}.Int(1, 4).Int(2, onnxtest.Int64).Int(7, 5).Text(8, "fc.weight"))},
		{"ONNX: a tensor of texts", "of type string", withTensor(tensor("fc.weight", onnxtest.String, []int64{2, 2}, ""))},
		{"ONNX: data beside the file", "lies in another file", withTensor(onnxtest.External("fc.weight", "../../etc/passwd", 2, 2))},
		{"ONNX: two tensors of one name", `two tensors are named "fc.bias"`, changed(func(g *onnxtest.Graph) { g.Tensors = append(g.Tensors, g.Tensors[3]) })},
		{"ONNX: an output that is made twice", `its output "c" is made twice`, changed(func(g *onnxtest.Graph) { g.Nodes = append(g.Nodes, g.Nodes[0]) })},
		{"ONNX: an attribute twice", `the attribute "k" twice`, before(node("Relu", []string{"x"}, []string{"z"}, onnxtest.Attribute("k", 1), onnxtest.Attribute("k", 2)))},
		{"ONNX: a missing tensor", `its input "conv.bias" is no input of the graph`, changed(func(g *onnxtest.Graph) { g.Tensors[1] = g.Tensors[3]; g.Tensors = g.Tensors[:3] })},
		{"ONNX: a cycle", "the graph is a cycle", before(node("Add", []string{"x", "c"}, []string{"z"}))},
		{"ONNX: a missing output", `its output "q" is made by no node`, changed(func(g *onnxtest.Graph) { g.Outputs[0] = onnxtest.Info("q") })},
		{"ONNX: a thousand graphs within one another", "graphs within nodes are not read", deep(1_000)},
		{"ONNX: a hundred thousand nodes", "more than 65536 nodes", onnxtest.File(many(100_000, node("Relu", []string{"x"}, []string{"y"})), 17)},
		{"ONNX: a million empty nodes", "no operator", onnxtest.File(many(1_000_000, nil), 17)},
		{"ONNX: weights of terabytes that it does not hold", "the impossible shape", filled(1<<20, 1<<20)},
		{"ONNX: weights of gigabytes that it does not hold", "unfold to more than 268435456 numbers", before(node("Expand", []string{"fc.bias", "n"}, []string{"z"}), tensor("n", onnxtest.Int64, []int64{2}, ints(1<<28, 2)))},
		{"ONNX: a constant repeated to terabytes", "unfold to more than 268435456 numbers", before(node("Tile", []string{"fc.weight", "n"}, []string{"z"}), tensor("n", onnxtest.Int64, []int64{2}, ints(1<<27, 1<<27)))},
		{"ONNX: an image padded to exabytes", "pads of", before(node("Pad", []string{"x", "n"}, []string{"z"}), tensor("n", onnxtest.Int64, []int64{8}, ints(0, 0, huge, 0, 0, 0, huge, 0)))},
		{"ONNX: an image of a terabyte", "1048576 pixels of height", changed(func(g *onnxtest.Graph) { g.Inputs[0] = onnxtest.Info("x", -1, 1, 1<<20, 1<<20) })},
		{"ONNX: a kernel of exabytes", "a kernel of", before(node("MaxPool", []string{"x"}, []string{"z"}, onnxtest.AttributeInts("kernel_shape", huge, 1)))},
		{"ONNX: a group of protobuf", "has a group", onnxtest.File(onnxtest.Message("\x0b\x0c"), 17)},
		{"ONNX: two graphs", "2 graphs", onnxtest.Message(changed(func(*onnxtest.Graph) {})).Msg(7, nil)},
		{"ONNX: a file cut short", "ends in the middle of field 7", changed(func(*onnxtest.Graph) {})[:100]},
		{"ONNX: no set of operators", "does not say which set of operators", changed(func(g *onnxtest.Graph) { g.Opset = -1 })},
		{"ONNX: operators of a version to come", "uses version 99", changed(func(g *onnxtest.Graph) { g.Opset = 99 })},
		{"ONNX: an operator of another domain", "of the domain evil", before(node("Relu", []string{"x"}, []string{"z"}).Text(7, "evil"))},
		{"ONNX: an unknown operator", `node "the Nonsense" (Nonsense)`, before(node("Nonsense", []string{"x"}, []string{"z"}))},
		{"ONNX: two images", "2 inputs (x, u)", changed(func(g *onnxtest.Graph) { g.Inputs = append(g.Inputs, onnxtest.Info("u", 1, 3, 4, 4)) })},
	}
}

// TestHostileONNX reads every hostile ONNX file, wants the line it must get, and
// no more memory for reading than is stated.
func TestHostileONNX(t *testing.T) {
	if err := decodeONNX(onnxtest.Small().Bytes()); err != nil {
		t.Fatalf("the sound file: %v", err)
	}
	for _, h := range hostileONNX() {
		t.Run(h.name, func(t *testing.T) {
			line := h.line(t)
			if !strings.Contains(line, h.want) {
				t.Errorf("got %q, want %q in it", line, h.want)
			}
			allocatedBy(t, h.data, func(b []byte) { _, _ = onnxread.Decode(b) })
		})
	}
}

// TestEveryCutONNX reads a sound file cut short at every byte, and with every byte
// changed: what comes is one line, or a net.
func TestEveryCutONNX(t *testing.T) {
	b := onnxtest.Small().Bytes()
	for n := range b {
		var format *FormatError
		if err := decodeONNX(b[:n]); !errors.As(err, &format) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("the first %d of %d bytes gave %v", n, len(b), err)
		}
	}
	for i, right := range b {
		for _, change := range []byte{1, 0x80, 0xff, 7} {
			b[i] = right ^ change
			var format *named.FormatError
			if err := decodeONNX(b); err != nil && (!errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r")) {
				t.Fatalf("byte %d changed: %v", i, fmt.Sprint(err))
			}
		}
		b[i] = right
	}
}
