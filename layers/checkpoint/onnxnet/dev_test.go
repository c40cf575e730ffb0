package onnxnet

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

func TestDev(t *testing.T) {
	dir := os.Getenv("ONNX_DEV")
	if dir == "" {
		t.Skip()
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			b, _ := os.ReadFile(f)
			var c struct {
				Shape  []int
				Images []float32
				Logits []float32
			}
			if err := json.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
			m, err := onnxread.Read(strings.TrimSuffix(f, ".json") + ".onnx")
			if err != nil {
				t.Fatal(err)
			}
			r, err := Import(m, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if os.Getenv("ONNX_VERBOSE") != "" {
				for _, m := range r.Net.Modules {
					s, _ := json.Marshal(m.Kind)
					fmt.Printf("  %s %T %s %v\n", m.Name, m.Kind, s, m.In)
				}
			}
			be, err := cpu.New(cpu.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer be.Close()
			model, err := r.Net.Model()
			if err != nil {
				t.Fatal(err)
			}
			st := engine.NewStore(be)
			defer st.Close()
			if err := model.Load(st, r.State); err != nil {
				t.Fatal(err)
			}
			bl := engine.NewBuilder(engine.NewGraph())
			n, ch, h, w := c.Shape[0], c.Shape[1], c.Shape[2], c.Shape[3]
			x := bl.Input("x", engine.F32(n, h, w, ch))
			y := model.Forward(bl, x, false)
			if bl.Err() != nil {
				t.Fatal(bl.Err())
			}
			p, err := bl.Graph().Compile(be, engine.Options{Store: st, Outputs: []*engine.Value{y}})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			img := make([]float32, len(c.Images))
			for i := range img {
				b, cc, rest := i/(ch*h*w), i/(h*w)%ch, i%(h*w)
				img[(b*h*w+rest)*ch+cc] = c.Images[i]
			}
			if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(img)}); err != nil {
				t.Fatal(err)
			}
			out := make([]float32, y.Len())
			if err := p.Read(y, engine.Bytes(out)); err != nil {
				t.Fatal(err)
			}
			var worst, largest float64
			for i := range c.Logits {
				largest = max(largest, math.Abs(float64(c.Logits[i])))
				worst = max(worst, math.Abs(float64(c.Logits[i]-out[i])))
			}
			t.Logf("input %v, %d modules, error %.2g of %.3g; %q", r.Net.Input, len(r.Net.Modules), worst/largest, largest, r.Notes)
			if !(worst <= 1e-4*largest) || len(out) != len(c.Logits) {
				t.Errorf("error %g of %g", worst, largest)
			}
		})
	}
}
