package ref

import "github.com/potstill/potstill/engine"

func init() { define(channelShuffle) }

func channelShuffle(op engine.ChannelShuffle, in, out []Array) {
	c := channels(in[0].Spec)
	for i := range out[0].V {
		o := i % c
		out[0].V[i] = in[0].V[i-o+o%op.Groups*(c/op.Groups)+o/op.Groups]
	}
}
