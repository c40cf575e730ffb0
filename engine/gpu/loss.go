package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerLoss, engine.CrossEntropy{}, engine.CrossEntropyBackward{}, engine.KLDiv{}, engine.KLDivBackward{},
		engine.DistillLoss{}, engine.DistillLossBackward{})
}

// lossThreads is the block of the loss kernels: a warp a row.
const lossThreads = 256

// lossArgs are the arguments of loss.cu, field for field.
type lossArgs struct {
	x, target, teacher, dloss, y, ce, kl, part, arrived cuda.Ptr
	n, k                                                int32
	eps, temperature, wCE, wKL                          float32
}

// lowerLoss lowers the losses and their gradients, all to one launch.
func (b *Backend) lowerLoss(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	a := &lossArgs{n: int32(in[0].Shape[0]), k: int32(in[0].Shape[1]), temperature: 1}
	if in[0].Len() > maxItems {
		return lowering{}, fmt.Errorf("%s of %v: %w: more than %d logits", engine.OpName(op), in[0], engine.ErrUnsupported, maxItems)
	}
	switch op := op.(type) {
	case engine.CrossEntropy:
		a.eps, a.wCE = op.LabelSmoothing, 1
		return b.lowerLossForward(a, func(in, _ []cuda.Ptr) { a.x, a.target = in[0], in[1] })
	case engine.CrossEntropyBackward:
		a.eps, a.wCE = op.LabelSmoothing, 1
		return b.lowerLossBackward(a, func(in []cuda.Ptr) { a.x, a.target, a.dloss = in[0], in[1], in[2] })
	case engine.KLDiv:
		a.temperature, a.wKL = op.T, 1
		return b.lowerLossForward(a, func(in, _ []cuda.Ptr) { a.x, a.teacher = in[0], in[1] })
	case engine.KLDivBackward:
		a.temperature, a.wKL = op.T, 1
		return b.lowerLossBackward(a, func(in []cuda.Ptr) { a.x, a.teacher, a.dloss = in[0], in[1], in[2] })
	case engine.DistillLoss:
		a.eps, a.temperature, a.wCE, a.wKL = op.LabelSmoothing, op.T, op.Hard, op.Soft
		return b.lowerLossForward(a, func(in, out []cuda.Ptr) {
			a.x, a.target, a.teacher, a.ce, a.kl = in[0], in[1], in[2], out[1], out[2]
		})
	case engine.DistillLossBackward:
		a.eps, a.temperature, a.wCE, a.wKL = op.LabelSmoothing, op.T, op.Hard, op.Soft
		return b.lowerLossBackward(a, func(in []cuda.Ptr) { a.x, a.target, a.teacher, a.dloss = in[0], in[1], in[2], in[3] })
	}
	return lowering{}, unsupported(op)
}

// lossBlocks returns the blocks for n rows, several a multiprocessor if there
// are so many.
func (b *Backend) lossBlocks(n int32) int { return b.resident(int(n), lossThreads/32, 8) }

func (b *Backend) lowerLossForward(a *lossArgs, bind func(in, out []cuda.Ptr)) (lowering, error) {
	f, err := b.function("loss", "loss")
	if err != nil {
		return lowering{}, err
	}
	if a.arrived, err = b.counters(1); err != nil {
		return lowering{}, err
	}
	blocks := b.lossBlocks(a.n)
	return lowering{ws: 8 * blocks, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		bind(in, out)
		a.y, a.part = out[0], ws
		return launch(b, f, [3]int{blocks, 1, 1}, [3]int{lossThreads, 1, 1}, 0, a)
	}}, nil
}

func (b *Backend) lowerLossBackward(a *lossArgs, bind func(in []cuda.Ptr)) (lowering, error) {
	f, err := b.function("loss", "loss_backward")
	if err != nil {
		return lowering{}, err
	}
	blocks := b.lossBlocks(a.n)
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		bind(in)
		a.y = out[0]
		return launch(b, f, [3]int{blocks, 1, 1}, [3]int{lossThreads, 1, 1}, 0, a)
	}}, nil
}
