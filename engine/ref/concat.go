package ref

import "github.com/potstill/potstill/engine"

func init() {
	define(concat)
	define(slice)
	define(sliceBackward)
}

// channels returns the length of s's last axis.
func channels(s engine.Spec) int { return s.Shape[len(s.Shape)-1] }

func concat(_ engine.Concat, in, out []Array) {
	y, at := out[0], 0
	for _, x := range in {
		for i, v := range x.V {
			c := channels(x.Spec)
			y.V[i/c*channels(y.Spec)+at+i%c] = v
		}
		at += channels(x.Spec)
	}
}

func slice(op engine.Slice, in, out []Array) {
	x, y := in[0], out[0]
	for i := range y.V {
		c := channels(y.Spec)
		y.V[i] = x.V[i/c*channels(x.Spec)+op.Start+i%c]
	}
}

func sliceBackward(op engine.SliceBackward, in, out []Array) {
	dy, dx := in[0], out[0]
	for i, v := range dy.V {
		c := channels(dy.Spec)
		dx.V[i/c*channels(dx.Spec)+op.Start+i%c] = v
	}
}
