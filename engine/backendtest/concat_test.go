package backendtest

import (
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// channelBugs are wrong in which channel goes where.
func channelBugs() []bug {
	return []bug{
		{name: "inputs of one width joined in the wrong order", stem: "Concat", eval: on(func(_ engine.Op, in []ref.Array) {
			if in[0].Equal(in[len(in)-1].Spec) {
				slices.Reverse(in)
			}
		})},
		{name: "joined as if there were one pixel", stem: "Concat", eval: then(func(_ engine.Op, in, out []ref.Array) {
			y := out[0].V[:0]
			for _, x := range in {
				y = append(y, x.V...)
			}
		})},
		{name: "one channel too early", stem: "Slice", eval: as(func(op engine.Slice) engine.Slice {
			if op.Start > 0 {
				op.Start, op.End = op.Start-1, op.End-1
			}
			return op
		})},
		{name: "shuffled back", stem: "ChannelShuffle", eval: func(op engine.Op, in []ref.Array) ([]ref.Array, error) {
			s := in[0].Shape
			return ref.Eval(engine.ChannelShuffle{Groups: s[len(s)-1] / op.(engine.ChannelShuffle).Groups}, in)
		}},
		{name: "channels that nothing was taken from keep what they had", stem: "SliceBackward", after: func(c call) {
			op, k := c.out[0].Shape[len(c.out[0].Shape)-1], c.in[0].Shape[len(c.in[0].Shape)-1]
			if k < op && c.n > 0 {
				_ = c.out[0].Buf.Write(c.out[0].Off+4*(op-1), c.before[4*(op-1):][:4])
			}
		}},
	}
}
