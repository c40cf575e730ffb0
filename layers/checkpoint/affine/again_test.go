package affine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAgain: quantizing decoded weights gives back the codes and the range, so
// that codes can be had from decoded weights at any time. Where the range is so
// small beside the weights that float32 cannot tell neighboring codes apart,
// the codes may differ but stand for the same weights.
func TestAgain(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	fine := 0
	for range 3000 {
		scale := math.Exp(r.NormFloat64() * 8)
		w := drawn(r, 1+r.IntN(300), scale*math.Exp(r.NormFloat64()*6)*float64(1-2*r.IntN(2)), scale)
		codes, min, max, err := Encode8(w)
		if err != nil {
			t.Fatal(err)
		}
		decoded, twice := make([]float32, len(w)), make([]float32, len(w))
		if err := Decode8(codes, float64(min), float64(max), decoded); err != nil {
			t.Fatal(err)
		}
		again, lo, hi, err := Encode8(decoded)
		if err != nil || lo != min || hi != max {
			t.Fatalf("range %g to %g became %g to %g (%v)", min, max, lo, hi, err)
		}
		if err := Decode8(again, float64(lo), float64(hi), twice); err != nil || !slices.Equal(decoded, twice) {
			t.Fatalf("%g to %g: other weights the second time (%v)", min, max, err)
		}
		// A code moves a weight by more than its rounding to float32 twice over.
		if step := (float64(max) - float64(min)) / 255; step > 0x1p-22*math.Max(math.Abs(float64(min)), math.Abs(float64(max))) && step > 0x1p-140 {
			fine++
			if !slices.Equal(codes, again) {
				t.Fatalf("%g to %g: other codes the second time", min, max)
			}
		}
	}
	if fine < 1000 {
		t.Errorf("only %d of the draws were of the usual kind", fine)
	}
}
