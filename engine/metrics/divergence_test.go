package metrics

import (
	"math"
	"testing"
)

func TestDivergence(t *testing.T) {
	// p = (3/4, 1/4), q = (1/2, 1/2): 3/4·log(3/2) + 1/4·log(1/2)
	log3 := float32(math.Log(3))
	want := 0.75*math.Log(1.5) + 0.25*math.Log(0.5)
	if d := Divergence([]float32{log3, 0}, []float32{7, 7}); math.Abs(d-want) > 1e-7 {
		t.Errorf("%v, want %v", d, want)
	}
	// logits far apart, and the same shifted
	if d := Divergence([]float32{100, -100, 0}, []float32{200, 0, 100}); math.Abs(d) > 1e-12 {
		t.Errorf("of the same predictions %v", d)
	}
	if d := Divergence([]float32{0, float32(math.Inf(1))}, []float32{0, 1}); !math.IsNaN(d) {
		t.Errorf("of infinite logits %v", d)
	}
}
