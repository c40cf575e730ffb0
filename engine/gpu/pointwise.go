package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerPointwise, engine.Div{}, engine.Maximum{}, engine.Minimum{}, engine.ChosenBackward{})
}

// What pointwise.cu computes.
const (
	opProduct = iota
	opQuotient
	opLarger
	opSmaller
	opLargerBackward
	opSmallerBackward
)

// pointwiseArgs are the arguments of pointwise.cu, field for field.
type pointwiseArgs struct {
	a, b, dy, y cuda.Ptr
	n           int64
}

func (b *Backend) lowerPointwise(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	what := opProduct
	switch op := op.(type) {
	case engine.Div:
		what = opQuotient
	case engine.Maximum:
		what = opLarger
	case engine.Minimum:
		what = opSmaller
	case engine.ChosenBackward:
		what = opLargerBackward
		if op.Least {
			what = opSmallerBackward
		}
	}
	f, err := b.function("pointwise", "pointwise", append(stored(in[0]), fmt.Sprintf("-DWHAT=%d", what))...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(in[0])
	a := &pointwiseArgs{n: int64(in[0].Len())}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.a, a.b, a.y = in[0], in[1], out[0]
		if len(in) > 2 {
			a.dy = in[2]
		}
		return launch(b, f, grid, block, 0, a)
	}}, nil
}
