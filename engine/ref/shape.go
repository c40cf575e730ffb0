package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(flatten)
	define(flattenBackward)
}

// flattened calls f with the place of every element in NHWC and in Flatten's order.
func flattened(x engine.Spec, f func(nhwc, flat int)) {
	n, h, w, c, _ := x.NHWC()
	for at := range n * h * w * c {
		k, j, i, b := at%c, at/c%w, at/c/w%h, at/c/w/h
		f(at, ((b*c+k)*h+i)*w+j)
	}
}

func flatten(_ engine.Flatten, in, out []Array) {
	flattened(in[0].Spec, func(nhwc, flat int) { out[0].V[flat] = in[0].V[nhwc] })
}

func flattenBackward(op engine.FlattenBackward, in, out []Array) {
	flattened(op.X, func(nhwc, flat int) { out[0].V[nhwc] = in[0].V[flat] })
}
