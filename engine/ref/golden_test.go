package ref

import (
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
)

// sequence fills an array with the small fractions ((i·a) mod m - ⌊m/2⌋)/4, the
// inputs of the golden values, which PyTorch 2 gave in float64.
func sequence(a, m int, shape ...int) Array {
	x := NewArray(engine.F32(shape...))
	for i := range x.V {
		x.V[i] = float64(i*a%m-m/2) / 4
	}
	return x
}

func vector(v ...float64) Array { return Array{Spec: engine.F32(len(v)), V: v} }

func eval(t *testing.T, op engine.Op, in ...Array) []Array {
	t.Helper()
	out, err := Eval(op, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func near(t *testing.T, what string, got []float64, want ...float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= 2e-7) {
			t.Errorf("%s[%d] = %.9g, PyTorch has %.9g", what, i, got[i], want[i])
		}
	}
}

func TestConv2DGolden(t *testing.T) {
	y := eval(t, engine.Conv2D{Stride: engine.Both(1), Pad: engine.Around(2), Dilation: engine.Both(2), Groups: 2},
		sequence(7, 11, 1, 4, 4, 4), sequence(5, 7, 3, 3, 2, 4), sequence(7, 11, 4))[0]
	near(t, "y", y.V[16:32], -2.0625, -0.125, -1.5625, 1, 0.625, -0.125, 1.9375, 2.8125,
		-1.8125, -0.3125, 0.25, 0.1875, 0.5, 2.375, -1.125, 3.6875)
}

func TestBatchNormGolden(t *testing.T) {
	in := []Array{sequence(7, 11, 2, 3, 3, 2), vector(1.5, -0.5), vector(0.25, 1), vector(0.1, -0.2), vector(0.7, 1.3)}
	y := eval(t, engine.BatchNorm{Eps: 1e-3, Momentum: 0.1}, in...)[0]
	near(t, "y in evaluation", y.V[:6], -2.168610994, 0.6931476837, -0.8249382212, 0.3643773463, 0.518734552, 1.241098246)
	out := eval(t, engine.BatchNorm{Eps: 1e-3, Momentum: 0.1, Train: true}, in...)
	near(t, "y in training", out[0].V[:6], -2.01590715, 0.6891550526, -0.5763896665, 0.2228876316, 0.8631278171, 1.466267421)
	near(t, "running mean", out[3].V, 0.0830555569, -0.1800000027)
	near(t, "running variance", out[4].V, 0.6945628978, 1.23838231)
}

func TestPoolGolden(t *testing.T) {
	w := engine.Square(3, 2, 1)
	x := sequence(7, 11, 1, 5, 5, 1)
	near(t, "max", eval(t, engine.MaxPool2D{Window: w}, x)[0].V, 1, 1.25, 1.25, 1, 1, 1.25, 0.75, 1, 0.5)
	near(t, "avg", eval(t, engine.AvgPool2D{Window: w}, x)[0].V, -0.05555555556, 0.1388888889, 0.1388888889,
		-0.1944444444, -0.1111111111, -0.05555555556, 0, -0.08333333333, -0.1111111111)

	x = sequence(7, 11, 1, 5, 7, 1)
	dilated := engine.Window{Kernel: engine.Pair{2, 3}, Stride: engine.Both(2), Pad: engine.Pads{1, 0, 1, 0}, Dilation: engine.Pair{2, 1}, Ceil: true}
	near(t, "dilated max", eval(t, engine.MaxPool2D{Window: dilated}, x)[0].V, 0.75, 0.75, 0.5, 0.75, 1.25, 1.25, 0.5, 1.25, 1.25)
	// Along the width a fifth window would begin in the padding behind.
	w = engine.Window{Kernel: engine.Pair{3, 2}, Stride: engine.Both(2), Pad: engine.Around(1), Ceil: true}
	near(t, "avg with what is left over", eval(t, engine.AvgPool2D{Window: w}, x)[0].V, -0.2083333333, -0.04166666667, 0, 0.04166666667,
		0.1666666667, -0.25, 0.04166666667, -0.125, 0.125, -0.2916666667, 0.2083333333, -0.2083333333)
	near(t, "avg without padding", eval(t, engine.AvgPool2D{Window: w, ExcludePad: true}, x)[0].V, -0.625, -0.0625, 0, 0.0625,
		0.3333333333, -0.25, 0.04166666667, -0.125, 0.375, -0.4375, 0.3125, -0.3125)
	near(t, "adaptive avg", eval(t, engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{2, 3}}}, x)[0].V,
		-0.08333333333, 0.05555555556, -0.1111111111, -0.02777777778, 0.1111111111, -0.05555555556)
	adaptive := engine.Adaptive{Size: engine.Pair{3, 4}}
	near(t, "adaptive max", eval(t, engine.AdaptiveMaxPool2D{Adaptive: adaptive}, x)[0].V, 0.5, 1.25, 1.25, 1, 1.25, 1, 1.25, 0.75, 1, 0.75, 1.25, 0.5)
	ones := NewArray(engine.F32(1, 3, 4, 1))
	for i := range ones.V {
		ones.V[i] = 1
	}
	near(t, "gradient of adaptive max", eval(t, engine.AdaptiveMaxPool2DBackward{Adaptive: adaptive}, x, ones)[0].V,
		0, 1, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 1, 0, 0, 1)
}

