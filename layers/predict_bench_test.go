package layers_test

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
)

// BenchmarkPredict measures the latency of pictures of 256 pixels:
//
//	go test ./layers -run '^$' -bench Predict -benchtime 200x -count 20
func BenchmarkPredict(b *testing.B) {
	for _, family := range []string{"cnn-dwpw", "cnn-group"} {
		for _, batch := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", family, batch), func(b *testing.B) { benchmarkPredict(b, family, batch) })
		}
	}
}

func benchmarkPredict(b *testing.B, family string, batch int) {
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	m, err := layers.New(layers.Arch{Family: family, Classes: 11})
	if err != nil {
		b.Fatal(err)
	}
	store := engine.NewStore(backend)
	defer store.Close()
	if err := m.Init(store, 1); err != nil {
		b.Fatal(err)
	}
	bd := engine.NewBuilder(engine.NewGraph())
	x := bd.Input("image", engine.F32(batch, 256, 256, 3))
	logits := m.Forward(bd, x, false)
	if err := bd.Err(); err != nil {
		b.Fatal(err)
	}
	p, err := bd.Graph().Compile(backend, engine.Options{Store: store, Outputs: []*engine.Value{logits}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	pixels := make([]float32, x.Len())
	for i := range pixels {
		pixels[i] = float32(i*7919%256) / 255
	}
	in := engine.Bindings{x: engine.Bytes(pixels)}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Run(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
