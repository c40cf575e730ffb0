package ref

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
)

// A gradCase is a differentiable op with the specs of its inputs; the first
// Wrt of them are differentiated (0: all).
type gradCase struct {
	op  engine.Op
	in  []engine.Spec
	wrt int
}

func f32(shape ...int) engine.Spec { return engine.F32(shape...) }

func convCase(op engine.Conv2D, n, h, w, c, k, o int, bias bool) gradCase {
	in := []engine.Spec{f32(n, h, w, c), f32(k, k, c/max(op.Groups, 1), o)}
	if bias {
		in = append(in, f32(o))
	}
	return gradCase{op: op, in: in}
}

// activationGradCases has a case for each function, with constants of both signs where
// the slope depends on these.
func activationGradCases() (cases []gradCase) {
	for _, f := range []engine.Act{
		engine.Identity, engine.ReLU, engine.ReLU6, engine.Clip(-1, 0.5), engine.LeakyReLU(0.1), engine.LeakyReLU(-0.5),
		engine.ThresholdedReLU(1), engine.HardSigmoid(1./6, 0.5), engine.HardSwish, engine.Abs, engine.Neg, engine.Reciprocal,
		engine.Softsign, engine.Exp, engine.ELU(1), engine.ELU(0.7), engine.ELU(-0.7), engine.CELU(2), engine.SELU, engine.Sigmoid,
		engine.SiLU, engine.Tanh, engine.GELU, engine.GELUTanh, engine.Mish, engine.Softplus(1, 20), engine.Softplus(-2, 20),
		engine.Softplus(2, 1), engine.Erf, engine.Pow(2), engine.Pow(3), engine.Pow(1), engine.Sqrt, engine.Log, engine.Pow(1.7), engine.Pow(-0.3),
	} {
		cases = append(cases, gradCase{op: engine.Activation{F: f}, in: []engine.Spec{f32(2, 5, 4, 3)}})
	}
	return cases
}

