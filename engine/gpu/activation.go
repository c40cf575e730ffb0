package gpu

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerActivation, engine.Activation{})
	lowers((*Backend).lowerActivationBackward, engine.ActivationBackward{})
}

// The arguments of activation.cu, field for field.
type (
	activationArgs struct {
		x, y cuda.Ptr
		n    int64
		f    int32
	}
	activationBackwardArgs struct {
		s, dy, dx cuda.Ptr
		n         int64
		f         int32
	}
)

// actDefines are the options of the variant that computes f, behind more. What
// act in common.cuh tells apart by its argument needs none.
func actDefines(f engine.Act, more ...string) []string {
	if f.Fn <= engine.FuncReLU6 {
		return more
	}
	more = append(more, fmt.Sprintf("-DACT_FN=%d", f.Fn))
	for i, c := range f.Constants() {
		more = append(more, fmt.Sprintf("-DACT_%c=0x%08xu", 'A'+i, math.Float32bits(c)))
	}
	if f.FromX() {
		more = append(more, "-DACT_FROM_X")
	}
	return more
}

func (b *Backend) lowerActivation(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	x, act := in[0], op.(engine.Activation).F
	f, err := b.function("activation", "activation", actDefines(act, stored(x)...)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(x)
	a := &activationArgs{n: int64(x.Len()), f: int32(act.Fn)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		return launch(b, f, grid, block, 0, a)
	}}, nil
}

func (b *Backend) lowerActivationBackward(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	s, act := in[0], op.(engine.ActivationBackward).F
	f, err := b.function("activation", "activation_backward", actDefines(act, stored(s)...)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(s)
	a := &activationBackwardArgs{n: int64(s.Len()), f: int32(act.Fn)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.s, a.dy, a.dx = in[0], in[1], out[0]
		return launch(b, f, grid, block, 0, a)
	}}, nil
}
