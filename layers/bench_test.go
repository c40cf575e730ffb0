package layers_test

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/layers"
)

// BenchmarkStep measures one training step (forward, backward, AdamW) and one
// inference of a batch of 32, per family and size of picture:
//
//	go test ./layers -run '^$' -bench Step
func BenchmarkStep(b *testing.B) {
	for _, family := range []string{"cnn-dwpw", "cnn-plain", "cnn-group", "resnet18"} {
		for _, size := range []int{28, 128} {
			for _, train := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/%d/train=%v", family, size, train), func(b *testing.B) {
					benchmarkStep(b, family, size, train)
				})
			}
		}
	}
}

func benchmarkStep(b *testing.B, family string, size int, train bool) {
	const batch, classes = 32, 11
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Close()
	m, err := layers.New(layers.Arch{Family: family, Classes: classes})
	if err != nil {
		b.Fatal(err)
	}
	store := engine.NewStore(backend)
	defer store.Close()
	if err := m.Init(store, 1); err != nil {
		b.Fatal(err)
	}
	g := engine.NewGraph()
	bd := engine.NewBuilder(g)
	x, target := bd.Input("image", engine.F32(batch, size, size, 3)), bd.Input("target", engine.F32(batch, classes))
	in := engine.Bindings{x: engine.Bytes(make([]float32, x.Len())), target: engine.Bytes(make([]float32, target.Len()))}
	logits := m.Forward(bd, x, train)
	out := logits
	if train {
		out = bd.One(engine.CrossEntropy{}, logits, target)
		adam(b, bd, m, out, in)
	}
	if err := bd.Err(); err != nil {
		b.Fatal(err)
	}
	p, err := g.Compile(backend, engine.Options{Store: store, Outputs: []*engine.Value{out}})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Run(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
	per := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(batch/per, "images/s")
	b.ReportMetric(float64(p.Plan().FLOPs)/per/1e9, "GFLOP/s")
}

// adam adds the gradient of loss and one AdamW step to the graph.
func adam(b *testing.B, bd *engine.Builder, m *layers.Model, loss *engine.Value, in engine.Bindings) {
	var params []*engine.Value
	for _, v := range m.Variables() {
		if v.Trainable {
			params = append(params, bd.Variable(v))
		}
	}
	grads, err := engine.Grad(bd.Graph(), loss, params)
	if err != nil {
		b.Fatal(err)
	}
	hyper, scale := bd.Input("hyper", engine.F32(engine.HyperLen)), bd.Input("scale", engine.F32())
	in[hyper] = engine.Bytes([]float32{1e-3, 1e-2, 0.1, 0.001, 0, 0, 0, 0})
	in[scale] = engine.Bytes([]float32{1})
	args := append(append([]*engine.Value{hyper, scale}, params...), grads...)
	for _, moment := range []string{"m", "v"} {
		for _, p := range params {
			args = append(args, bd.Variable(&engine.Variable{Name: moment + "." + p.Variable().Name, Spec: p.Spec}))
		}
	}
	bd.Apply(engine.Adam{K: len(params), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decoupled: true}, args...)
}
