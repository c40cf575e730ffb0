package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerPReLU, engine.PReLU{})
	lowers((*Backend).lowerPReLUBackward, engine.PReLUBackward{})
}

// preluDefines are the options of the variant for slopes w.
func preluDefines(w engine.Spec) []string {
	if w.Shape[0] == 1 {
		return []string{"-DPRELU", "-DONE"}
	}
	return []string{"-DPRELU"}
}

func (b *Backend) lowerPReLU(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	run, err := b.channelwise(in[0], 1, preluDefines(in[1])...)
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error { return run(in[0], in[1], 0, out[0]) }}, err
}

func (b *Backend) lowerPReLUBackward(_ engine.Op, in, _ []engine.Spec) (lowering, error) {
	g, err := b.channelwiseGrad(in[0], 1, preluDefines(in[1])...)
	if err != nil {
		return lowering{}, err
	}
	total, err := b.factorTotal(g, in[1])
	return lowering{ws: g.ws(), enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := g.run(in[0], in[2], in[1], out[0], ws); err != nil {
			return err
		}
		return total(ws, out[1])
	}}, err
}
