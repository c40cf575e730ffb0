package onnxnet_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// TestQuantized reads the committed files in 8 bits: all of their integers come in, and
// the net computes in integers what ONNX Runtime made of the file.
func TestQuantized(t *testing.T) {
	const dir = "../onnx/testdata"
	var want map[string][][]float64
	text, err := os.ReadFile(filepath.Join(dir, "ort.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cnn-plain-qdq.onnx", "cnn-dwpw-qdq.onnx", "resnet18-qdq.onnx"} {
		m, err := onnxread.Read(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r, err := onnxnet.Import(m, onnxnet.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if left, err := layers.InFloat(r.Net, r.State); err != nil || len(left) > 0 {
			t.Errorf("%s: in float32 %q, %v", name, left, err)
		}
		n, s, err := layers.Integers(r.Net, r.State)
		if err != nil {
			t.Fatal(err)
		}
		got := run(t, n, s, r.Height)
		rows := want[name]
		largest, off := 0.0, 0.0
		for i, v := range got {
			w := rows[i/len(rows[0])][i%len(rows[0])]
			largest, off = max(largest, math.Abs(w)), max(off, math.Abs(float64(v)-w))
		}
		if len(got) != 3*len(rows[0]) || !(off <= 0.02*largest) {
			t.Errorf("%s: the logits differ by %g of the largest from ONNX Runtime's", name, off/largest)
		}
		t.Logf("%s: %.3g", name, off/largest)
	}
}

// run returns the logits of three images by the formula of package onnx's tests.
func run(t *testing.T, n *layers.Net, s layers.StateDict, size int) []float32 {
	t.Helper()
	hw := size * size
	images := make([]float32, 3*3*hw)
	for i := range images {
		b, c, p := i/(3*hw), i/hw%3, i%hw
		images[(b*hw+p)*3+c] = float32(i*7919%256) / 255
	}
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
	x := b.Input("images", engine.F32(3, size, size, 3))
	y := m.Forward(b, x, false)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := b.Graph().Compile(store.Backend(), engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(images)}); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, y.Len())
	if err := p.Read(y, engine.Bytes(out)); err != nil {
		t.Fatal(err)
	}
	return out
}
