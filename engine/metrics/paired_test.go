package metrics_test

import (
	"math"
	"testing"

	"github.com/potstill/potstill/engine/metrics"
)

func TestPair(t *testing.T) {
	// 10 images: 3 won, 1 lost.
	first := []bool{true, true, true, false, false, false, true, true, false, true}
	other := []bool{false, true, true, true, true, true, true, true, false, true}
	p := metrics.Pair(first, other)
	if p.Images != 10 || p.Won != 3 || p.Lost != 1 || math.Abs(p.Difference-0.2) > 1e-12 {
		t.Errorf("%+v", p)
	}
	// By hand: variance (4-4/10)/100, P of at most 1 head in 4 throws twice, 2·5/16.
	half := 1.959963984540054 * math.Sqrt(3.6) / 10
	if math.Abs(p.Interval.Low-(0.2-half)) > 1e-12 || math.Abs(p.Interval.High-(0.2+half)) > 1e-12 || math.Abs(p.P-0.625) > 1e-12 {
		t.Errorf("%+v, want a half width of %g and P 0.625", p, half)
	}
	// 2·Σ C(65, i)/2⁶⁵ for i to 20, in whole numbers.
	a, b := make([]bool, 100), make([]bool, 100)
	for i := range 65 {
		a[i], b[i] = i < 20, i >= 20
	}
	if p := metrics.Pair(a, b); math.Abs(p.P-0.0026263768106840383) > 1e-9 {
		t.Errorf("P %.12g, want the sum in whole numbers", p.P)
	}
	if p := metrics.Pair(first, first); p.P != 1 || p.Difference != 0 || p.Interval != (metrics.Interval{}) {
		t.Errorf("with itself: %+v", p)
	}
	if p := metrics.Pair(nil, nil); p.P != 1 || p.Images != 0 {
		t.Errorf("of no images: %+v", p)
	}
}
