package bridge

import (
	"context"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A convnet is the study's small net in Gorgonia's operators: two blocks of
// Conv2d, bias, BatchNorm, Rectify and MaxPool2D, the mean over the image, a
// linear layer and the cross-entropy.
type convnet struct {
	g            *G.ExprGraph
	x, y         *G.Node
	logits, loss *G.Node
	params       G.Nodes
}

func newConvnet(t testing.TB, n, size, k1, k2, classes int) *convnet {
	do := must(t)
	g := G.NewGraph()
	c := &convnet{g: g, x: input(g, "x", 1, n, 3, size, size)}
	param := func(name string, seed uint64, shape ...int) *G.Node {
		p := input(g, name, seed, shape...)
		c.params = append(c.params, p)
		return p
	}
	block := func(h *G.Node, name string, seed uint64, out int, stride int) *G.Node {
		h = do(G.Conv2d(h, param(name+".w", seed, out, h.Shape()[1], 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{stride, stride}, []int{1, 1}))
		h = do(G.Auto(G.BroadcastAdd, h, param(name+".b", seed+1, 1, out, 1, 1)))
		h, _, _, _, err := G.BatchNorm(h, param(name+".scale", seed+2, 1, out, 1, 1), param(name+".shift", seed+3, 1, out, 1, 1), 0.1, 1e-5)
		h = do(h, err)
		h = do(G.Rectify(h))
		return do(G.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	}
	h := block(c.x, "one", 10, k1, 1)
	h = block(h, "two", 20, k2, 2)
	s := h.Shape()
	h = do(G.Mean(do(G.Reshape(h, tensor.Shape{s[0], s[1], s[2] * s[3]})), 2))
	h = do(G.Mul(h, param("fc.w", 30, k2, classes)))
	c.logits = do(G.Auto(G.BroadcastAdd, h, param("fc.b", 31, 1, classes)))
	hot := make([]float32, n*classes)
	for i := range n {
		hot[i*classes+i*7%classes] = 1
	}
	c.y = withValues(g, "target", hot, n, classes)
	logp := do(G.LogSoftMax(c.logits))
	c.loss = do(G.Neg(do(G.Mean(do(G.Sum(do(G.HadamardProd(logp, c.y)), 1))))))
	return c
}

// wanted are the results of Gorgonia's machine.
type wanted struct {
	logits, loss []float32
	grads        [][]float32
}

func gorgoniaSays(t testing.TB, c *convnet) (w wanted) {
	if _, err := G.Grad(c.loss, c.params...); err != nil {
		t.Fatal(err)
	}
	tape(t, c.g, G.BindDualValues(c.params...))
	w.logits, w.loss = floats(t, c.logits.Value()), floats(t, c.loss.Value())
	for _, p := range c.params {
		w.grads = append(w.grads, gradOf(t, p))
	}
	return w
}

func TestConvnet(t *testing.T) {
	want := gorgoniaSays(t, newConvnet(t, 5, 16, 8, 11, 7))
	check := func(t *testing.T, c *convnet, p *Program) {
		for range 2 {
			run(t, p)
		}
		same(t, "logits", floats(t, c.logits.Value()), want.logits, tolerance)
		same(t, "loss", floats(t, c.loss.Value()), want.loss, tolerance)
		for i, n := range c.params {
			if strings.HasSuffix(n.Name(), "e.b") || strings.HasSuffix(n.Name(), "o.b") {
				continue // a bias in front of a BatchNorm: nothing but rounding, see TestBiasBeforeBatchNorm
			}
			same(t, "gradient of "+n.Name(), gradOf(t, n), want.grads[i], tolerance)
		}
	}
	backends(t, func(t *testing.T, b engine.Backend) {
		t.Run("Grad called", func(t *testing.T) {
			c := newConvnet(t, 5, 16, 8, 11, 7)
			grads, err := G.Grad(c.loss, c.params...)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Options{Backend: b}.Compile(c.g, c.logits, c.loss, grads[0])
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			check(t, c, p)
			same(t, "the gradient's node", floats(t, grads[0].Value()), want.grads[0], tolerance)
		})
		t.Run("loss given", func(t *testing.T) {
			c := newConvnet(t, 5, 16, 8, 11, 7)
			p, err := Options{Backend: b, Loss: c.loss, WithRespectTo: c.params}.Compile(c.g, c.logits, c.loss)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			check(t, c, p)
		})
	})
}

// TestBiasBeforeBatchNorm: the gradient of a bias that a BatchNorm subtracts
// again is zero; what both compute is rounding.
func TestBiasBeforeBatchNorm(t *testing.T) {
	c := newConvnet(t, 5, 16, 8, 11, 7)
	p, err := Options{Loss: c.loss, WithRespectTo: c.params}.Compile(c.g, c.loss)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	run(t, p)
	for _, x := range gradOf(t, c.params[1]) {
		if x > 1e-5 || x < -1e-5 {
			t.Errorf("gradient of the bias: %v, want 0 but for rounding", x)
		}
	}
}

// TestSolver trains with Gorgonia's own solver, once on Gorgonia's machine and
// once on the bridge: the losses and the running statistics stay together.
func TestSolver(t *testing.T) {
	const steps = 5
	losses := func(step func(c *convnet) func()) (all []float32, last *convnet) {
		c := newConvnet(t, 6, 12, 4, 6, 5)
		once := step(c)
		solver := G.NewVanillaSolver(G.WithLearnRate(0.05))
		for range steps {
			once()
			all = append(all, floats(t, c.loss.Value())...)
			if err := solver.Step(G.NodesToValueGrads(c.params)); err != nil {
				t.Fatal(err)
			}
		}
		return all, c
	}
	want, a := losses(func(c *convnet) func() {
		if _, err := G.Grad(c.loss, c.params...); err != nil {
			t.Fatal(err)
		}
		vm := G.NewTapeMachine(c.g, G.BindDualValues(c.params...))
		t.Cleanup(func() { vm.Close() })
		return func() {
			vm.Reset()
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
		}
	})
	got, b := losses(func(c *convnet) func() {
		for _, op := range norms(c.g) {
			if err := op.Reset(); err != nil { // as NewTapeMachine does
				t.Fatal(err)
			}
		}
		p, err := Options{Loss: c.loss, WithRespectTo: c.params}.Compile(c.g, c.loss)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return func() { run(t, p) }
	})
	same(t, "losses", got, want, 1e-4)
	if want[0] <= want[steps-1] {
		t.Errorf("nothing was learned: %v", want)
	}
	for i, op := range norms(a.g) {
		wm, wv := op.Stats()
		gm, gv := norms(b.g)[i].Stats()
		same(t, "running mean", floats(t, gm), floats(t, wm), 1e-4)
		same(t, "running variance", floats(t, gv), floats(t, wv), 1e-4)
	}
}

func norms(g *G.ExprGraph) (all []*G.BatchNormOp) {
	for _, n := range g.AllNodes() {
		if op, ok := n.Op().(*G.BatchNormOp); ok {
			all = append(all, op)
		}
	}
	return all
}

// TestInference: with frozen statistics a BatchNorm is folded into the
// convolution, a softmax ends the net, and weights may be changed in place.
func TestInference(t *testing.T) {
	do := must(t)
	build := func() (*G.ExprGraph, *G.Node, *G.Node, *G.BatchNormOp) {
		g := G.NewGraph()
		h := do(G.Conv2d(input(g, "x", 1, 2, 3, 9, 7), input(g, "w", 2, 6, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{2, 2}, []int{1, 1}))
		h, _, _, op, err := G.BatchNorm(h, input(g, "scale", 3, 1, 6, 1, 1), input(g, "shift", 4, 1, 6, 1, 1), 0.1, 1e-3)
		h = do(h, err)
		if err := op.SetStats(tensor.New(tensor.WithShape(6), tensor.WithBacking(noise(5, 6))),
			tensor.New(tensor.WithShape(6), tensor.WithBacking([]float32{1, 2, 3, 4, 5, 6}))); err != nil {
			t.Fatal(err)
		}
		h = do(G.Rectify(h))
		s := h.Shape()
		h = do(G.Reshape(h, tensor.Shape{s[0], s[1] * s[2] * s[3]}))
		h = do(G.Mul(h, do(G.Transpose(input(g, "fc", 6, 5, s[1]*s[2]*s[3])))))
		return g, do(G.SoftMax(h)), g.ByName("w")[0], op
	}
	g, want, _, _ := build()
	vm := G.NewTapeMachine(g, G.EvalMode())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	backends(t, func(t *testing.T, b engine.Backend) {
		g, got, w, mine := build()
		if err := mine.SetTraining(false); err != nil {
			t.Fatal(err)
		}
		p, err := Options{Backend: b}.Compile(g, got)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		run(t, p)
		same(t, "probabilities", floats(t, got.Value()), floats(t, want.Value()), tolerance)
		before := floats(t, got.Value())
		for i := range w.Value().Data().([]float32) {
			w.Value().Data().([]float32)[i] *= -2
		}
		run(t, p)
		if b.Name() != "ref" && len(p.Plan().Prepared) == 0 {
			t.Error("nothing was prepared: the weights of a frozen net can be")
		}
		changed := false
		for i, x := range floats(t, got.Value()) {
			changed = changed || x != before[i]
		}
		if !changed {
			t.Error("new weights, the same result")
		}
		if err := mine.SetTraining(true); err != nil {
			t.Fatal(err)
		}
		if err := p.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "training flag") {
			t.Errorf("SetTraining after Compile: %v", err)
		}
	})
}

// TestArithmetic compiles the element-wise operators that a net is put
// together with, and compares them and their gradient with Gorgonia's.
func TestArithmetic(t *testing.T) {
	do := must(t)
	build := func() (*G.ExprGraph, *G.Node, *G.Node, G.Nodes) {
		g := G.NewGraph()
		x, w := input(g, "x", 1, 3, 4, 5, 5), input(g, "w", 2, 4, 4, 1, 1)
		f, b := input(g, "factor", 3, 1, 4, 1, 1), input(g, "offset", 4, 1, 4, 1, 1)
		a := do(G.Conv2d(x, w, tensor.Shape{1, 1}, []int{0, 0}, []int{1, 1}, []int{1, 1}))
		h := do(G.Add(x, a))                                                  // a residual connection
		h = do(G.Auto(G.BroadcastHadamardProd, h, f))                         // a factor a channel
		h = do(G.Auto(G.BroadcastSub, h, b))                                  // an offset
		h = do(G.Sub(h, do(G.HadamardProd(a, G.NewConstant(float32(0.25)))))) // a multiple
		h = do(G.Neg(h))
		h = do(G.Add(h, G.NewConstant(float32(1.5))))
		h = do(G.Mean(do(G.Reshape(h, tensor.Shape{3, 4, 25})), 2)) // not Mean(h, 2, 3): see TestSumOfTwoAxes
		y := input(g, "target", 5, 3, 4)
		one := do(G.Sum(do(G.HadamardProd(y, do(G.LogSoftMax(h))))))
		two := do(G.Mean(do(G.HadamardProd(do(G.Neg(do(G.LogSoftMax(do(G.HadamardProd(G.NewConstant(float32(2)), h)))))), y))))
		loss := do(G.Add(do(G.HadamardProd(one, G.NewConstant(float32(-0.5)))), two))
		return g, h, loss, G.Nodes{x, w, f, b}
	}
	g, h, loss, params := build()
	var wantH G.Value // the machine computes later steps in h's own memory
	G.Read(h, &wantH)
	if _, err := G.Grad(loss, params...); err != nil {
		t.Fatal(err)
	}
	tape(t, g, G.BindDualValues(params...))
	backends(t, func(t *testing.T, b engine.Backend) {
		g2, h2, loss2, params2 := build()
		p, err := Options{Backend: b, Loss: loss2, WithRespectTo: params2}.Compile(g2, h2, loss2)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		run(t, p)
		same(t, "h", floats(t, h2.Value()), floats(t, wantH), tolerance)
		same(t, "loss", floats(t, loss2.Value()), floats(t, loss.Value()), tolerance)
		for i := range params {
			same(t, params[i].Name(), gradOf(t, params2[i]), gradOf(t, params[i]), tolerance)
		}
	})
}
