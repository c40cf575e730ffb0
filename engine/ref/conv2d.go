package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(conv2D)
	define(conv2DBackwardData)
	define(conv2DBackwardWeight)
}

// A convGeometry is the geometry of a convolution, named as in engine.Conv2D.
type convGeometry struct {
	n, h, w, c    int // x
	kh, kw, cg, o int // w; cg input channels a group
	oh, ow        int // y
	s, d          engine.Pair
	top, left     int // padding
	groups, og    int // og output channels a group
}

func convOf(op engine.Conv2D, x, w, y engine.Spec) convGeometry {
	op = op.Complete()
	g := convGeometry{s: op.Stride, d: op.Dilation, top: op.Pad[0], left: op.Pad[1], groups: op.Groups}
	g.n, g.h, g.w, g.c, _ = x.NHWC()
	g.kh, g.kw, g.cg, g.o, _ = w.NHWC()
	g.oh, g.ow = y.Shape[1], y.Shape[2]
	g.og = g.o / g.groups
	return g
}

// each calls f for every output pixel [n,i,j] and every tap [u,v] that falls
// inside x, with the offsets of x[n,h,w,0], y[n,i,j,0] and w[u,v,0,0].
func (g convGeometry) each(f func(x, y, w int)) {
	for n := range g.n {
		for i := range g.oh {
			for j := range g.ow {
				for u := range g.kh {
					h := i*g.s[0] + u*g.d[0] - g.top
					if h < 0 || h >= g.h {
						continue
					}
					for v := range g.kw {
						w := j*g.s[1] + v*g.d[1] - g.left
						if w < 0 || w >= g.w {
							continue
						}
						f(((n*g.h+h)*g.w+w)*g.c, ((n*g.oh+i)*g.ow+j)*g.o, (u*g.kw+v)*g.cg*g.o)
					}
				}
			}
		}
	}
}

func conv2D(op engine.Conv2D, in, out []Array) {
	onRoundedWeight(in, out, func(in, out []Array) { convolve(op, in, out) })
}

func convolve(op engine.Conv2D, in, out []Array) {
	x, w, y := in[0], in[1], out[0]
	g := convOf(op, x.Spec, w.Spec, y.Spec)
	g.each(func(xi, yi, wi int) {
		for k := range g.groups {
			for c := range g.cg {
				a, at := x.V[xi+k*g.cg+c], wi+c*g.o+k*g.og
				row := w.V[at : at+g.og]
				v := y.V[yi+k*g.og:][:len(row)]
				m := y.Mag[yi+k*g.og:][:len(row)]
				for o, b := range row {
					p := a * b
					v[o] += p
					m[o] += math.Abs(p)
				}
			}
		}
	})
	out[0].K = g.kh*g.kw*g.cg + len(in) - 2
	rest := in[2:]
	if y.DType == engine.BFloat16 && len(rest) > 0 {
		mayRoundTerms(op, rest, &out[0])
	}
	if op.Epilogue.Residual {
		addTo(y, rest[len(rest)-1])
		rest = rest[:len(rest)-1]
	}
	if len(rest) == 1 {
		addTo(y, rest[0])
	}
	for i, v := range y.V {
		x := num{v, y.Mag[i]}
		z := act(op.Epilogue.Act, x)
		if y.Slack != nil {
			s := z
			if op.Epilogue.Act.FromX() {
				s = x
			}
			y.Slack[i] *= math.Max(1, math.Abs(slope(op.Epilogue.Act, s).v))
		}
		y.set(i, z)
	}
}

// mayRoundTerms lets the product y, and the bias among what is added to it, be
// rounded to bfloat16 before that.
func mayRoundTerms(op engine.Conv2D, added []Array, y *Array) {
	for i, v := range y.V {
		y.mayRound(i, v)
		if !op.Epilogue.Residual || len(added) == 2 {
			y.mayRound(i, added[0].V[i%len(added[0].V)])
		}
	}
}

// addTo adds x to y; x is repeated as often as y is longer.
func addTo(y, x Array) {
	for i := range y.V {
		v := x.V[i%len(x.V)]
		y.V[i] += v
		y.Mag[i] += math.Abs(v)
	}
}

func conv2DBackwardData(op engine.Conv2DBackwardData, in, out []Array) {
	onRoundedWeight(in, out, func(in, out []Array) { convolveBack(op, in, out) })
}

func convolveBack(op engine.Conv2DBackwardData, in, out []Array) {
	dy, w, dx := in[0], in[1], out[0]
	g := convOf(op.Conv2D, op.X, w.Spec, dy.Spec)
	g.each(func(xi, yi, wi int) {
		for k := range g.groups {
			row := dy.V[yi+k*g.og:][:g.og]
			for c := range g.cg {
				at := wi + c*g.o + k*g.og
				var s sum
				for o, b := range w.V[at : at+g.og] {
					s.dot(row[o], b)
				}
				dx.V[xi+k*g.cg+c] += s.v
				dx.Mag[xi+k*g.cg+c] += s.e
			}
		}
	})
	out[0].K = g.kh * g.kw * g.og
}

func conv2DBackwardWeight(op engine.Conv2DBackwardWeight, in, out []Array) {
	x, dy, dw := in[0], in[1], out[0]
	g := convOf(op.Conv2D, x.Spec, op.W, dy.Spec)
	g.each(func(xi, yi, wi int) {
		for k := range g.groups {
			row := dy.V[yi+k*g.og:][:g.og]
			for c := range g.cg {
				a, at := x.V[xi+k*g.cg+c], wi+c*g.o+k*g.og
				v, m := dw.V[at:at+g.og], dw.Mag[at:at+g.og]
				for o, b := range row {
					p := a * b
					v[o] += p
					m[o] += math.Abs(p)
				}
			}
		}
	})
	out[0].K = g.n * g.oh * g.ow
	if x.DType == engine.BFloat16 {
		for i, v := range dw.V {
			out[0].mayRound(i, v)
		}
	}
	if op.Bias {
		channelSums(dy, out[1])
		out[1].K = g.n * g.oh * g.ow
	}
}
