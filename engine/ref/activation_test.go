package ref

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestActivationGolden holds the activations and their slopes to PyTorch's, at
// corners too (scripts/golden_activations.py).
func TestActivationGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/activations.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]struct{ X, Y, Slope []float64 }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, f := range []engine.Act{
		engine.ReLU, engine.ReLU6, engine.Clip(-0.5, 2.5), engine.LeakyReLU(0.25), engine.LeakyReLU(-0.5), engine.ThresholdedReLU(1),
		engine.HardSwish, engine.Abs, engine.Neg, engine.Softsign, engine.Exp, engine.ELU(1), engine.ELU(0.5), engine.CELU(2), engine.SELU,
		engine.Sigmoid, engine.SiLU, engine.Tanh, engine.GELU, engine.GELUTanh, engine.Mish, engine.Softplus(1, 20), engine.Softplus(2, 5),
		engine.Erf, engine.Pow(2), engine.Pow(3), engine.Reciprocal, engine.Sqrt, engine.Log, engine.Pow(0.5), engine.Pow(-1.5),
	} {
		seen[f.String()] = true
		c := want[f.String()]
		if len(c.X) == 0 {
			t.Errorf("there is no golden of %v", f)
			continue
		}
		for i, x := range c.X {
			y := act(f, exact(x))
			s := y
			if f.FromX() {
				s = exact(x)
			}
			for what, v := range map[string][2]float64{"": {y.v, c.Y[i]}, "'": {slope(f, s).v, c.Slope[i]}} {
				if d := math.Abs(v[0] - v[1]); !(d <= 1e-12*(1+math.Abs(v[1]))) {
					t.Errorf("%v%s(%v) = %.17g, PyTorch has %.17g", f, what, x, v[0], v[1])
				}
			}
		}
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("the golden of %s is not looked at", name)
		}
	}
}

// TestHardSigmoidGolden: PyTorch's constants are no float32, so that its values
// hold to that precision only; the slope is zero at both corners.
func TestHardSigmoidGolden(t *testing.T) {
	f := engine.HardSigmoid(1./6, 0.5)
	for x, want := range map[float64][2]float64{-4: {0, 0}, -2.25: {0.125, 1. / 6}, 0: {0.5, 1. / 6}, 1.5: {0.75, 1. / 6}, 4: {1, 0}} {
		y := act(f, exact(x))
		near(t, "HardSigmoid and its slope", []float64{y.v, slope(f, y).v}, want[0], want[1])
	}
}
