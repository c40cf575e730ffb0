package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(func(op engine.AdaptiveMaxPool2D, in, out []Array) { maxPool(op, engine.Both(1), in, out) })
	define(func(op engine.AdaptiveMaxPool2DBackward, in, out []Array) {
		maxPoolBackward(op, engine.Both(1), in, out)
		out[0].K = overlap(op.Adaptive, in[0].Spec)
	})
	define(func(op engine.AdaptiveAvgPool2D, in, out []Array) {
		_, h, w, _, _ := in[0].NHWC()
		avgPool(op, extents(op.Adaptive, 0, h), extents(op.Adaptive, 1, w), in, out)
	})
	define(func(op engine.AdaptiveAvgPool2DBackward, in, out []Array) {
		_, h, w, _, _ := op.X.NHWC()
		avgPoolBackward(op, extents(op.Adaptive, 0, h), extents(op.Adaptive, 1, w), op.X, in, out)
		out[0].K = max(out[0].K, overlap(op.Adaptive, op.X))
	})
}

// extents returns how many pixels the windows have along an axis of n.
func extents(a engine.Adaptive, axis, n int) (out []int) {
	for _, s := range a.Spans(axis, n) {
		out = append(out, s.Extent)
	}
	return out
}

// overlap bounds how many windows a pixel is in: more than one where they are more
// than pixels, and at the windows' seams.
func overlap(a engine.Adaptive, x engine.Spec) int {
	_, h, w, _, _ := x.NHWC()
	return (a.Size[0]/h + 2) * (a.Size[1]/w + 2)
}
