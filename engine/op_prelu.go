package engine

import "fmt"

// PReLU is PyTorch's nn.PReLU (He et al., arXiv:1502.01852): y = x for x > 0,
// else w·x, with a slope w for each channel, the last axis, of x [N,H,W,C] or
// [N,C], or one for all. Inputs: x, w [C] or [1], float32. Output: y.
type PReLU struct{}

func preluSpecs(x, w Spec) error {
	if w.Equal(F32(1)) {
		_, _, err := lastAxis(x)
		return err
	}
	return checkLastAxis(x, w)
}

// Infer implements Op.
func (op PReLU) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes x and w, got %d inputs", ErrShape, len(in))
	}
	return []Spec{in[0]}, preluSpecs(in[0], in[1])
}

// Backward implements Differentiable.
func (op PReLU) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return b.Apply(PReLUBackward{}, n.In[0], n.In[1], dOut[0])[:2], nil
}

// PReLUBackward is the gradient of PReLU. Inputs: x, w [C] or [1], dy of x's
// shape. With the sum over all that has the slope:
//
//	dx = dy for x > 0, else w·dy    dw = Σ dy·min(x, 0)
//
// Outputs: dx, dw.
type PReLUBackward struct{}

// Infer implements Op.
func (op PReLUBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 || !in[2].Equal(in[0]) {
		return nil, fmt.Errorf("%w: takes x, w and dy of x's shape, got %v", ErrShape, in)
	}
	return []Spec{in[0], in[1]}, preluSpecs(in[0], in[1])
}
