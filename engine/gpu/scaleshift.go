package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerScaleShift, engine.ScaleShift{})
	lowers((*Backend).lowerScaleShiftBackward, engine.ScaleShiftBackward{})
}

func (b *Backend) lowerScaleShift(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op := o.(engine.ScaleShift)
	run, err := b.channelwise(in[0], 1)
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		var w, shift cuda.Ptr
		if op.Scale {
			w = in[1]
		}
		if op.Shift {
			shift = in[len(in)-1]
		}
		return run(in[0], w, shift, out[0])
	}}, err
}

func (b *Backend) lowerScaleShiftBackward(o engine.Op, in, _ []engine.Spec) (lowering, error) {
	op := o.(engine.ScaleShiftBackward)
	g, err := b.channelwiseGrad(in[0], 1)
	if err != nil {
		return lowering{}, err
	}
	total, err := b.columnTotal(g)
	return lowering{ws: g.ws(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := g.run(in[0], in[1], 0, 0, ws); err != nil {
			return err
		}
		if op.Scale {
			if err := total(ws, out[0], 0); err != nil {
				return err
			}
		}
		if op.Shift {
			return total(ws, out[len(out)-1], 1)
		}
		return nil
	}}, err
}
