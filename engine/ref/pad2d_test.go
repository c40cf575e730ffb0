package ref

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestPadGolden holds padding and the local response norm, with their gradients,
// to PyTorch's (scripts/golden_pads.py).
func TestPadGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/pads.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Pads []struct {
			Mode  string
			Pad   [4]int // left, right, top, bottom
			Value float32
			Y, Dx []float64
		}
		Norms []struct {
			Size           int
			Alpha, Beta, K float32
			Y, Dx          []float64
		}
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Pads) < 6 || len(golden.Norms) < 4 {
		t.Errorf("only %d pads and %d norms", len(golden.Pads), len(golden.Norms))
	}
	modes := map[string]engine.PadMode{"constant": engine.PadConstant, "reflect": engine.PadReflect, "replicate": engine.PadEdge}
	for _, c := range golden.Pads {
		p := c.Pad
		op := engine.Pad2D{Pad: engine.Pads{p[2], p[0], p[3], p[1]}, Mode: modes[c.Mode], Value: c.Value}
		x := sequence(7, 11, 1, 3, 4, 2)
		y := eval(t, op, x)[0]
		same(t, c.Mode, y.V, c.Y)
		same(t, c.Mode+"'s gradient", eval(t, engine.Pad2DBackward{Pad2D: op, X: x.Spec}, sequence(5, 13, y.Shape...))[0].V, c.Dx)
	}
	for _, c := range golden.Norms {
		op := engine.LocalResponseNorm{Size: c.Size, Alpha: c.Alpha, Beta: c.Beta, K: c.K}
		x := sequence(7, 11, 1, 2, 1, 6)
		same(t, "the norm", eval(t, op, x)[0].V, c.Y)
		same(t, "the norm's gradient", eval(t, engine.LocalResponseNormBackward{LocalResponseNorm: op}, x, sequence(5, 13, x.Shape...))[0].V, c.Dx)
	}
}

// same compares with values that come from constants of float32 at most.
func same(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= 1e-7*(1+math.Abs(want[i]))) {
			t.Errorf("%s[%d] = %.12g, PyTorch has %.12g", what, i, got[i], want[i])
		}
	}
}
