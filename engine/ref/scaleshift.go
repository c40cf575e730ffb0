package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(scaleShift)
	define(scaleShiftBackward)
}

func scaleShift(op engine.ScaleShift, in, out []Array) {
	x := in[0]
	c := in[1].Len()
	for i, v := range x.V {
		y, rest := exact(v), in[1:]
		if op.Scale {
			y, rest = y.mul(exact(rest[0].V[i%c])), rest[1:]
		}
		if op.Shift {
			y = y.add(exact(rest[0].V[i%c]))
		}
		out[0].set(i, y)
	}
}

func scaleShiftBackward(op engine.ScaleShiftBackward, in, out []Array) {
	x, dy := in[0], in[1]
	c := out[0].Len()
	dw, db := make([]sum, c), make([]sum, c)
	for i, d := range dy.V {
		dw[i%c].dot(d, x.V[i])
		db[i%c].dot(d, 1)
	}
	for k := range c {
		if op.Scale {
			out[0].set(k, dw[k].num)
		}
		if op.Shift {
			out[len(out)-1].set(k, db[k].num)
		}
	}
	setK(out, x.Len()/c)
}
