package onnxnet

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// goldenSize is the height and width of the images of the goldens.
const goldenSize = 12

// logits runs a net on n images of the goldens' formula.
func logits(t *testing.T, r *Result, n int) []float32 {
	t.Helper()
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m, err := r.Net.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	if err := m.Load(store, r.State); err != nil {
		t.Fatal(err)
	}
	const hw = goldenSize * goldenSize
	pixels := make([]float32, n*3*hw)
	for i := range pixels {
		pixels[(i/(3*hw)*hw+i%hw)*3+i/hw%3] = float32(i*7919%256) / 255
	}
	builder := engine.NewBuilder(engine.NewGraph())
	x := builder.Input("images", engine.F32(n, goldenSize, goldenSize, 3))
	y := m.Forward(builder, x, false)
	if err := builder.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := builder.Graph().Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	out := make([]float32, y.Len())
	if err := errors.Join(p.Run(context.Background(), engine.Bindings{x: engine.Bytes(pixels)}), p.Read(y, engine.Bytes(out))); err != nil {
		t.Fatal(err)
	}
	return out
}

// A wanted is what the translation of a golden must come to.
type wanted struct {
	options Options
	batch   int
	open    bool     // images of any size
	modules []string // in order, name:kind; "…" stands for some
	notes   string   // a part of the notes
}

var goldens = map[string]wanted{
	"coded": {batch: 2, open: true, modules: []string{"conv1:Conv2d", "v6_0:ReLU", "…", "fc:Linear"}},
	"plain": {batch: 2, open: true, notes: "Softmax at the end is left off",
		modules: []string{"conv1:Conv2d", "…", "conv2:Conv2d", "bn2:BatchNorm2d", "…", "fc:Linear"}},
	"open_sizes":     {batch: 2, open: true},
	"needs_size":     {batch: 2, options: Options{Height: 12, Width: 12}},
	"tensorflow":     {batch: 2, notes: "transposes between the layouts are gone"},
	"squeeze_excite": {batch: 2, open: true, notes: "Hardswish (1), SiLU (1)"},
	"convnext":       {batch: 2, open: true, notes: "GELU (2), normalization (1)"},
	"shuffle":        {batch: 2},
	"padded":         {batch: 2, open: true, modules: []string{"conv1:Conv2d", "v7_0:ReLU", "v10_0:MaxPool2d", "v13_0:AvgPool2d", "v14_0:AdaptiveAvgPool2d", "fc:Linear"}},
	"old":            {batch: 1},
	"inception":      {batch: 2},
	"norms":          {batch: 2, open: true},
}

// TestGoldens imports nets as exporters write them and holds their logits to ONNX
// Runtime's.
func TestGoldens(t *testing.T) {
	text, err := os.ReadFile("testdata/ort.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string][]float32
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want) != len(goldens) {
		t.Errorf("%d goldens, %d are known", len(want), len(goldens))
	}
	for name, w := range goldens {
		t.Run(name, func(t *testing.T) {
			m, err := onnxread.Read(filepath.Join("testdata", name+".onnx"))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Import(m, w.options)
			if err != nil {
				t.Fatal(err)
			}
			got := logits(t, r, w.batch)
			if len(got) != len(want[name]) {
				t.Fatalf("%d logits, want %d", len(got), len(want[name]))
			}
			largest, off := 0.0, 0.0
			for i, v := range want[name] {
				largest, off = max(largest, math.Abs(float64(v))), max(off, math.Abs(float64(v-got[i])))
			}
			t.Logf("off by %.1e of the largest logit, %g; %q", off/largest, largest, r.Notes)
			if !(off <= 1e-5*largest) {
				t.Errorf("logits are off by %g of the largest: %v, want %v", off/largest, got, want[name])
			}
			if (r.Net.Input.Height == 0) != w.open {
				t.Errorf("the input is %+v", r.Net.Input)
			}
			if notes := strings.Join(r.Notes, "; "); !strings.Contains(notes, w.notes) {
				t.Errorf("the notes are %q, want %q in them", notes, w.notes)
			}
			if w.modules != nil && !matches(r.Net, w.modules) {
				t.Errorf("the modules are %v, want %v", modulesOf(r.Net), w.modules)
			}
		})
	}
}

func modulesOf(n *layers.Net) []string {
	var out []string
	for i := range n.Modules {
		out = append(out, n.Modules[i].Name+":"+layers.KindName(n.Modules[i].Kind))
	}
	return out
}

// matches compares modules with a list in which "…" stands for any.
func matches(n *layers.Net, want []string) bool {
	text := "\n" + strings.Join(modulesOf(n), "\n") + "\n"
	for i, part := range strings.Split("\n"+strings.Join(want, "\n")+"\n", "…") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part)-1:]
	}
	return text == "\n"
}

// TestNeedsSize: open sizes that the graph needs are asked for.
func TestNeedsSize(t *testing.T) {
	m, err := onnxread.Read("testdata/needs_size.onnx")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Import(m, Options{})
	var format *named.FormatError
	if !errors.As(err, &format) || !strings.Contains(err.Error(), "--input 3x224x224") {
		t.Errorf("error %v", err)
	}
	m2, err := onnxread.Read("testdata/tensorflow.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Import(m2, Options{Channels: 3, Height: 24, Width: 24}); err == nil || !strings.Contains(err.Error(), "have 12 pixels of width, not 24") {
		t.Errorf("error %v", err)
	}
	m3, err := onnxread.Read("testdata/plain.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Import(m3, Options{Channels: 3, Height: 24, Width: 24}); err != nil {
		t.Errorf("of a net of any size: %v", err)
	}
	if _, err = Import(m, Options{Channels: 1, Height: 12, Width: 12}); err == nil || !strings.Contains(err.Error(), "have 3 channels, not 1") {
		t.Errorf("error %v", err)
	}
}
