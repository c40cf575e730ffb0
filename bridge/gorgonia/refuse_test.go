package bridge

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// TestRefusals: what cannot be translated is refused with the node's name.
func TestRefusals(t *testing.T) {
	do := must(t)
	img := func(g *G.ExprGraph) *G.Node { return input(g, "x", 1, 2, 3, 8, 8) }
	for name, c := range map[string]struct {
		build func(g *G.ExprGraph) *G.Node
		want  []string
	}{
		"exp": {func(g *G.ExprGraph) *G.Node { return do(G.Exp(img(g))) }, []string{"exp", "no such operator"}},
		"average pool": {func(g *G.ExprGraph) *G.Node {
			return do(G.AveragePool2D(img(g), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
		}, []string{"AvgPool", "input's width"}},
		"product": {func(g *G.ExprGraph) *G.Node {
			return do(G.HadamardProd(img(g), input(g, "z", 2, 2, 3, 8, 8)))
		}, []string{"multiplies by constants"}},
		"softmax inside": {func(g *G.ExprGraph) *G.Node {
			return do(G.Neg(do(G.SoftMax(input(g, "x", 1, 2, 5)))))
		}, []string{"softmax", "only as an output"}},
		"softmax axis": {func(g *G.ExprGraph) *G.Node { return do(G.SoftMax(input(g, "x", 1, 2, 5), 0)) }, []string{"rows of a matrix"}},
		"dropout":      {func(g *G.ExprGraph) *G.Node { return do(G.Dropout(img(g), 0.5)) }, []string{"random numbers"}},
		"batch norm of rows": {func(g *G.ExprGraph) *G.Node {
			y, _, _, _, err := G.BatchNorm(input(g, "x", 1, 4, 5), input(g, "a", 2, 1, 5), input(g, "b", 3, 1, 5), 0.1, 1e-5)
			return do(y, err)
		}, []string{"images [N,C,H,W] only"}},
		"batch norm with scales of its own": {func(g *G.ExprGraph) *G.Node {
			y, _, _, _, err := G.BatchNorm(img(g), nil, nil, 0.1, 1e-5)
			return do(y, err)
		}, []string{"multiplies by constants"}},
		"computed filter": {func(g *G.ExprGraph) *G.Node {
			w := do(G.Neg(input(g, "w", 2, 4, 3, 3, 3)))
			return do(G.Conv2d(img(g), w, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		}, []string{"neg", "must be an input"}},
		"reshape": {func(g *G.ExprGraph) *G.Node { return do(G.Reshape(img(g), tensor.Shape{6, 64})) }, []string{"from (2, 3, 8, 8) to (6, 64)"}},
		"float64": {func(g *G.ExprGraph) *G.Node {
			return do(G.Neg(G.NewMatrix(g, tensor.Float64, G.WithShape(2, 3), G.WithName("x"))))
		}, []string{"float64", "float32 only"}},
		"vector product": {func(g *G.ExprGraph) *G.Node {
			return do(G.Mul(input(g, "x", 1, 4, 5), input(g, "v", 2, 5)))
		}, []string{"matrices"}},
		"sum": {func(g *G.ExprGraph) *G.Node { return do(G.Sum(img(g), 1)) }, []string{"height and width"}},
		"statement": {func(g *G.ExprGraph) *G.Node {
			var v G.Value
			return G.Read(do(G.Neg(img(g))), &v)
		}, []string{"gorgonia.Read"}},
		"two layouts": {func(g *G.ExprGraph) *G.Node {
			x := input(g, "x", 1, 3, 3, 3, 3)
			return do(G.Conv2d(x, x, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		}, []string{`"x"`, "an image", "filter of a convolution"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := G.NewGraph()
			_, err := Compile(g, c.build(g))
			var u *UnsupportedError
			if !errors.As(err, &u) || !errors.Is(err, engine.ErrUnsupported) {
				t.Fatalf("error %v, want an UnsupportedError", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not tell %q", err, w)
				}
			}
		})
	}
}

// TestRunErrors: what is wrong with the values is said with the input's name.
func TestRunErrors(t *testing.T) {
	do := must(t)
	g := G.NewGraph()
	x := G.NewMatrix(g, tensor.Float32, G.WithShape(2, 3), G.WithName("x"))
	p, err := Compile(g, do(G.Rectify(x)))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), "no value") {
		t.Errorf("no value: %v", err)
	}
	v := tensor.New(tensor.WithShape(3, 2), tensor.WithBacking(noise(1, 6)))
	if err := v.T(); err != nil {
		t.Fatal(err)
	}
	if err := G.Let(x, v); err != nil {
		t.Fatal(err)
	}
	if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "Materialize") {
		t.Errorf("a transposed view: %v", err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// collide returns two names whose inputs have one hash, by trying names.
func collide(t *testing.T, of *G.Node) (a, b string) {
	seen := make(map[uint32]string)
	for i := range 1 << 20 {
		name := fmt.Sprintf("input-%x", uint64(i)*0x9E3779B97F4A7C15)
		h := fnv.New32a()
		fmt.Fprintf(h, "%v%v%s%c", of.Type(), of.Shape(), name, 0)
		if old, ok := seen[h.Sum32()]; ok {
			return old, name
		}
		seen[h.Sum32()] = name
	}
	t.Fatal("no two of 2^20 names collide")
	return "", ""
}

// TestMergedNodes: each of these graphs has lost a node, silently; the first
// check of a case shows that Gorgonia has merged them.
func TestMergedNodes(t *testing.T) {
	do := must(t)
	for name, c := range map[string]struct {
		build func(g *G.ExprGraph) (a, b *G.Node, outputs G.Nodes)
		want  string
	}{
		"two inputs without a name": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			a, b = input(g, "", 1, 2, 3), input(g, "", 2, 2, 3)
			return a, b, G.Nodes{do(G.Sub(a, b))}
		}, "2 inputs of this name"},
		"the hashes of two inputs": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			n1, n2 := collide(t, input(G.NewGraph(), "x", 1, 2, 3))
			x1, x2 := input(g, n1, 1, 2, 3), input(g, n2, 2, 2, 3)
			if x1 == x2 {
				t.Fatal("the inputs themselves are one")
			}
			a, b = do(G.Neg(x1)), do(G.Neg(x2))
			return a, b, G.Nodes{do(G.Add(a, x2))}
		}, "it has the hash"},
		"softmax and its logarithm": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			x := input(g, "x", 1, 2, 3)
			a, b = do(G.SoftMax(x)), do(G.LogSoftMax(x))
			return a, b, G.Nodes{a}
		}, "asked for 2 times"},
		"two outputs": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			x := input(g, "x", 1, 2, 3)
			a, b = do(G.SoftMax(x)), do(G.LogSoftMax(x))
			return a, b, G.Nodes{a, b}
		}, "two outputs are this one node"},
		"dilations": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			x, w := input(g, "x", 1, 1, 1, 5, 5), input(g, "w", 2, 1, 1, 2, 2)
			conv := func(d int) *G.Node {
				return do(G.Conv2d(x, w, tensor.Shape{2, 2}, []int{0, 0}, []int{4, 4}, []int{d, d}))
			}
			a, b = conv(1), conv(2)
			return a, b, G.Nodes{do(G.Neg(a))}
		}, "im2col"},
		"epsilons": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			x := input(g, "x", 1, 2, 3, 4, 4)
			s, h := input(g, "scale", 2, 1, 3, 1, 1), input(g, "shift", 3, 1, 3, 1, 1)
			a, _, _, _, err := G.BatchNorm(x, s, h, 0.1, 1e-5)
			a = do(a, err)
			b, _, _, _, err = G.BatchNorm(x, s, h, 0.1, 1e-2)
			return a, do(b, err), G.Nodes{a}
		}, "batchnorm"},
		"named constants": {func(g *G.ExprGraph) (a, b *G.Node, o G.Nodes) {
			x := input(g, "x", 1, 2, 3)
			k := func(v float32) *G.Node { return do(G.HadamardProd(x, G.NewConstant(v, G.WithName("factor")))) }
			a, b = k(2), k(3)
			return a, b, G.Nodes{do(G.Neg(a))}
		}, "tells constants apart by name"},
	} {
		t.Run(name, func(t *testing.T) {
			g := G.NewGraph()
			a, b, outputs := c.build(g)
			if a != b {
				t.Fatalf("Gorgonia keeps %v and %v apart now: this case is no longer needed", a, b)
			}
			_, err := Compile(g, outputs...)
			var id *IdentityError
			if !errors.As(err, &id) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want an IdentityError with %q", err, c.want)
			}
		})
	}
	t.Run("an input without a use", func(t *testing.T) {
		g := G.NewGraph()
		y := do(G.Neg(input(g, "x", 1, 2, 3)))
		input(g, "lost", 2, 2, 3)
		if _, err := Compile(g, y); err == nil || !strings.Contains(err.Error(), `"lost"`) {
			t.Errorf("error %v", err)
		}
		if err := Verify(g, true); err != nil {
			t.Errorf("with unused: %v", err)
		}
	})
	t.Run("parallel convolutions", func(t *testing.T) {
		g := G.NewGraph()
		x := input(g, "x", 1, 2, 3, 8, 8)
		conv := func(name string, seed uint64) *G.Node {
			return do(G.Conv2d(x, input(g, name, seed, 4, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{2, 2}, []int{1, 1}))
		}
		p, err := Compile(g, do(G.Add(conv("a", 2), conv("b", 3))))
		if err != nil {
			t.Fatalf("two filters on one im2col, which no other dilation can be: %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}
