package cpu

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A lowering turns an op into a kernel.
type lowering func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer)

// Fuses implements engine.Fuser: this backend has the fused ops of BatchNorm and
// of convolutions in float32, but pools only in windows that tile the picture,
// and computes a convolution with any epilogue where it does without.
func (b *Backend) Fuses(op engine.Op, in, out []engine.Spec) bool {
	if refuseBFloat16(op, in, out) != nil {
		return false
	}
	switch op := op.(type) {
	case engine.BatchNormAct:
		return fusesPool(op.Pool)
	case engine.BatchNormActBackward:
		return fusesPool(op.Pool)
	case engine.FoldBatchNorm:
		return true
	case engine.Conv2D:
		_, err := newConvolution(op, in, out[0])
		return err == nil
	}
	return false
}

func fusesPool(w *engine.Window) bool { return w == nil || w.Tiles() }

// Compile implements engine.Backend.
func (b *Backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if err := refuseBFloat16(op, in, out); err != nil {
		return nil, err
	}
	if err := engine.CheckSpecs(op, in, out); err != nil {
		return nil, err
	}
	ws, low, err := lower(op, in, out)
	if err != nil {
		return nil, err
	}
	k := &kernel{backend: b, ws: ws, lower: low}
	if conv, ok := op.(engine.Conv2D); ok {
		k.once = prepareConv2D(conv, in, out[0])
	}
	return k, nil
}

// refuseBFloat16 returns the error for tensors in bfloat16.
func refuseBFloat16(op engine.Op, in, out []engine.Spec) error {
	for _, s := range slices.Concat(in, out) {
		if s.DType == engine.BFloat16 {
			return fmt.Errorf("bfloat16 on the CPU (%s): %w; run the net in float32", engine.OpName(op), engine.ErrUnsupported)
		}
	}
	return nil
}

// lower returns the workspace and the lowering of an op.
func lower(op engine.Op, in, out []engine.Spec) (ws int, low lowering, err error) {
	switch op := op.(type) {
	case engine.Conv2D:
		return lowerConv2D(op, in, out[0])
	case engine.Conv2DBackwardData:
		return lowerConv2DBackwardData(op, in)
	case engine.Conv2DBackwardWeight:
		return lowerConv2DBackwardWeight(op, in)
	case engine.Linear, engine.LinearBackwardData, engine.LinearBackwardWeight:
		return lowerLinear(op, in, out)
	case engine.BatchNorm:
		return lowerBatchNorm(op, in[0], engine.Identity, nil)
	case engine.BatchNormAct:
		return lowerBatchNorm(op.BatchNorm, in[0], op.F, op.Pool)
	case engine.BatchNormBackward:
		return lowerBatchNormBackward(in[0], engine.Identity, nil, bnPlain)
	case engine.BatchNormActBackward:
		return lowerBatchNormBackward(in[0], op.F, op.Pool, bnFused)
	case engine.BatchNormEvalBackward:
		return lowerBatchNormEvalBackward(op, in[0])
	case engine.FoldBatchNorm:
		return 0, lowerFoldBatchNorm(op, in[0]), nil
	case engine.LayerNorm:
		return 0, lowerLayerNorm(op, in[0]), nil
	case engine.LayerNormBackward:
		ws, low = lowerLayerNormBackward(op, in[0])
		return ws, low, nil
	case engine.GroupNorm:
		ws, low = lowerGroupNorm(op, in[0])
		return ws, low, nil
	case engine.GroupNormBackward:
		ws, low = lowerGroupNormBackward(in)
		return ws, low, nil
	case engine.Concat, engine.Slice, engine.SliceBackward:
		low, err = lowerConcat(op, in, out)
		return 0, low, err
	case engine.ChannelShuffle:
		return 0, lowerChannelShuffle(op, in[0]), nil
	case engine.CrossEntropy, engine.CrossEntropyBackward, engine.KLDiv, engine.KLDivBackward:
		return 0, lowerLoss(op, in[0]), nil
	case engine.Adam, engine.SGD, engine.ClipScale, engine.Accumulate, engine.EMA:
		ws, low = lowerOptimizer(op, in)
		return ws, low, nil
	}
	if low := lowerPool(op, in, out); low != nil {
		return 0, low, nil
	}
	if low := lowerElementwise(op, in, out); low != nil {
		return 0, low, nil
	}
	return 0, nil, fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
}

// ceilDiv returns ⌈a/b⌉.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// floats returns where element n of a float32 array starts.
func floats(p unsafe.Pointer, n int) unsafe.Pointer { return unsafe.Add(p, 4*n) }

// roundUp returns the smallest multiple of 16 that is at least n: workspace is
// cut into parts at cache lines.
func roundUp(n int) int { return (n + 15) &^ 15 }
