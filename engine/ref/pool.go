package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
)

func init() {
	define(maxPool2D)
	define(maxPool2DBackward)
	define(avgPool2D)
	define(avgPool2DBackward)
	define(globalAvgPool)
	define(globalAvgPoolBackward)
}

// windows calls f for every element of y [N,OH,OW,C] with the elements of
// x [N,H,W,C] in its window, in row-major order and without the padding.
func windows(w engine.Window, x, y engine.Spec, f func(y int, xs []int)) {
	stride := w.Stride
	if stride == 0 {
		stride = w.Kernel
	}
	n, h, ww, c, _ := x.NHWC()
	_, oh, ow, _, _ := y.NHWC()
	xs := make([]int, 0, w.Kernel*w.Kernel)
	for at := range n * oh * ow * c {
		k, j, i, b := at%c, at/c%ow, at/c/ow%oh, at/c/ow/oh
		xs = xs[:0]
		for u := max(i*stride-w.Pad, 0); u < min(i*stride-w.Pad+w.Kernel, h); u++ {
			for v := max(j*stride-w.Pad, 0); v < min(j*stride-w.Pad+w.Kernel, ww); v++ {
				xs = append(xs, ((b*h+u)*ww+v)*c+k)
			}
		}
		f(at, xs)
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
	windows(op.Window, in[0].Spec, out[0].Spec, func(y int, xs []int) {
		out[0].V[y] = in[0].V[winner(in[0].V, xs)]
	})
}

func maxPool2DBackward(op engine.MaxPool2DBackward, in, out []Array) {
	x, dy, dx := in[0], in[1], out[0]
	windows(op.Window, x.Spec, dy.Spec, func(y int, xs []int) {
		i := winner(x.V, xs)
		dx.V[i] += dy.V[y]
		dx.Mag[i] += math.Abs(dy.V[y])
	})
	out[0].K = op.Kernel * op.Kernel
}

func avgPool2D(op engine.AvgPool2D, in, out []Array) {
	k := op.Kernel * op.Kernel
	windows(op.Window, in[0].Spec, out[0].Spec, func(y int, xs []int) {
		var s sum
		for _, i := range xs {
			s.dot(in[0].V[i], 1/float64(k))
		}
		out[0].set(y, s.num)
	})
	out[0].K = k
}

func avgPool2DBackward(op engine.AvgPool2DBackward, in, out []Array) {
	dy, dx := in[0], out[0]
	k := op.Kernel * op.Kernel
	windows(op.Window, op.X, dy.Spec, func(y int, xs []int) {
		d := dy.V[y] / float64(k)
		for _, i := range xs {
			dx.V[i] += d
			dx.Mag[i] += math.Abs(d)
		}
	})
	out[0].K = k
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
