package cpu

import (
	"fmt"
	"reflect"
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
		return fusesPool(op.F, op.Pool)
	case engine.BatchNormActBackward:
		return fusesPool(op.F, op.Pool)
	case engine.FoldBatchNorm:
		return true
	case engine.Conv2D:
		_, err := newConvolution(op, in, out[0])
		return err == nil
	}
	return false
}

// fusesPool reports whether there is a pool in one pass with f: of windows that
// tile the picture, small ones where the pass keeps them whole.
func fusesPool(f engine.Act, w *engine.Window) bool {
	return w == nil || w.Tiles() && (f.Fn <= engine.FuncReLU6 || w.Kernel[0] <= bnActPool)
}

// Compile implements engine.Backend.
func (b *Backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if err := refuseBFloat16(op, in, out); err != nil {
		return nil, err
	}
	if err := engine.CheckSpecs(op, in, out); err != nil {
		return nil, err
	}
	if op, ok := op.(engine.Chain); ok {
		return b.compileChain(op, in)
	}
	ws, low, err := lower(op, in, out)
	if err != nil {
		return nil, err
	}
	k := &kernel{backend: b, ws: ws, lower: low}
	switch op := op.(type) {
	case engine.Conv2D:
		k.once = prepareConv2D(op, in, out[0])
	case engine.Linear:
		k.once = prepareConv2D(engine.Conv2D{}, asImages(in), asImage(out[0]))
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
	f := lowerers[reflect.TypeOf(op)]
	if f == nil {
		return 0, nil, fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	return f(op, in, out)
}

// lowerers has what lowers the ops of a type.
var lowerers = make(map[reflect.Type]func(op engine.Op, in, out []engine.Spec) (ws int, low lowering, err error))

// lowers registers what lowers ops of type T, with the bytes of workspace that
// it takes. The file of each op calls it.
func lowers[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) {
	lowerers[reflect.TypeFor[T]()] = func(op engine.Op, in, out []engine.Spec) (int, lowering, error) {
		return f(op.(T), in, out)
	}
}

// lowersAlone is lowers for ops that need no workspace and are never refused.
func lowersAlone[T engine.Op](f func(op T, in, out []engine.Spec) lowering) {
	lowers(func(op T, in, out []engine.Spec) (int, lowering, error) { return 0, f(op, in, out), nil })
}

// ceilDiv returns ⌈a/b⌉.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// floats returns where element n of a float32 array starts.
func floats(p unsafe.Pointer, n int) unsafe.Pointer { return unsafe.Add(p, 4*n) }

// roundUp returns the smallest multiple of 16 that is at least n: workspace is
// cut into parts at cache lines.
func roundUp(n int) int { return (n + 15) &^ 15 }