func gradCases() []gradCase {
	x := f32(2, 5, 4, 3)
	bn := []engine.Spec{x, f32(3), f32(3), f32(3), f32(3)}
	return []gradCase{
		convCase(engine.Conv2D{}, 2, 4, 5, 3, 3, 2, true),
		convCase(engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(3)}, 1, 7, 6, 3, 5, 4, false),
		convCase(engine.Conv2D{Stride: engine.Both(1), Pad: engine.Around(2), Dilation: engine.Both(2)}, 2, 5, 6, 2, 3, 3, true),
		convCase(engine.Conv2D{Stride: engine.Both(3), Pad: engine.Around(1), Groups: 3}, 1, 7, 7, 6, 2, 9, true),
		convCase(engine.Conv2D{Stride: engine.Both(1), Pad: engine.Around(1), Groups: 4}, 1, 4, 4, 4, 3, 4, true),
		convCase(engine.Conv2D{Stride: engine.Both(2)}, 2, 5, 5, 3, 1, 5, false),
		{op: engine.Conv2D{Stride: engine.Pair{2, 1}, Dilation: engine.Pair{1, 2}, Pad: engine.Pads{1, 0, 2, 3}}, in: []engine.Spec{f32(1, 6, 7, 2), f32(2, 3, 2, 3), f32(3)}},
		{op: engine.Conv2D{Stride: engine.Pair{1, 3}, Pad: engine.Pads{0, 3, 1, 2}, Groups: 2}, in: []engine.Spec{f32(2, 4, 8, 4), f32(1, 7, 2, 6)}},
		{op: engine.Linear{}, in: []engine.Spec{f32(3, 5), f32(5, 4), f32(4)}},
		{op: engine.Linear{}, in: []engine.Spec{f32(1, 2), f32(2, 3)}},
		{op: engine.BatchNorm{Eps: 1e-2, Momentum: 0.1, Train: true}, in: bn, wrt: 3},
		{op: engine.BatchNorm{Eps: 1e-2, Momentum: 0.1}, in: bn, wrt: 3},
		{op: engine.LayerNorm{Eps: 1e-2}, in: []engine.Spec{x, f32(3), f32(3)}},
		{op: engine.LayerNorm{Eps: 1e-5}, in: []engine.Spec{f32(3, 7), f32(7), f32(7)}},
		{op: engine.GroupNorm{Groups: 1, Eps: 1e-2}, in: []engine.Spec{x, f32(3), f32(3)}},
		{op: engine.GroupNorm{Groups: 3, Eps: 1e-5}, in: []engine.Spec{x, f32(3), f32(3)}},
		{op: engine.GroupNorm{Groups: 2, Eps: 1e-2}, in: []engine.Spec{f32(2, 3, 1, 6), f32(6), f32(6)}},
		{op: engine.Add{}, in: []engine.Spec{x, x, x}},
		{op: engine.Add{Weights: []float32{0.5, -2}}, in: []engine.Spec{x, x}},
		{op: engine.MaxPool2D{Window: engine.Square(2, 0, 0)}, in: []engine.Spec{x}},
		{op: engine.MaxPool2D{Window: engine.Square(3, 2, 1)}, in: []engine.Spec{x}},
		{op: engine.AvgPool2D{Window: engine.Square(2, 3, 0)}, in: []engine.Spec{x}},
		{op: engine.AvgPool2D{Window: engine.Square(3, 2, 1)}, in: []engine.Spec{x}},
		{op: engine.MaxPool2D{Window: engine.Window{Kernel: engine.Pair{2, 3}, Stride: engine.Pair{1, 2}, Dilation: engine.Pair{2, 1}, Pad: engine.Pads{1, 0, 0, 2}, Ceil: true}}, in: []engine.Spec{x}},
		{op: engine.AvgPool2D{Window: engine.Window{Kernel: engine.Pair{3, 2}, Stride: engine.Both(3), Pad: engine.Pads{0, 1, 2, 0}, Ceil: true}}, in: []engine.Spec{x}},
		{op: engine.AvgPool2D{Window: engine.Window{Kernel: engine.Both(3), Stride: engine.Both(2), Pad: engine.Around(1), Ceil: true}, ExcludePad: true}, in: []engine.Spec{x}},
		{op: engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{2, 3}}}, in: []engine.Spec{x}},
		{op: engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{7, 1}}}, in: []engine.Spec{x}},
		{op: engine.AdaptiveMaxPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{2, 3}}}, in: []engine.Spec{x}},
		{op: engine.Pad2D{Pad: engine.Pads{1, 0, 2, 3}, Value: 2}, in: []engine.Spec{x}},
		{op: engine.Pad2D{Pad: engine.Pads{2, 3, 4, 1}, Mode: engine.PadReflect}, in: []engine.Spec{x}},
		{op: engine.Pad2D{Pad: engine.Pads{2, 3, 0, 1}, Mode: engine.PadEdge}, in: []engine.Spec{x}},
		{op: engine.LocalResponseNorm{Size: 2, Alpha: 2, Beta: 0.75, K: 1}, in: []engine.Spec{x}},
		{op: engine.LocalResponseNorm{Size: 5, Alpha: 0.5, Beta: 1.5, K: 2}, in: []engine.Spec{f32(3, 9)}},
		{op: engine.GlobalAvgPool{}, in: []engine.Spec{x}},
		{op: engine.GlobalAvgPool{KeepDims: true}, in: []engine.Spec{x}},
		{op: engine.Flatten{}, in: []engine.Spec{x}},
		{op: engine.FlattenBackward{X: f32(2, 2, 2, 3)}, in: []engine.Spec{f32(2, 12)}},
		{op: engine.Reshape{Shape: []int{10, 12}}, in: []engine.Spec{x}},
		{op: engine.LinearBackwardData{}, in: []engine.Spec{f32(3, 5), f32(4, 5)}},
		{op: engine.LinearBackwardWeight{}, in: []engine.Spec{f32(5, 3), f32(5, 4)}},
		{op: engine.AdaptiveAvgPool2DBackward{Adaptive: engine.Adaptive{Size: engine.Pair{2, 3}}, X: x}, in: []engine.Spec{f32(2, 2, 3, 3)}},
		{op: engine.Concat{}, in: []engine.Spec{x, f32(2, 5, 4, 1), f32(2, 5, 4, 2)}},
		{op: engine.Concat{}, in: []engine.Spec{f32(3, 2), f32(3, 4)}},
		{op: engine.ChannelShuffle{Groups: 3}, in: []engine.Spec{f32(2, 2, 3, 12)}},
		{op: engine.ChannelShuffle{Groups: 2}, in: []engine.Spec{f32(3, 6)}},
		{op: engine.Slice{Start: 1, End: 3}, in: []engine.Spec{x}},
		{op: engine.Slice{End: 2}, in: []engine.Spec{f32(3, 5)}},
		{op: engine.Mul{}, in: []engine.Spec{x, x}},
		{op: engine.Mul{}, in: []engine.Spec{x, f32(2, 3)}},
		{op: engine.Mul{}, in: []engine.Spec{x, f32(2, 1, 1, 3)}},
		{op: engine.Mul{}, in: []engine.Spec{x, f32(2, 5, 4, 1)}},
		{op: engine.Mul{}, in: []engine.Spec{f32(3, 5), f32(3, 1)}},
		{op: engine.Div{}, in: []engine.Spec{x, x}},
		{op: engine.Maximum{}, in: []engine.Spec{x, x}},
		{op: engine.Minimum{}, in: []engine.Spec{x, x}},
		{op: engine.ScaleShift{Scale: true, Shift: true}, in: []engine.Spec{x, f32(3), f32(3)}},
		{op: engine.ScaleShift{Scale: true}, in: []engine.Spec{f32(4, 3), f32(3)}},
		{op: engine.ScaleShift{Shift: true}, in: []engine.Spec{x, f32(3)}},
		{op: engine.PReLU{}, in: []engine.Spec{x, f32(3)}},
		{op: engine.PReLU{}, in: []engine.Spec{x, f32(1)}},
		{op: engine.MSE{}, in: []engine.Spec{x, x}},
		{op: engine.Softmax{}, in: []engine.Spec{x}},
		{op: engine.Softmax{Log: true}, in: []engine.Spec{f32(3, 4)}},
		{op: engine.StochasticDepth{P: 0.5, Stream: 2}, in: []engine.Spec{f32(6, 2, 2, 3), engine.DropoutCounter}, wrt: 1},
		{op: engine.Dropout{P: 0.4, Stream: 3}, in: []engine.Spec{x, engine.DropoutCounter}, wrt: 1},
		{op: engine.CrossEntropy{LabelSmoothing: 0.1}, in: []engine.Spec{f32(3, 4), f32(3, 4)}, wrt: 1},
		{op: engine.KLDiv{T: 3}, in: []engine.Spec{f32(3, 4), f32(3, 4)}, wrt: 1},
	}
}

