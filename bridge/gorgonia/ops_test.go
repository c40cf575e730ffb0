package bridge

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// mobile is a depthwise-separable block of this package's operators between
// Gorgonia's.
func mobile(t testing.TB, k *Kernels, g *G.ExprGraph, training bool) (*G.Node, G.Nodes, *BatchNorm2dOp) {
	do := must(t)
	params := G.Nodes{input(g, "x", 1, 3, 4, 7, 6), input(g, "dw", 2, 4, 1, 3, 3), input(g, "scale", 3, 4), input(g, "shift", 4, 4), input(g, "pw", 5, 6, 2, 1, 1)}
	h := do(k.DepthwiseConv2d(params[0], params[1], Conv{Stride: 2, Pad: 1}))
	h, op, err := k.BatchNorm2d(h, params[2], params[3], 0.2, 1e-3)
	h = do(h, err)
	if err := op.SetTraining(training); err != nil {
		t.Fatal(err)
	}
	h = do(k.ReLU6(do(G.HadamardProd(h, G.NewConstant(float32(4))))))
	return do(k.Conv2d(h, params[4], Conv{Groups: 2})), params, op
}

// TestOperators runs the operators on Gorgonia's machine with the kernels of
// the CPU and holds values, gradients and statistics to the same graph compiled
// for ref: so both ways through the package are tested at once.
func TestOperators(t *testing.T) {
	for _, training := range []bool{true, false} {
		t.Run(fmt.Sprint("training ", training), func(t *testing.T) {
			k, err := NewKernels(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			mean, variance := tensor.New(tensor.WithShape(4), tensor.WithBacking(noise(7, 4))), tensor.New(tensor.WithShape(4), tensor.WithBacking([]float32{1, 2, 0.5, 3}))

			g := G.NewGraph()
			got, params, op := mobile(t, k, g, training)
			if err := op.SetStats(mean, variance); err != nil {
				t.Fatal(err)
			}
			if _, err := G.Grad(head(t, g, got), params...); err != nil {
				t.Fatal(err)
			}
			opts := []G.VMOpt{G.BindDualValues(params...)}
			if !training {
				opts = append(opts, G.EvalMode())
			}
			vm := G.NewTapeMachine(g, opts...)
			defer vm.Close()

			r := ref.New()
			defer r.Close()
			g2 := G.NewGraph()
			want, wantParams, wantOp := mobile(t, k, g2, training)
			if err := wantOp.SetStats(mean, variance); err != nil {
				t.Fatal(err)
			}
			p, err := Options{Backend: r, Loss: head(t, g2, want), WithRespectTo: wantParams}.Compile(g2, want)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for range 3 {
				vm.Reset()
				for _, n := range params { // the machine adds to the gradients that are there
					if v, err := n.Grad(); err == nil && v != nil {
						v.(*tensor.Dense).Zero()
					}
				}
				if err := vm.RunAll(); err != nil {
					t.Fatal(err)
				}
				run(t, p)
			}
			same(t, "value", floats(t, got.Value()), floats(t, want.Value()), tolerance)
			for i, n := range params {
				same(t, "gradient of "+n.Name(), gradOf(t, n), gradOf(t, wantParams[i]), tolerance)
			}
			gm, gv := op.Stats()
			wm, wv := wantOp.Stats()
			same(t, "running mean", floats(t, gm), floats(t, wm), tolerance)
			same(t, "running variance", floats(t, gv), floats(t, wv), tolerance)
		})
	}
}

// TestConv2dBesideGorgonia: with one group the operator is Gorgonia's Conv2d.
func TestConv2dBesideGorgonia(t *testing.T) {
	k, err := NewKernels(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	build := func(ours bool) (*G.Node, G.Nodes) {
		g := G.NewGraph()
		x, w := input(g, "x", 1, 2, 3, 9, 8), input(g, "w", 2, 5, 3, 3, 3)
		var y *G.Node
		if ours {
			y = must(t)(k.Conv2d(x, w, Conv{Stride: 2, Pad: 2, Dilation: 2}))
		} else {
			y = must(t)(G.Conv2d(x, w, tensor.Shape{3, 3}, []int{2, 2}, []int{2, 2}, []int{2, 2}))
		}
		params := G.Nodes{x, w}
		if _, err := G.Grad(head(t, g, y), params...); err != nil {
			t.Fatal(err)
		}
		tape(t, g, G.BindDualValues(params...))
		return y, params
	}
	got, params := build(true)
	want, wantParams := build(false)
	same(t, "value", floats(t, got.Value()), floats(t, want.Value()), tolerance)
	for i := range params {
		same(t, "gradient of "+params[i].Name(), gradOf(t, params[i]), gradOf(t, wantParams[i]), tolerance)
	}
}

// TestOperatorIdentity: no two operators are one, whatever their settings.
func TestOperatorIdentity(t *testing.T) {
	k, err := NewKernels(ref.New())
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	g := G.NewGraph()
	x, w := input(g, "x", 1, 1, 2, 5, 5), input(g, "w", 2, 2, 2, 3, 3)
	do := must(t)
	nodes := make(map[*G.Node]bool)
	codes := make(map[uint32]bool)
	names := make(map[string]bool)
	var all G.Nodes
	for i := range 6 {
		y := do(k.Conv2d(x, w, Conv{Pad: 1}))
		if i%2 == 1 {
			y = do(k.ReLU6(x))
		}
		all = append(all, y)
		nodes[y], codes[y.Op().Hashcode()], names[y.Op().String()] = true, true, true
	}
	if len(nodes) != 6 || len(codes) != 6 || len(names) != 6 {
		t.Errorf("of 6 operators: %d nodes, %d hash codes, %d names", len(nodes), len(codes), len(names))
	}
	if err := Verify(g, false); err != nil {
		t.Errorf("Verify: %v", err)
	}
	p, err := Options{Backend: k.backend}.Compile(g, all...)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	run(t, p)
	same(t, "the same convolution twice", floats(t, all[0].Value()), floats(t, all[2].Value()), 0)
}

// TestOperatorErrors: what does not fit is an error when the graph is built.
func TestOperatorErrors(t *testing.T) {
	k, err := NewKernels(nil)
	if err != nil {
		t.Fatal(err)
	}
	g := G.NewGraph()
	x := input(g, "x", 1, 1, 4, 5, 5)
	if _, err := k.Conv2d(x, input(g, "w", 2, 4, 4, 3, 3), Conv{Groups: 3}); err == nil {
		t.Error("3 groups of 4 channels")
	}
	if _, err := k.Conv2d(x, input(g, "m", 2, 4, 4), Conv{}); err == nil {
		t.Error("a matrix as filter")
	}
	if _, _, err := k.BatchNorm2d(x, input(g, "a", 2, 4), input(g, "b", 2, 5), 0.1, 1e-5); err == nil {
		t.Error("5 shifts for 4 channels")
	}
	if _, err := k.ReLU6(G.NewMatrix(g, tensor.Float64, G.WithShape(2, 2), G.WithName("d"))); err == nil {
		t.Error("float64")
	}
	y := must(t)(k.ReLU6(x))
	for range 2 {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := y.Op().Do(x.Value()); err == nil {
		t.Error("a run after Close")
	}
	if _, op, err := k.BatchNorm2d(x, input(g, "c", 2, 4), input(g, "e", 2, 4), 0.1, 1e-5); err == nil {
		t.Errorf("%v after Close", op)
	}
}

// TestRef: the engine's definition of a grouped convolution is what the
// operator computes, element by element, within ref's own bound.
func TestRef(t *testing.T) {
	k, err := NewKernels(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	g := G.NewGraph()
	x, w := input(g, "x", 1, 2, 6, 5, 4), input(g, "w", 2, 9, 2, 3, 3)
	y := must(t)(k.Conv2d(x, w, Conv{Pad: 1, Groups: 3}))
	v, err := y.Op().Do(x.Value(), w.Value())
	if err != nil {
		t.Fatal(err)
	}
	array := func(n *G.Node, l layout) ref.Array {
		data := floats(t, n.Value())
		out := make([]float32, len(data))
		l.toEngine(out, data, n.Shape())
		return ref.Decode(l.spec(n.Shape()), engine.Bytes(out))
	}
	want, err := ref.Eval(engine.Conv2D{Pad: engine.Around(1), Groups: 3}, []ref.Array{array(x, image), array(w, filter)})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, want[0].Len())
	image.toEngine(got, floats(t, v), y.Shape())
	for i := range got {
		if d := float64(got[i]) - want[0].V[i]; d > want[0].Bound(i, 4) || -d > want[0].Bound(i, 4) {
			t.Fatalf("element %d: %v, want %v within %v", i, got[i], want[0].V[i], want[0].Bound(i, 4))
		}
	}
}
