package engine

import "fmt"

// StochasticDepth is torchvision's StochasticDepth in training, of mode "row"
// (Huang et al., arXiv:1603.09382): y = x·m/(1-P), where m is 0 for a whole image
// of the batch with probability P, else 1.
//
// Inputs: x [N,…] and counter, as in Dropout, from which image n takes the word
// that element n takes there.
type StochasticDepth struct {
	P float32
	// Stream tells the random numbers of this op from those of others.
	Stream uint32
}

// Threshold returns the number below which a random word drops its image.
func (op StochasticDepth) Threshold() uint32 { return Dropout(op).Threshold() }

// Infer implements Op.
func (op StochasticDepth) Infer(in []Spec) ([]Spec, error) {
	if len(in) > 0 && len(in[0].Shape) == 0 {
		return nil, fmt.Errorf("%w: x has no axis of images", ErrShape)
	}
	return Dropout(op).Infer(in)
}

// Backward implements Differentiable: dx = dy·m/(1-P), the op itself.
func (op StochasticDepth) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(op, dOut[0], n.In[1]), nil}, nil
}
