package engine

import "fmt"

// maxWinners is the most elements of a window whose places a byte can tell apart.
const maxWinners = 256

// MaxPool2DWinners is what the planner makes of a MaxPool2D for which there is a
// gradient, where the backend has it. It takes x [N,H,W,C] to MaxPool2D's
// y [N,OH,OW,C] and to which element won each window, won [N,OH,OW,C] in Uint8: row·KW + column
// in the window of the first largest element, padding counted, of at most 256. The
// gradient reads won in the place of x.
type MaxPool2DWinners struct{ Window }

// Infer implements Op.
func (op MaxPool2DWinners) Infer(in []Spec) ([]Spec, error) {
	y, err := MaxPool2D(op).Infer(in)
	if err == nil && op.Kernel[0]*op.Kernel[1] > maxWinners {
		err = fmt.Errorf("%w: windows of %v have more than %d elements", ErrShape, op.Kernel, maxWinners)
	}
	if err != nil {
		return nil, err
	}
	return append(y, Spec{Shape: y[0].Shape, DType: Uint8}), nil
}

// MaxPool2DWinnersBackward is the gradient of MaxPool2DWinners: it takes won and
// dy [N,OH,OW,C] to dx of spec X, in which each dy is added to the element that won.
type MaxPool2DWinnersBackward struct {
	Window
	X Spec
}

// Infer implements Op.
func (op MaxPool2DWinnersBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes won and dy, got %d inputs", ErrShape, len(in))
	}
	out, err := MaxPool2DWinners{op.Window}.Infer([]Spec{op.X})
	switch {
	case err != nil:
		return nil, err
	case !in[0].Equal(out[1]) || !in[1].Equal(out[0]):
		return nil, fmt.Errorf("%w: won %v and dy %v for x %v", ErrShape, in[0], in[1], op.X)
	}
	return []Spec{op.X}, nil
}
