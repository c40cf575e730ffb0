package lowrank

import (
	"math"
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestTensorly: Tucker-2 is no further from the weight than that of tensorly 0.9.0, but
// for 1e-4 of the distance (scripts/golden_tucker.py).
func TestTensorly(t *testing.T) {
	for _, g := range []struct {
		o, i, k, r, in int
		apart          float64
	}{
		{16, 12, 3, 6, 5, 0.1065425606959413},
		{24, 16, 3, 4, 10, 0.13269971133706787},
		{20, 20, 5, 12, 3, 0.1645780622019752},
		{8, 32, 3, 8, 9, 0.07403971004910805},
	} {
		l := &layer{conv: layers.Conv(g.i, g.o, g.k), spectra: make(map[string]*spectrum)}
		all := 0.0
		for n := range g.o * g.i * g.k * g.k {
			o, i := n/(g.k*g.k)/g.i, n/(g.k*g.k)%g.i
			v := float32(float64((n*7919+n/13*104729)%1009)/1009 - 0.5 + 2*math.Cos(float64(o)*0.37+float64(i)*0.11))
			l.weight = append(l.weight, v)
			all += float64(v) * float64(v)
		}
		uo, ui, core, err := l.tucker(g.r, g.in)
		if err != nil {
			t.Fatal(err)
		}
		apart := 0.0
		for n, v := range l.weight {
			p, i, o := n%(g.k*g.k), n/(g.k*g.k)%g.i, n/(g.k*g.k)/g.i
			made := 0.0
			for r := range g.r {
				for q := range g.in {
					made += uo.at[r*g.o+o] * core.at[(r*g.in+q)*g.k*g.k+p] * ui.at[q*g.i+i]
				}
			}
			apart += (made - float64(v)) * (made - float64(v))
		}
		if got := math.Sqrt(apart / all); !(got <= g.apart*(1+1e-4)) || got < g.apart*(1-1e-3) {
			t.Errorf("%+v: ours is %.9g away", g, got)
		}
	}
}
