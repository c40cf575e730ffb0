package engine_test

import (
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// int8Net is two pointwise convolutions: one behind a ReLU6 and before a pool,
// and one behind that, which nothing bounds.
func int8Net(n *net, channels int) (x, y *engine.Value) {
	x = n.b.Input("x", engine.F32(1, 4, 4, 3))
	weights := func(k int) []float32 {
		w := make([]float32, k)
		for i := range w {
			w[i] = float32(math.Sin(float64(7*i + k)))
		}
		return w
	}
	w0 := n.shaped("w0", []int{1, 1, 3, channels}, weights(3*channels)...)
	w1 := n.shaped("w1", []int{1, 1, channels, 17}, weights(channels*17)...)
	w2 := n.shaped("w2", []int{1, 1, 17, 5}, weights(17*5)...)
	bias := n.variable("bias", weights(17)...)
	a := n.b.One(engine.Activation{F: engine.ReLU6}, n.b.One(engine.Conv2D{}, x, w0))
	y = n.b.One(engine.MaxPool2D{Window: engine.Window{Kernel: 2}}, n.b.One(engine.Conv2D{}, a, w1, bias))
	return x, n.b.One(engine.Conv2D{}, y, w2)
}

func (n *net) compileInt8(how engine.Int8, noFuse bool, out ...*engine.Value) *engine.Program {
	n.t.Helper()
	p, err := n.g.Compile(n.store.Backend(), engine.Options{Store: n.store, Outputs: out, Int8: how, NoFuse: noFuse})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { p.Close() })
	return p
}

// TestInt8: the convolution that a ReLU6 bounds, and no other, computes in
// integers with the pool behind it, on weights that are quantised once; what it
// computes is off by half a step of x at most.
func TestInt8(t *testing.T) {
	n := newNet(t)
	x, y := int8Net(n, 16)
	image := make([]float32, x.Len())
	for i := range image {
		image[i] = float32(i%7) - 1
	}
	in := engine.Bindings{x: engine.Bytes(image)}
	plain := n.compile(y)
	n.run(plain, in)
	want := n.read(plain, y)
	for _, how := range []engine.Int8{engine.Int8PerTensor, engine.Int8PerChannel} {
		p := n.compileInt8(how, false, y)
		if got := ops(p); !slices.Equal(got, []string{"Conv2D", "PointwiseInt8", "Conv2D"}) {
			t.Errorf("steps %v", got)
		}
		if s := p.Plan().Steps[1]; !slices.Equal(s.Fused, []string{"Conv2D", "MaxPool2D"}) {
			t.Errorf("fused from %v", s.Fused)
		}
		if len(p.Plan().Prepared) != 1 || p.Plan().Prepared[0].Op != "QuantizeWeight" {
			t.Errorf("prepared %v", p.Plan().Prepared)
		}
		n.run(p, in)
		far, same := 0.0, true
		for i, v := range n.read(p, y) {
			far, same = max(far, math.Abs(float64(v-want[i]))), same && v == want[i]
		}
		// Σ|w2| ≤ 17, Σ|w1| ≤ 16; x is off by 6/510, w1 by 2/510.
		if far > 17*16*(6.0/510+6*2.0/510) || same {
			t.Errorf("way %d: off by %g", how, far)
		}
	}
}

// TestInt8LeavesAlone: a bound that is not ReLU6's, too few channels, a wish for
// plain operators, a backend without integers, an output in between.
func TestInt8LeavesAlone(t *testing.T) {
	has := func(p *engine.Program) bool { return slices.Contains(ops(p), "PointwiseInt8") }
	n := newNet(t)
	_, y := int8Net(n, 16)
	if has(n.compileInt8(engine.NoInt8, false, y)) || has(n.compileInt8(engine.Int8PerTensor, true, y)) {
		t.Error("integers that nobody asked for")
	}
	n = newNet(t)
	if _, y := int8Net(n, 15); has(n.compileInt8(engine.Int8PerTensor, false, y)) {
		t.Error("integers for 15 channels")
	}
	n = newNet(t, ref.WithoutFusion())
	if _, y := int8Net(n, 16); has(n.compileInt8(engine.Int8PerTensor, false, y)) {
		t.Error("integers on a backend without them")
	}
	n = newNet(t)
	_, y = int8Net(n, 16)
	conv := y.Node().In[0].Node().In[0]
	p := n.compileInt8(engine.Int8PerTensor, false, y, conv)
	if !slices.Equal(ops(p), []string{"Conv2D", "PointwiseInt8", "MaxPool2D", "Conv2D"}) {
		t.Errorf("an output before the pool: %v", ops(p))
	}
}
