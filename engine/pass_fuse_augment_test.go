package engine_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/wire"
)

// TestFuseAugmentCast: images that are read in bfloat16 alone are written so; the
// numbers are the same. Where something else reads them they stay as they are.
func TestFuseAugmentCast(t *testing.T) {
	for _, also := range []bool{false, true} {
		var results [2][]byte
		for i, opts := range [][]ref.Option{nil, {ref.WithoutFusion()}} {
			n := newNet(t, opts...)
			images := n.b.Input("images", engine.Spec{Shape: []int{2, 5, 4, 3}, DType: engine.Uint8})
			index := n.b.Input("index", engine.Spec{Shape: []int{3}, DType: engine.Uint32})
			params := n.b.Input("params", engine.Spec{Shape: []int{3, wire.AugmentParams}, DType: engine.Uint32})
			table := n.b.Input("table", engine.AugmentTable)
			x := n.b.One(engine.Augment{Height: 4, Width: 4}, images, index, params, table)
			y := n.b.One(engine.Cast{To: engine.BFloat16}, x)
			outputs, want := []*engine.Value{y}, []string{"Augment", "Cast"}
			if also {
				outputs = append(outputs, n.b.One(engine.Activation{F: engine.ReLU}, x))
				want = append(want, "Activation")
			} else if i == 0 {
				want = want[:1]
			}
			p := n.compile(outputs...)
			if got := ops(p); !slices.Equal(got, want) {
				t.Errorf("another reader %v, fusion %v: plan is %v, want %v", also, i == 0, got, want)
			}
			pixels, rows, values := make([]byte, images.Len()), make([]uint32, params.Len()), make([]float32, table.Len())
			for k := range pixels {
				pixels[k] = byte(37 * k)
			}
			for k := range values {
				values[k] = float32(k) / 7
			}
			for b := range 3 {
				row := rows[b*wire.AugmentParams:]
				row[wire.AugmentAX], row[wire.AugmentBY] = 1<<16, 1<<16
				row[wire.AugmentX0], row[wire.AugmentY0] = 1<<15, 1<<15
			}
			n.run(p, engine.Bindings{images: pixels, index: engine.Bytes([]uint32{0, 1, 0}), params: engine.Bytes(rows), table: engine.Bytes(values)})
			results[i] = make([]byte, y.Bytes())
			if err := p.Read(y, results[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(results[0], results[1]) {
			t.Errorf("another reader %v: fused and unfused images differ", also)
		}
	}
}
