package bridge_test

import (
	"context"
	"fmt"
	"log"

	bridge "github.com/potstill/potstill/bridge/gorgonia"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A linear classifier in Gorgonia, compiled and stepped by Gorgonia's solver.
func ExampleCompile() {
	g := G.NewGraph()
	input := func(name string, data []float32, shape ...int) *G.Node {
		v := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
		return G.NewMatrix(g, tensor.Float32, G.WithShape(shape...), G.WithName(name), G.WithValue(v))
	}
	x := input("x", []float32{1, 1}, 1, 2)
	w := input("w", []float32{1, 0, 0, 1}, 2, 2)
	target := input("target", []float32{1, 0}, 1, 2)
	logp := G.Must(G.LogSoftMax(G.Must(G.Mul(x, w))))
	loss := G.Must(G.Neg(G.Must(G.Sum(G.Must(G.HadamardProd(logp, target))))))
	if _, err := G.Grad(loss, w); err != nil {
		log.Fatal(err)
	}
	p, err := bridge.Compile(g, loss)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	solver := G.NewVanillaSolver(G.WithLearnRate(1))
	for range 3 {
		if err := p.Run(context.Background()); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.4f\n", loss.Value().Data())
		if err := solver.Step(G.NodesToValueGrads(G.Nodes{w})); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// 0.6931
	// 0.1269
	// 0.0807
}
