package engine

import "fmt"

// LocalResponseNorm is PyTorch's nn.LocalResponseNorm (Krizhevsky, Sutskever and
// Hinton, 2012) of the channels, the last axis, of x [N,H,W,C] or [N,C]:
//
//	y[c] = x[c]·s[c]^-Beta    s[c] = K + Alpha/Size·Σ_j x[j]²
//
// over the channels j from c-⌊Size/2⌋ to c+⌊(Size-1)/2⌋ that there are. K is
// positive, Alpha and Beta are not negative.
type LocalResponseNorm struct {
	Size           int
	Alpha, Beta, K float32
}

// Reach returns how many channels before and behind its own a sum has.
func (op LocalResponseNorm) Reach() (before, behind int) { return op.Size / 2, (op.Size - 1) / 2 }

func (op LocalResponseNorm) infer(x Spec) error {
	if _, _, err := lastAxis(x); err != nil {
		return err
	}
	if op.Size < 1 || !(op.Alpha >= 0) || !(op.Beta >= 0) || !(op.K > 0) {
		return fmt.Errorf("%w: %+v", ErrShape, op)
	}
	return checkActivations(x)
}

// Infer implements Op.
func (op LocalResponseNorm) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	return []Spec{in[0]}, op.infer(in[0])
}

// Backward implements Differentiable.
func (op LocalResponseNorm) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(LocalResponseNormBackward{op}, n.In[0], dOut[0])}, nil
}

// LocalResponseNormBackward is the gradient of LocalResponseNorm, from x and dy:
//
//	dx[c] = dy[c]·s[c]^-Beta - 2·Alpha·Beta/Size·x[c]·Σ_j dy[j]·x[j]·s[j]^(-Beta-1)
//
// over the channels j whose sums have c.
type LocalResponseNormBackward struct{ LocalResponseNorm LocalResponseNorm }

// Infer implements Op.
func (op LocalResponseNormBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[0].Equal(in[1]) {
		return nil, fmt.Errorf("%w: takes x and dy of its shape, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, op.LocalResponseNorm.infer(in[0])
}
