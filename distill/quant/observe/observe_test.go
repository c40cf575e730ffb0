package observe

import (
	"math"
	"testing"
)

// No observer takes values that are not finite, or none; what it has seen stays.
func TestRefusals(t *testing.T) {
	for _, name := range Names() {
		for _, sym := range []bool{false, true} {
			o, err := New(name, Options{Symmetric: sym})
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := o.Range(); err == nil {
				t.Errorf("%s: a range of nothing", name)
			}
			values := []float32{-1, 2, 0.5, 0.25}
			if err := o.Add(values); err != nil {
				t.Fatal(err)
			}
			lo, hi, err := o.Range()
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range [][]float32{nil, {1, float32(math.NaN())}, {float32(math.Inf(1))}, {float32(math.Inf(-1)), 3}} {
				if o.Add(bad) == nil {
					t.Errorf("%s takes %v", name, bad)
				}
			}
			if a, b, err := o.Range(); a != lo || b != hi || err != nil {
				t.Errorf("%s: [%g, %g] became [%g, %g] (%v)", name, lo, hi, a, b, err)
			}
		}
	}
	for _, o := range []Options{{Percentile: 101}, {Percentile: math.NaN()}, {Average: -1}, {Bins: 7}, {Levels: 1}} {
		if _, err := New("minmax", o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := New("median", Options{}); err == nil {
		t.Error("an observer of no name")
	}
	for _, r := range [][2]float32{{1, -1}, {float32(math.NaN()), 1}, {0, float32(math.Inf(1))}} {
		if _, _, err := Scale(r[0], r[1], 0, 255, false); err == nil {
			t.Errorf("the range %v has a scale", r)
		}
	}
	if _, _, err := Scale(0, 1, 1, 255, false); err == nil {
		t.Error("integers without 0")
	}
}

// The squared error of mse is at most that of the whole range, and far less where
// a value lies far from the others.
func TestSquaredError(t *testing.T) {
	r := splitMix(3)
	values := make([]float32, 20000)
	for i := range values {
		values[i] = shapes["cube"](r.unit())
	}
	values[17] = 30
	for _, levels := range []int{16, 256} {
		o, err := New("mse", Options{Levels: levels})
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Add(values); err != nil {
			t.Fatal(err)
		}
		lo, hi, err := o.Range()
		if err != nil {
			t.Fatal(err)
		}
		if got, whole := squared(t, values, lo, hi, levels), squared(t, values, -1, 30, levels); got > whole*1.01 || levels == 16 && got > whole/2 {
			t.Errorf("%d levels: %g over [%g, %g], %g over all", levels, got, lo, hi, whole)
		}
	}
}

// squared is the sum of the squared errors of values in a range.
func squared(t *testing.T, values []float32, lo, hi float32, levels int) (sum float64) {
	t.Helper()
	s, z, err := Scale(lo, hi, 0, levels-1, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		q := math.RoundToEven(float64(v/s)) + float64(z)
		q = max(0, min(float64(levels-1), q))
		e := (q-float64(z))*float64(s) - float64(v)
		sum += e * e
	}
	return sum
}

// A second batch a billion times as large widens the histogram without asking for
// a billion bins.
func TestManyBins(t *testing.T) {
	for _, name := range []string{"percentile", "mse"} {
		for _, sym := range []bool{false, true} {
			o, err := New(name, Options{Symmetric: sym, Percentile: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range [][]float32{{1e-9, -1e-9, 3e-10}, {1, -2, 0.5}, {1e20}} {
				if err := o.Add(b); err != nil {
					t.Fatal(err)
				}
			}
			if lo, hi, err := o.Range(); err != nil || !(lo <= 0) || !(hi > 0) || hi > 1.1e20 {
				t.Errorf("%s: [%g, %g] (%v)", name, lo, hi, err)
			}
		}
	}
}
