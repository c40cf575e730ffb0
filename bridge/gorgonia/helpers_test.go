package bridge

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/ref"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// tolerance is how far a result may be from Gorgonia's or ref's, as a part of
// the tensor's largest magnitude: both sides add in float32, in other orders,
// over at most a few thousand terms.
const tolerance = 2e-5

// noise returns n numbers in [-1, 1).
func noise(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	out := make([]float32, n)
	for i := range out {
		out[i] = 2*r.Float32() - 1
	}
	return out
}

// input declares an input with random values.
func input(g *G.ExprGraph, name string, seed uint64, shape ...int) *G.Node {
	s := tensor.Shape(shape)
	return withValues(g, name, noise(seed, s.TotalSize()), shape...)
}

func withValues(g *G.ExprGraph, name string, data []float32, shape ...int) *G.Node {
	v := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithShape(shape...), G.WithName(name), G.WithValue(v))
}

// must unwraps what a function of Gorgonia's returns.
func must(t testing.TB) func(n *G.Node, err error) *G.Node {
	return func(n *G.Node, err error) *G.Node {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
}

// floats returns a copy of a value's elements.
func floats(t testing.TB, v G.Value) []float32 {
	t.Helper()
	switch d := v.(type) {
	case *G.F32:
		return []float32{float32(*d)}
	case *tensor.Dense:
		if d.RequiresIterator() {
			d = d.Materialize().(*tensor.Dense)
		}
		if f, ok := d.Data().(float32); ok {
			return []float32{f}
		}
		return append([]float32(nil), d.Data().([]float32)...)
	}
	t.Fatalf("a value of type %T", v)
	return nil
}

// same compares two tensors.
func same(t testing.TB, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(float64(w)))
	}
	worst, at := 0.0, 0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		if d > worst {
			worst, at = d, i
		}
	}
	if worst > tol*largest {
		t.Errorf("%s: element %d is %v, want %v: off by %.2g of the largest, %v", what, at, got[at], want[at], worst/largest, largest)
	}
}

// tape runs a graph once on Gorgonia's machine.
func tape(t testing.TB, g *G.ExprGraph, opts ...G.VMOpt) {
	t.Helper()
	vm := G.NewTapeMachine(g, opts...)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
}

// run runs a program once.
func run(t testing.TB, p *Program) {
	t.Helper()
	if err := p.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// gradOf returns the gradient bound to an input.
func gradOf(t testing.TB, n *G.Node) []float32 {
	t.Helper()
	v, err := n.Grad()
	if err != nil {
		t.Fatal(err)
	}
	return floats(t, v)
}

// backends calls f with the plain reference and the CPU's kernels.
func backends(t *testing.T, f func(t *testing.T, b engine.Backend)) {
	t.Run("ref", func(t *testing.T) {
		b := ref.New()
		defer b.Close()
		f(t, b)
	})
	t.Run("cpu", func(t *testing.T) {
		b, err := cpu.New(cpu.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		f(t, b)
	})
}
