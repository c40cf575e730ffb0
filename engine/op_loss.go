package engine

import "fmt"

// CrossEntropy is PyTorch's nn.CrossEntropyLoss with probabilities as target
// and the mean over the batch:
//
//	loss = -1/N · Σ_n Σ_k q[n,k]·log softmax(x[n])[k],   q = (1-ε)·target + ε/K
//
// Inputs: logits x [N,K], target [N,K], whose rows sum to one (one-hot, or
// mixed). ε is LabelSmoothing. Output: loss, a scalar.
type CrossEntropy struct{ LabelSmoothing float32 }

func lossSpecs(in []Spec) error {
	if len(in) < 2 || len(in[0].Shape) != 2 || !in[0].Equal(in[1]) || in[0].DType != Float32 {
		return fmt.Errorf("%w: takes two matrices [N,K] of one shape, got %v", ErrShape, in)
	}
	return nil
}

// Infer implements Op.
func (op CrossEntropy) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 {
		return nil, fmt.Errorf("%w: takes logits and target, got %d inputs", ErrShape, len(in))
	}
	return []Spec{F32()}, lossSpecs(in)
}

// Backward implements Differentiable. The target gets no gradient.
func (op CrossEntropy) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(CrossEntropyBackward(op), n.In[0], n.In[1], dOut[0]), nil}, nil
}

// CrossEntropyBackward takes logits x, target and the scalar dloss to
// dx[n,k] = dloss/N · (softmax(x[n])[k]·Σ_j q[n,j] - q[n,k]).
type CrossEntropyBackward struct{ LabelSmoothing float32 }

// Infer implements Op.
func (op CrossEntropyBackward) Infer(in []Spec) ([]Spec, error) { return lossBackwardSpecs(in) }

func lossBackwardSpecs(in []Spec) ([]Spec, error) {
	if len(in) != 3 || in[2].Len() != 1 {
		return nil, fmt.Errorf("%w: takes two matrices and a scalar, got %v", ErrShape, in)
	}
	return []Spec{in[0]}, lossSpecs(in)
}

// KLDiv is the distillation loss of Hinton, Vinyals and Dean (arXiv:1503.02531)
// with temperature T, summed over classes and divided by the batch size:
//
//	loss = T²/N · Σ_n Σ_k p[n,k]·(log p[n,k] - log softmax(s[n]/T)[k]),  p = softmax(t[n]/T)
//
// Inputs: student's logits s [N,K], teacher's logits t [N,K]. Output: a scalar.
type KLDiv struct{ T float32 }

// Infer implements Op.
func (op KLDiv) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 2 || !(op.T > 0) {
		return nil, fmt.Errorf("%w: takes student's and teacher's logits and T > 0, got %v, T = %v", ErrShape, in, op.T)
	}
	return []Spec{F32()}, lossSpecs(in)
}

// Backward implements Differentiable. The teacher gets no gradient.
func (op KLDiv) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	return []*Value{b.One(KLDivBackward(op), n.In[0], n.In[1], dOut[0]), nil}, nil
}

// KLDivBackward takes s, t and the scalar dloss to
// ds[n,k] = dloss·T/N · (softmax(s[n]/T)[k] - softmax(t[n]/T)[k]).
type KLDivBackward struct{ T float32 }

// Infer implements Op.
func (op KLDivBackward) Infer(in []Spec) ([]Spec, error) { return lossBackwardSpecs(in) }
