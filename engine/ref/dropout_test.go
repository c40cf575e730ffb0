package ref

import (
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestDropout holds the op's use of the generator to its doc comment: the first
// known answer of Philox serves elements 0 to 3, and 0x6627e8d5 is 0.399 of 2³².
func TestDropout(t *testing.T) {
	x := NewArray(engine.F32(1000, 10))
	for i := range x.V {
		x.V[i] = float64(i + 1)
	}
	out, err := Eval(engine.Dropout{P: 0.5}, []Array{x, NewArray(engine.DropoutCounter)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0, 4, 6, 8} {
		if out[0].V[i] != want {
			t.Errorf("element %d is %g, want %g", i, out[0].V[i], want)
		}
	}
	dropped := 0
	for _, v := range out[0].V {
		if v == 0 {
			dropped++
		}
	}
	if math.Abs(float64(dropped)-5000) > 5*50 {
		t.Errorf("%d of 10000 elements dropped at P = 0.5", dropped)
	}
}
