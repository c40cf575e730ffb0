package identify

import (
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// BenchmarkIdentify finds a ResNet-18: first, with the outlines of all families
// that are made once, and again.
func BenchmarkIdentify(b *testing.B) {
	m, err := layers.New(layers.Arch{Family: "resnet18", Classes: 1000})
	if err != nil {
		b.Fatal(err)
	}
	var file []named.Tensor
	for _, s := range m.Slots() {
		x := named.Tensor{Name: s.Variable.Name, Shape: s.Shape(), DType: "float32"}
		x.Float = make([]float32, x.Len())
		file = append(file, x)
	}
	for b.Loop() {
		if _, err := Identify(file); err != nil {
			b.Fatal(err)
		}
	}
}
