package onnx

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// operators returns the operators of a file in 8 bits, in order.
func operators(t *testing.T, c *checkpoint.Checkpoint) (ops []string) {
	t.Helper()
	for _, n := range readBack(t, encode(t, c, Options{Int8: QDQ})).nodes {
		ops = append(ops, n.op)
	}
	return ops
}

// TestStem: the first layer of a net that pools behind it is written in whole numbers,
// and read back it computes the same integers, to the bit.
func TestStem(t *testing.T) {
	for _, family := range []string{"cnn-dwpw", "cnn-plain", "cnn-group"} {
		c := quantized(t, sample(t, small(t, family), ""))
		want := []string{"QuantizeLinear", "DequantizeLinear", "Conv", "MaxPool", "Mul", "QuantizeLinear", "DequantizeLinear"}
		file := encode(t, c, Options{Int8: QDQ})
		if got := operators(t, c)[:len(want)]; !slices.Equal(got, want) {
			t.Errorf("%s begins with %q, want %q", family, got, want)
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := onnxread.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := onnxnet.Import(m, onnxnet.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if left, err := layers.InFloat(r.Net, r.State); err != nil || len(left) > 0 {
			t.Errorf("%s: in float32 %q, %v", family, left, err)
		}
		back := *c
		back.Net, back.State = r.Net, r.State
		if got, want := logits(t, &back), logits(t, c); !slices.Equal(got, want) {
			t.Errorf("%s: read back the logits are %v, they were %v", family, got[:4], want[:4])
		}
	}
}

// TestNoStem: a layer with a clamp that its codes do not imply, or with sums that float32
// might not hold, is written as other layers are.
func TestNoStem(t *testing.T) {
	plain := []string{"QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv"}
	for name, change := range map[string]func(m *layers.Module, s layers.StateDict){
		"a range beyond the clamp": func(m *layers.Module, s layers.StateDict) {
			if m.Name == "cnn.0.2" {
				s.Find(m.Tensor("output_scale")).Data[0] = 8. / 255
			}
		},
		"a large bias": func(m *layers.Module, s layers.StateDict) {
			if m.Name == "cnn.0.0" {
				s.Find(m.Tensor("bias")).Data[0] = s.Find(m.Tensor("weight_scale")).Data[0] / 255 * (1 << 24)
			}
		},
	} {
		c := quantized(t, sample(t, small(t, "cnn-dwpw"), ""))
		for i := range c.Net.Modules {
			change(&c.Net.Modules[i], c.State)
		}
		if got := operators(t, c)[:len(plain)]; !slices.Equal(got, plain) {
			t.Errorf("%s: begins with %q", name, got)
		}
	}
}

// TestGlobalMean: the mean of a quantized picture stands between pairs of one coding.
func TestGlobalMean(t *testing.T) {
	ops := operators(t, quantized(t, sample(t, small(t, "resnet18"), "")))
	at := slices.Index(ops, "GlobalAveragePool")
	want := []string{"GlobalAveragePool", "QuantizeLinear", "DequantizeLinear", "Flatten", "QuantizeLinear", "DequantizeLinear"}
	if at < 0 || !slices.Equal(ops[at:at+len(want)], want) {
		t.Errorf("%q from %d on", ops, at)
	}
}

// TestDenseShare: of a net of three layers, with sums of 3, 64 and 8·H·W products.
func TestDenseShare(t *testing.T) {
	const hw = testSize * testSize
	b := layers.NewNetBuilder("dense", layers.Input{Channels: 3, Height: testSize, Width: testSize})
	x := b.Add("wide", layers.Conv(3, 64, 1), layers.Image)
	x = b.Add("narrow", layers.Conv(64, 8, 1), x)
	x = b.Add("flat", layers.Flatten{}, x)
	n, err := b.Net(b.Add("out", layers.Linear{InFeatures: 8 * hw, OutFeatures: 4, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DenseShare(sample(t, m, ""), Options{})
	if want := (64.*8 + 8*4) / (3.*64 + 64*8 + 8*4); err != nil || math.Abs(got-want) > 1e-9 {
		t.Errorf("%g, want %g (%v)", got, want, err)
	}
	if share, err := DenseShare(sample(t, small(t, "cnn-group"), ""), Options{}); err != nil || share != 0 {
		t.Errorf("cnn-group: %g, %v", share, err)
	}
}
