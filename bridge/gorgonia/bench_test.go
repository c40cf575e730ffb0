package bridge

import (
	"context"
	"testing"

	"github.com/potstill/potstill/engine/cpu"
	G "gorgonia.org/gorgonia"
)

// The benchmarks time a training step (forward and backward, no solver) of the
// net of TestConvnet at the study's sizes, 64 images of 28x28 and of 64x64, on
// Gorgonia's tape machine, on its own and with its BLAS as it comes, and
// compiled by the bridge, on one thread and on all.
//
//	go test -run '^$' -bench Step
func BenchmarkStep(b *testing.B) {
	for _, s := range []struct {
		name string
		size int
	}{{"28x28", 28}, {"64x64", 64}} {
		build := func() *convnet { return newConvnet(b, 64, s.size, 16, 32, 10) }
		b.Run(s.name+"/gorgonia", func(b *testing.B) {
			c := build()
			if _, err := G.Grad(c.loss, c.params...); err != nil {
				b.Fatal(err)
			}
			vm := G.NewTapeMachine(c.g, G.BindDualValues(c.params...))
			defer vm.Close()
			step := func() {
				vm.Reset()
				if err := vm.RunAll(); err != nil {
					b.Fatal(err)
				}
			}
			step()
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
		for _, threads := range []int{1, 0} {
			name := s.name + "/bridge"
			if threads == 1 {
				name += "-one-thread"
			}
			b.Run(name, func(b *testing.B) {
				backend, err := cpu.New(cpu.Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				defer backend.Close()
				c := build()
				p, err := Options{Backend: backend, Loss: c.loss, WithRespectTo: c.params}.Compile(c.g, c.loss)
				if err != nil {
					b.Fatal(err)
				}
				defer p.Close()
				step := func() {
					if err := p.Run(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
				step()
				b.ReportAllocs()
				for b.Loop() {
					step()
				}
			})
		}
	}
}
