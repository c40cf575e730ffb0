package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(maxPool2D)
	define(maxPool2DBackward)
	define(maxPool2DWinners)
	define(maxPool2DWinnersBackward)
	define(avgPool2D)
	define(avgPool2DBackward)
	define(globalAvgPool)
	define(globalAvgPoolBackward)
}

// A windowing says which pixels the windows of a pool cover along an axis.
type windowing interface {
	Spans(axis, n int) []engine.Span
}

// windows calls f for every element of y [N,OH,OW,C] with the elements of
// x [N,H,W,C] in its window, in row-major order and without the padding; steps
// are the windows' dilations.
func windows(w windowing, steps engine.Pair, x, y engine.Spec, f func(y, i, j int, xs []int)) {
	n, h, ww, c, _ := x.NHWC()
	_, oh, ow, _, _ := y.NHWC()
	rows, cols := w.Spans(0, h), w.Spans(1, ww)
	var xs []int
	for at := range n * oh * ow * c {
		k, j, i, b := at%c, at/c%ow, at/c/ow%oh, at/c/ow/oh
		xs = xs[:0]
		for u := rows[i].First; u < rows[i].End; u += steps[0] {
			for v := cols[j].First; v < cols[j].End; v += steps[1] {
				xs = append(xs, ((b*h+u)*ww+v)*c+k)
			}
		}
		f(at, i, j, xs)
	}
}

// winner returns the first largest of the elements xs of x. A NaN wins.
func winner(x []float64, xs []int) int {
	best := xs[0]
	for _, i := range xs {
		if x[i] > x[best] || math.IsNaN(x[i]) && !math.IsNaN(x[best]) {
			best = i
		}
	}
	return best
}

func maxPool2D(op engine.MaxPool2D, in, out []Array) {
	maxPool(op.Window, op.Complete().Dilation, in, out)
}

func maxPool2DBackward(op engine.MaxPool2DBackward, in, out []Array) {
	maxPoolBackward(op.Window, op.Complete().Dilation, in, out)
	out[0].K = op.Kernel[0] * op.Kernel[1]
}

func maxPool(w windowing, steps engine.Pair, in, out []Array) {
	windows(w, steps, in[0].Spec, out[0].Spec, func(y, _, _ int, xs []int) {
		out[0].V[y] = in[0].V[winner(in[0].V, xs)]
	})
}

func maxPoolBackward(w windowing, steps engine.Pair, in, out []Array) {
	x, dy, dx := in[0], in[1], out[0]
	windows(w, steps, x.Spec, dy.Spec, func(y, _, _ int, xs []int) {
		i := winner(x.V, xs)
		dx.V[i] += dy.V[y]
		dx.Mag[i] += math.Abs(dy.V[y])
	})
}

func maxPool2DWinners(op engine.MaxPool2DWinners, in, out []Array) {
	w, x := op.Complete(), in[0]
	maxPool(w, w.Dilation, in, out[:1])
	_, h, ww, c, _ := x.Spec.NHWC()
	windows(w, w.Dilation, x.Spec, out[0].Spec, func(y, i, j int, xs []int) {
		at := winner(x.V, xs) / c
		row, col := at/ww%h, at%ww
		u, v := (row+w.Pad[0]-i*w.Stride[0])/w.Dilation[0], (col+w.Pad[1]-j*w.Stride[1])/w.Dilation[1]
		out[1].V[y] = float64(u*w.Kernel[1] + v)
	})
}

func maxPool2DWinnersBackward(op engine.MaxPool2DWinnersBackward, in, out []Array) {
	w, won, dy, dx := op.Complete(), in[0], in[1], out[0]
	_, h, ww, c, _ := op.X.NHWC()
	_, oh, ow, _, _ := dy.NHWC()
	for at, d := range dy.V {
		k, j, i, n := at%c, at/c%ow, at/c/ow%oh, at/c/ow/oh
		u, v := int(won.V[at])/w.Kernel[1], int(won.V[at])%w.Kernel[1]
		row, col := i*w.Stride[0]-w.Pad[0]+u*w.Dilation[0], j*w.Stride[1]-w.Pad[1]+v*w.Dilation[1]
		x := ((n*h+row)*ww+col)*c + k
		dx.V[x] += d
		dx.Mag[x] += math.Abs(d)
	}
	dx.K = w.Kernel[0] * w.Kernel[1]
}

func avgPool2D(op engine.AvgPool2D, in, out []Array) {
	_, h, w, _, _ := in[0].NHWC()
	avgPool(op.Window, op.Divisors(0, h), op.Divisors(1, w), in, out)
}

func avgPool2DBackward(op engine.AvgPool2DBackward, in, out []Array) {
	_, h, w, _, _ := op.X.NHWC()
	avgPoolBackward(op.AvgPool2D.Window, op.AvgPool2D.Divisors(0, h), op.AvgPool2D.Divisors(1, w), op.X, in, out)
}

// avgPool makes means of windows over the product of two divisors each.
func avgPool(w windowing, rows, cols []int, in, out []Array) {
	windows(w, engine.Both(1), in[0].Spec, out[0].Spec, func(y, i, j int, xs []int) {
		k := rows[i] * cols[j]
		var s sum
		for _, i := range xs {
			s.dot(in[0].V[i], 1/float64(k))
		}
		out[0].set(y, s.num)
		out[0].K = max(out[0].K, k)
	})
}

func avgPoolBackward(w windowing, rows, cols []int, x engine.Spec, in, out []Array) {
	dy, dx := in[0], out[0]
	windows(w, engine.Both(1), x, dy.Spec, func(y, i, j int, xs []int) {
		k := rows[i] * cols[j]
		d := dy.V[y] / float64(k)
		for _, i := range xs {
			dx.V[i] += d
			dx.Mag[i] += math.Abs(d)
		}
		out[0].K = max(out[0].K, k)
	})
}

func globalAvgPool(_ engine.GlobalAvgPool, in, out []Array) {
	n, h, w, c, _ := in[0].NHWC()
	for at := range n * c {
		b, k := at/c, at%c
		var s sum
		for p := range h * w {
			s.dot(in[0].V[(b*h*w+p)*c+k], 1/float64(h*w))
		}
		out[0].set(at, s.num)
	}
	out[0].K = h * w
}

func globalAvgPoolBackward(op engine.GlobalAvgPoolBackward, in, out []Array) {
	_, h, w, c, _ := op.X.NHWC()
	for i := range out[0].V {
		b, k := i/(h*w*c), i%c
		out[0].set(i, exact(in[0].V[b*c+k]).div(exact(float64(h*w))))
	}
}
