package ref

import (
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(quantizeWeight)
	define(pointwiseInt8)
}

// codeAt is the place of q[i,o] among the codes of a weight with n inputs.
func codeAt(i, o, n int) int { return ((o/16*((n+3)/4)+i/4)*16+o%16)*4 + i%4 }

func quantizeWeight(op engine.QuantizeWeight, in, out []Array) {
	w, n, m := in[0].V, in[0].Shape[2], in[0].Shape[3]
	los, his := slices.Clone(w[:m]), slices.Clone(w[:m])
	for i, v := range w {
		los[i%m], his[i%m] = min(los[i%m], v), max(his[i%m], v)
	}
	for o := range m {
		lo, hi := slices.Min(los), slices.Max(his)
		if op.PerChannel {
			lo, hi = los[o], his[o]
		}
		for i := range n {
			q := 0.0
			if hi > lo {
				q = math.RoundToEven((w[i*m+o] - lo) / (hi - lo) * 255)
			}
			out[0].V[codeAt(i, o, n)] = float64(uint8(int(q) - 128))
		}
		// Rounded once: the range is known exactly, and float64 computes.
		s := (hi - lo) / 255
		out[1].set(o, num{s, math.Abs(s)})
		out[2].set(o, num{lo + 128*s, math.Abs(lo + 128*s)})
	}
}

func pointwiseInt8(op engine.PointwiseInt8, in, out []Array) {
	x, codes, s, z := in[0], in[1], in[2], in[3]
	n, m := x.Shape[3], len(s.V)
	y := out[0]
	if op.Pool != nil {
		y = scratch(engine.F32(x.Shape[0], x.Shape[1], x.Shape[2], m))
		defer func() { maxOf(*op.Pool, y, out[0]) }()
	}
	unit := exact(float64(op.Max)).div(exact(255))
	a := make([]float64, n)
	for p := range len(x.V) / n {
		total := 0.0
		for i, v := range x.V[p*n : (p+1)*n] {
			a[i] = math.RoundToEven(math.Min(math.Max(v*255/float64(op.Max), 0), 255))
			total += a[i]
		}
		for o := range m {
			dot := 0.0
			for i, v := range a {
				dot += v * float64(int8(uint8(codes.V[codeAt(i, o, n)])))
			}
			d := num{dot, math.Abs(dot)} // may be rounded to float32
			v := unit.mul(exact(s.V[o])).mul(d).add(unit.mul(exact(z.V[o])).mul(exact(total)))
			if len(in) == 5 {
				v = v.add(exact(in[4].V[o]))
			}
			y.set(p*m+o, v)
		}
	}
}
