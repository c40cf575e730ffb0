package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerFakeQuant, engine.FakeQuant{})
	lowers((*Backend).lowerFakeQuantBackward, engine.FakeQuantBackward{})
}

// fakeDefines are the options of the variant for these scales.
func fakeDefines(scale engine.Spec) []string {
	if scale.Shape[0] == 1 {
		return []string{"-DFAKE", "-DONE"}
	}
	return []string{"-DFAKE"}
}

func (b *Backend) lowerFakeQuant(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op := o.(engine.FakeQuant)
	run, err := b.channelwiseOf(&channelwiseArgs{lo: float32(op.Lo), hi: float32(op.Hi)}, in[0], 1, fakeDefines(in[1])...)
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		return run(in[0], in[1], zeroPoint(op.Zero, in), out[0])
	}}, err
}

// zeroPoint returns the last input where a quantizer has a zero point.
func zeroPoint(has bool, in []cuda.Ptr) cuda.Ptr {
	if has {
		return in[len(in)-1]
	}
	return 0
}

func (b *Backend) lowerFakeQuantBackward(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op := o.(engine.FakeQuantBackward)
	g, err := b.channelwiseGrad(in[1], 1, fakeDefines(in[2])...)
	if err != nil {
		return lowering{}, err
	}
	g.args.lo, g.args.hi, g.args.gain = float32(op.Lo), float32(op.Hi), op.Gain
	total, err := b.factorTotal(g, in[2])
	return lowering{ws: g.ws(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		g.args.b = zeroPoint(op.Zero, in)
		if err := g.run(in[1], in[0], in[2], out[0], ws); err != nil {
			return err
		}
		return total(ws, out[1])
	}}, err
}