func TestTwoSidedConvGolden(t *testing.T) {
	op := engine.Conv2D{Stride: engine.Pair{2, 1}, Dilation: engine.Pair{1, 2}, Pad: engine.Pads{0, 2, 0, 2}}
	y := eval(t, op, sequence(7, 11, 1, 3, 4, 2), sequence(5, 7, 1, 3, 2, 2), vector(0.5, -0.5))[0]
	near(t, "y", y.V, -0.0625, -1.75, 0.3125, -1.5625, 1.8125, -0.75, 1.625, -1.125, 0.1875, -1.625, -0.125, 0.625, 1.6875, -1, -0.5625, -0.6875)
}

// softmaxRows turns the rows of x into probabilities.
func softmaxRows(x Array) Array {
	for n := range x.Shape[0] {
		for k, p := range logSoftmax(row(x, n), 1) {
			row(x, n)[k] = math.Exp(p.v)
		}
	}
	return x
}

func TestLossGolden(t *testing.T) {
	x := sequence(7, 11, 3, 4)
	ce := eval(t, engine.CrossEntropy{LabelSmoothing: 0.1}, x, softmaxRows(sequence(3, 11, 3, 4)))
	near(t, "cross entropy", ce[0].V, 1.424964453)
	near(t, "KL", eval(t, engine.KLDiv{T: 4}, x, sequence(3, 11, 3, 4))[0].V, 0.2894155204)
}

