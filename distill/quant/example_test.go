package quant_test

import (
	"fmt"
	"log"

	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A student is brought to 8 bits; checkpoint.Save then stores a quarter of its
// bytes.
func ExampleQuantize() {
	model, err := layers.New(layers.Arch{Family: "cnn-dwpw", Classes: 11})
	if err != nil {
		log.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := model.Init(store, 1); err != nil {
		log.Fatal(err)
	}
	state, err := model.State(store)
	if err != nil {
		log.Fatal(err)
	}
	c := &checkpoint.Checkpoint{Net: model.Net(), State: state}
	small, report, err := quant.Quantize(c, checkpoint.Affine8)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(small.Scheme(), report.BytesBefore, report.BytesAfter)
	fc := report.Tensors[len(report.Tensors)-2]
	fmt.Println(fc.Name, fc.Shape, fc.Bytes, fc.MaxError <= float64(fc.Max-fc.Min)/509)
	// Output:
	// affine8 904308 226707
	// fc.0.weight [11 256] 2824 true
}
