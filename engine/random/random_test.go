package random

import (
	"math"
	"slices"
	"testing"
)

// TestPhilox holds the generator to the known answers of Random123's kat_vectors.
func TestPhilox(t *testing.T) {
	const ff = 0xffffffff
	for _, c := range []struct {
		ctr  [4]uint32
		key  [2]uint32
		want [4]uint32
	}{
		{want: [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{ff, ff, ff, ff}, [2]uint32{ff, ff}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.ctr, c.key); got != c.want {
			t.Errorf("Philox(%x, %x) = %x, want %x", c.ctr, c.key, got, c.want)
		}
	}
}

func moments(n int, f func() float64) (mean, variance float64) {
	var s, q float64
	for range n {
		v := f()
		s += v
		q += v * v
	}
	mean = s / float64(n)
	return mean, q/float64(n) - mean*mean
}

func TestDistributions(t *testing.T) {
	const n = 100_000
	r := New(3, 1, 4, UseOther)
	check := func(name string, mean, variance float64, f func() float64) {
		m, v := moments(n, f)
		// Five standard errors of the mean; the variance more loosely.
		if math.Abs(m-mean) > 5*math.Sqrt(variance/n) || math.Abs(v-variance) > 0.04*variance {
			t.Errorf("%s: mean %g, variance %g; want %g, %g", name, m, v, mean, variance)
		}
	}
	check("uniform", 0.5, 1.0/12, r.Float64)
	check("normal", 0, 1, r.NormFloat64)
	check("IntN(7)", 3, 4, func() float64 { return float64(r.IntN(7)) })
	for _, a := range [][2]float64{{0.2, 0.2}, {1, 1}, {2, 5}, {0.01, 0.01}} {
		s := a[0] + a[1]
		check("beta", a[0]/s, a[0]*a[1]/(s*s*(s+1)), func() float64 {
			v := r.Beta(a[0], a[1])
			if !(v >= 0 && v <= 1) {
				t.Fatalf("beta%v gave %g", a, v)
			}
			return v
		})
	}
}

func TestPerm(t *testing.T) {
	p := Perm(7, 3, 1000)
	if !slices.Equal(p, Perm(7, 3, 1000)) {
		t.Error("the same key gives another order")
	}
	if slices.Equal(p, Perm(7, 4, 1000)) || slices.Equal(p, Perm(8, 3, 1000)) {
		t.Error("another epoch or seed gives the same order")
	}
	slices.Sort(p)
	for i, v := range p {
		if i != v {
			t.Fatalf("%d is missing", i)
		}
	}
}