// interpret evaluates g's nodes one by one.
func interpret(t *testing.T, g *engine.Graph, bound map[*engine.Value]Array) map[*engine.Value]Array {
	t.Helper()
	at := make(map[*engine.Value]Array)
	for v, a := range bound {
		at[v] = a
	}
	for _, n := range g.Nodes() {
		in := make([]Array, len(n.In))
		for i, v := range n.In {
			in[i] = at[v]
		}
		out, err := Eval(n.Op, in)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range n.Out {
			at[v] = out[i]
		}
	}
	return at
}

// scalar closes the graph with a loss in which every element of y counts
// differently. It returns the target that must be bound, nil if y is the loss.
func scalar(b *engine.Builder, y *engine.Value) (loss, target *engine.Value) {
	if y.Len() == 1 {
		return y, nil
	}
	if len(y.Shape) == 4 {
		y = b.One(engine.Flatten{}, y)
	}
	target = b.Input("target", y.Spec)
	return b.One(engine.CrossEntropy{}, y, target), target
}

// TestGradients holds every Backward to central differences of its forward.
func TestGradients(t *testing.T) {
	for i, c := range append(gradCases(), activationGradCases()...) {
		t.Run(fmt.Sprintf("%d-%s", i, engine.OpName(c.op)), func(t *testing.T) { checkGradient(t, c, uint64(i)) })
	}
}

func checkGradient(t *testing.T, c gradCase, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	g := engine.NewGraph()
	b := engine.NewBuilder(g)
	bound := make(map[*engine.Value]Array)
	random := func(v *engine.Value) {
		a := NewArray(v.Spec)
		for i := range a.V {
			a.V[i] = 2 * rng.NormFloat64()
			if v.DType != engine.Float32 {
				a.V[i] = float64(rng.Uint32())
			}
		}
		bound[v] = a
	}
	var in []*engine.Value
	for i, s := range c.in {
		in = append(in, b.Input(fmt.Sprint(i), s))
		random(in[i])
	}
	if _, ok := c.op.(engine.BatchNorm); ok {
		for i, v := range bound[in[4]].V {
			bound[in[4]].V[i] = math.Abs(v) + 0.1 // a variance
		}
	}
	if _, ok := c.op.(engine.Div); ok {
		for i, v := range bound[in[1]].V {
			bound[in[1]].V[i] = v + math.Copysign(0.5, v) // which differences do not follow near zero
		}
	}
	if a, ok := c.op.(engine.Activation); ok {
		for i, v := range bound[in[0]].V {
			switch a.F.Fn {
			case engine.FuncReciprocal: // which differences do not follow near zero
				bound[in[0]].V[i] = v + math.Copysign(0.5, v)
			case engine.FuncSqrt, engine.FuncLog, engine.FuncPow:
				bound[in[0]].V[i] = math.Abs(v) + 0.1
			}
		}
	}
	loss, target := scalar(b, b.One(c.op, in...))
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	if target != nil {
		random(target)
	}
	wrt := in
	if c.wrt > 0 {
		wrt = in[:c.wrt]
	}
	value := func() float64 { return interpret(t, g, bound)[loss].V[0] }
	numeric := make([][]float64, len(wrt))
	const step = 1e-5
	for i, v := range wrt {
		x := bound[v].V
		for j, old := range x {
			x[j] = old + step
			up := value()
			x[j] = old - step
			numeric[i] = append(numeric[i], (up-value())/(2*step))
			x[j] = old
		}
	}
	grads, err := engine.Grad(g, loss, wrt)
	if err != nil {
		t.Fatal(err)
	}
	at := interpret(t, g, bound)
	for i, v := range grads {
		if v == nil {
			t.Fatalf("no gradient of input %d", i)
		}
		nonzero := false
		for j, got := range at[v].V {
			want := numeric[i][j]
			nonzero = nonzero || want != 0
			if d := math.Abs(got - want); !(d <= 1e-6*(1+math.Abs(want))) {
				t.Errorf("input %d[%d]: gradient %g, by differences %g", i, j, got, want)
			}
		}
		if !nonzero {
			t.Errorf("the loss does not depend on input %d: the test is void", i)
		}
	}
}
