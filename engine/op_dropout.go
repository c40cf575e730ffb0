package engine

import "fmt"

// Dropout is PyTorch's nn.Dropout in training (Srivastava et al., JMLR 15,
// 2014): y = x·m/(1-P), where m is 0 with probability P, else 1.
//
// Inputs: x of any shape and counter, four uint32: the two halves of the
// run's seed and the two halves of the step's number. Element i (row-major, NHWC) uses
// word i mod 4 of Philox4x32-10 (Salmon et al., SC 2011) with the key
// counter[0:2] and the counter (i/4, Stream, counter[2], counter[3]); it is
// dropped if that word is below P·2³². So the mask depends on nothing but
// seed, step and place, and the gradient makes it again instead of storing it.
type Dropout struct {
	P float32
	// Stream tells the dropouts of one net apart.
	Stream uint32
}

// DropoutCounter is the spec of Dropout's second input.
var DropoutCounter = Spec{Shape: []int{4}, DType: Uint32}

// DropoutInput is the name of the graph's input that Builder.DropoutCounter
// declares. Whoever runs the graph binds it to the seed and the step's number.
const DropoutInput = "dropout counter"

// DropoutCounter returns the counter of all dropouts of the graph, an input of
// the name DropoutInput.
func (b *Builder) DropoutCounter() *Value { return b.Shared(DropoutInput, DropoutCounter) }

// Threshold returns the number below which a random word drops its element.
func (op Dropout) Threshold() uint32 {
	return uint32(min(float64(op.P)*(1<<32), 1<<32-1))
}

// Infer implements Op.
func (op Dropout) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !in[1].Equal(DropoutCounter) {
		return nil, fmt.Errorf("%w: takes x and a counter %v, got %v", ErrShape, DropoutCounter, in)
	}
	if !(op.P >= 0 && op.P < 1) {
		return nil, fmt.Errorf("%w: P = %v is not in [0, 1)", ErrShape, op.P)
	}
	return []Spec{in[0]}, checkActivations(in[0])
}

// Backward implements Differentiable: dx = dy·m/(1-P), the op itself.
func (op Dropout) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(op, dOut[0], n.In[1]), nil}, nil
}
