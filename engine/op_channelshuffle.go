package engine

import "fmt"

// ChannelShuffle is PyTorch's nn.ChannelShuffle on the channels, the last axis, of
// x [N,H,W,C] or [N,C] (Zhang et al., "ShuffleNet", arXiv:1707.01083): they are
// written as Groups rows of C/Groups and read as columns,
//
//	y[..., o] = x[..., (o mod Groups)·(C/Groups) + ⌊o/Groups⌋]
//
// Groups must divide C. The gradient is the shuffle with C/Groups groups, which
// is the inverse.
type ChannelShuffle struct{ Groups int }

// Infer implements Op.
func (op ChannelShuffle) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%w: takes x, got %d inputs", ErrShape, len(in))
	}
	_, c, err := lastAxis(in[0])
	if err != nil {
		return nil, err
	}
	if op.Groups < 1 || c%op.Groups != 0 {
		return nil, fmt.Errorf("%w: %d groups of the channels of %v", ErrShape, op.Groups, in[0])
	}
	return []Spec{in[0]}, nil
}

// Backward implements Differentiable.
func (op ChannelShuffle) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	x := n.In[0].Shape
	return []*Value{b.One(ChannelShuffle{Groups: x[len(x)-1] / op.Groups}, dOut[0])}, nil
}
