package bridge

import (
	"strings"
	"testing"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// TestDerivativeBetween asks for the derivative of a node between the inputs
// and the loss.
func TestDerivativeBetween(t *testing.T) {
	do := must(t)
	build := func() (g *G.ExprGraph, act *G.Node) {
		g = G.NewGraph()
		x := input(g, "x", 1, 2, 3, 6, 6)
		conv := do(G.Conv2d(x, input(g, "w", 2, 4, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		act = do(G.Rectify(do(G.Auto(G.BroadcastAdd, conv, input(g, "b", 3, 1, 4, 1, 1)))))
		loss := head(t, g, do(G.MaxPool2D(act, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2})))
		if _, err := G.Grad(loss, x); err != nil {
			t.Fatal(err)
		}
		return g, act
	}
	g, act := build()
	var want G.Value
	G.Read(act.Deriv(), &want)
	tape(t, g)
	wanted := floats(t, want)

	g, act = build()
	p, err := Compile(g, act.Deriv())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	run(t, p)
	same(t, "derivative of the activation", floats(t, act.Deriv().Value()), wanted, tolerance)

	for _, n := range g.AllNodes() {
		if kind(n) != "im2colOp" {
			continue
		}
		if _, err := Compile(g, n.Deriv()); err == nil || !strings.Contains(err.Error(), "inside one operator") {
			t.Errorf("the derivative of the im2col: %v", err)
		}
	}
}