// TestOptimizerGolden takes three steps with each optimizer.
func TestOptimizerGolden(t *testing.T) {
	adam := engine.Adam{K: 1, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	adamW := adam
	adamW.Decoupled = true
	for _, c := range []struct {
		name  string
		op    engine.Op
		state int
		want  []float64
	}{
		{"adam", adam, 2, []float64{-1.220000698, 0.5254925686, -0.5280655149}},
		{"adamw", adamW, 2, []float64{-1.216283739, 0.5249997591, -0.5268406169}},
		{"sgd with momentum", engine.SGD{K: 1, Momentum: 0.9}, 1, []float64{-1.172928486, 0.5154759045, -0.530705402}},
		{"nesterov", engine.SGD{K: 1, Momentum: 0.9, Nesterov: true}, 1, []float64{-1.139517391, 0.5198919699, -0.5486021477}},
		{"sgd", engine.SGD{K: 1}, 0, []float64{-1.208791236, 0.5059890045, -0.520989002}},
	} {
		state := []Array{sequence(7, 11, 3), vector(0, 0, 0), vector(0, 0, 0)}[:1+c.state]
		for step := range 3 {
			n := float64(step + 1)
			hyper := vector(0.01, 0.1, 1-math.Pow(float64(adam.Beta1), n), 1-math.Pow(float64(adam.Beta2), n), 0, 0, 0, 0)
			if step == 0 {
				hyper.V[engine.HyperFirst] = 1
			}
			in := []Array{hyper, {V: []float64{1}}, state[0], sequence(3+step, 11, 3)}
			state = eval(t, c.op, append(in, state[1:]...)...)
		}
		near(t, c.name, state[0].V, c.want...)
	}
}

func TestClipScaleGolden(t *testing.T) {
	out := eval(t, engine.ClipScale{MaxNorm: 1}, sequence(7, 11, 6))
	near(t, "norm", out[0].V, 2.061552813)
	near(t, "clipped", []float64{-1.25 * out[1].V[0], 0.5 * out[1].V[0]}, -0.6063387685, 0.2425355074)
	out = eval(t, engine.ClipScale{MaxNorm: 1}, vector(0.3, 0.4))
	near(t, "short gradient", []float64{out[0].V[0], out[1].V[0]}, 0.5, 1)
}

// TestFlatten holds the order to PyTorch's: NCHW, row-major.
func TestFlatten(t *testing.T) {
	x := NewArray(engine.F32(1, 2, 3, 2))
	for i := range x.V {
		x.V[i] = float64(i)
	}
	near(t, "y", eval(t, engine.Flatten{}, x)[0].V, 0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11)
}

// TestFused holds the fused ops to the plain ones that they stand for.
func TestFused(t *testing.T) {
	bn := engine.BatchNorm{Eps: 1e-3, Momentum: 0.1, Train: true}
	w := engine.Square(2, 0, 0)
	x, gamma, beta := sequence(7, 11, 2, 5, 4, 2), vector(1.5, -2), vector(0.25, 1)
	in := []Array{x, gamma, beta, vector(0, 0), vector(1, 1)}
	plain := eval(t, bn, in...)
	f := eval(t, engine.Activation{F: engine.ReLU6}, plain[0])[0]
	y := eval(t, engine.MaxPool2D{Window: w}, f)[0]
	fused := eval(t, engine.BatchNormAct{BatchNorm: bn, F: engine.ReLU6, Pool: &w}, in...)
	near(t, "y", fused[0].V, y.V...)
	for i := 1; i < 5; i++ {
		near(t, "statistics", fused[i].V, plain[i].V...)
	}

	dy := sequence(3, 7, 2, 2, 2, 2)
	d := eval(t, engine.MaxPool2DBackward{Window: w}, f, dy)[0]
	d = eval(t, engine.ActivationBackward{F: engine.ReLU6}, f, d)[0]
	want := eval(t, engine.BatchNormBackward{}, x, d, gamma, plain[1], plain[2])
	got := eval(t, engine.BatchNormActBackward{F: engine.ReLU6, Pool: &w}, x, dy, gamma, beta, plain[1], plain[2])
	for i := range want {
		near(t, "gradient", got[i].V, want[i].V...)
	}

	conv := engine.Conv2D{Pad: engine.Around(1)}
	cin := []Array{x, sequence(5, 7, 3, 3, 2, 2), vector(0.5, -0.5)}
	z := eval(t, conv, cin...)[0]
	z = eval(t, engine.Activation{F: engine.ReLU}, eval(t, engine.Add{}, z, x)[0])[0]
	conv.Epilogue = engine.Epilogue{Residual: true, Act: engine.ReLU}
	near(t, "epilogue", eval(t, conv, append(cin, x)...)[0].V, z.V...)
	cin, conv.Epilogue = cin[:2], engine.Epilogue{}
	eps := engine.BatchNorm{Eps: 1e-3}
	z = eval(t, eps, eval(t, conv, cin...)[0], gamma, beta, vector(0.3, -1), vector(2, 0.5))[0]
	fold := eval(t, engine.FoldBatchNorm{Eps: 1e-3}, cin[1], gamma, beta, vector(0.3, -1), vector(2, 0.5))
	near(t, "folded", eval(t, conv, x, fold[0], fold[1])[0].V, z.V...)
}
