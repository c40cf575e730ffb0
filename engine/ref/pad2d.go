package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(pad2D)
	define(pad2DBackward)
}

// repeats calls f for each element of y with the element of x that it repeats, or
// -1.
func repeats(op engine.Pad2D, x, y engine.Spec, f func(y, x int)) {
	_, h, w, c, _ := x.NHWC()
	_, oh, ow, _, _ := y.NHWC()
	rows, cols := op.Sources(0, h), op.Sources(1, w)
	for at := range y.Len() {
		k, j, i, n := at%c, at/c%ow, at/c/ow%oh, at/c/ow/oh
		if rows[i] < 0 || cols[j] < 0 {
			f(at, -1)
		} else {
			f(at, ((n*h+rows[i])*w+cols[j])*c+k)
		}
	}
}

func pad2D(op engine.Pad2D, in, out []Array) {
	repeats(op, in[0].Spec, out[0].Spec, func(y, x int) {
		if x < 0 {
			out[0].V[y] = float64(op.Value)
		} else {
			out[0].V[y] = in[0].V[x]
		}
	})
}

func pad2DBackward(op engine.Pad2DBackward, in, out []Array) {
	times := make([]int, len(out[0].V))
	repeats(op.Pad2D, op.X, in[0].Spec, func(y, x int) {
		if x < 0 {
			return
		}
		out[0].V[x] += in[0].V[y]
		out[0].Mag[x] += math.Abs(in[0].V[y])
		times[x]++
		out[0].K = max(out[0].K, times[x])
	})
}
