package engine_test

import (
	"context"
	"fmt"
	"log"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A linear layer, its loss and the gradient, planned once and run.
func Example() {
	backend := ref.New() // cpu.New(cpu.Options{}) for speed
	defer backend.Close()
	store := engine.NewStore(backend)
	defer store.Close()

	weight := &engine.Variable{Name: "weight", Spec: engine.F32(2, 2), Trainable: true}
	if err := store.Set(weight, engine.Bytes([]float32{1, 0, 0, 1})); err != nil {
		log.Fatal(err)
	}

	g := engine.NewGraph()
	b := engine.NewBuilder(g)
	x, target := b.Input("x", engine.F32(1, 2)), b.Input("target", engine.F32(1, 2))
	w := b.Variable(weight)
	loss := b.One(engine.CrossEntropy{}, b.One(engine.Linear{}, x, w), target)
	grads, err := engine.Grad(g, loss, []*engine.Value{w})
	if err != nil {
		log.Fatal(err)
	}

	p, err := g.Compile(backend, engine.Options{Store: store, Outputs: []*engine.Value{loss, grads[0]}})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	in := engine.Bindings{x: engine.Bytes([]float32{1, 1}), target: engine.Bytes([]float32{1, 0})}
	if err := p.Run(context.Background(), in); err != nil {
		log.Fatal(err)
	}
	dw := make([]float32, 4)
	if err := p.Read(grads[0], engine.Bytes(dw)); err != nil {
		log.Fatal(err)
	}
	fmt.Println(dw)
	// Output: [-0.5 0.5 -0.5 0.5]
}
