package engine

import "fmt"

// DistillLoss is the loss of distillation, and the two losses that it is made
// of, from one pass over the student's logits:
//
//	ce   = CrossEntropy{LabelSmoothing}(x, target)
//	kl   = KLDiv{T}(x, teacher)
//	loss = Hard·ce + Soft·kl
//
// Inputs: student's logits x [N,K], target [N,K], teacher's logits [N,K].
// Outputs: loss, ce, kl, all scalars.
//
// The planner makes this op of a CrossEntropy, a KLDiv and an Add.
type DistillLoss struct {
	LabelSmoothing, T float32
	Hard, Soft        float32 // the weights of ce and kl
}

// Infer implements Op.
func (op DistillLoss) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("%w: takes logits, target and teacher's logits, got %v", ErrShape, in)
	}
	if err := distillSpecs(op.T, in); err != nil {
		return nil, err
	}
	return []Spec{F32(), F32(), F32()}, nil
}

// distillSpecs checks the temperature and the three matrices.
func distillSpecs(t float32, in []Spec) error {
	if !(t > 0) {
		return fmt.Errorf("%w: T = %v is not above 0", ErrShape, t)
	}
	if err := lossSpecs(in[:2]); err != nil {
		return err
	}
	return lossSpecs([]Spec{in[0], in[2]})
}

// DistillLossBackward is the gradient of DistillLoss's first output. It takes
// x, target, teacher and the scalar dloss to
//
//	dx[n,k] = dloss/N · (Hard·(softmax(x[n])[k]·Σ_j q[n,j] - q[n,k]) + Soft·T·(softmax(x[n]/T)[k] - softmax(teacher[n]/T)[k]))
//
// with q = (1-ε)·target + ε/K, where ε is LabelSmoothing.
type DistillLossBackward struct {
	LabelSmoothing, T float32
	Hard, Soft        float32
}

// Infer implements Op.
func (op DistillLossBackward) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 4 || in[3].Len() != 1 {
		return nil, fmt.Errorf("%w: takes logits, target, teacher's logits and a scalar, got %v", ErrShape, in)
	}
	if err := distillSpecs(op.T, in); err != nil {
		return nil, err
	}
	return []Spec{in[0]}, nil
}
