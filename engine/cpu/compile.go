package cpu

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A lowering turns an op into a kernel.
type lowering func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer)

// Fuses implements engine.Fuser: this backend has the fused ops of BatchNorm and
// of convolutions, but pools only in windows that tile the picture, and computes
// a convolution with any epilogue where it does without.
func (b *Backend) Fuses(op engine.Op, in, out []engine.Spec) bool {
	switch op := op.(type) {
	case engine.BatchNormAct:
		return fusesPool(op.F, op.Pool) && !op.Keep
	case engine.BatchNormActBackward:
		return fusesPool(op.F, op.Pool) && !op.Kept
	case engine.FoldBatchNorm:
		return true
	case engine.QConv2D:
		return fusesSum(op, in, out[0])
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

// BFloat16 implements engine.MixedPrecision.
func (b *Backend) BFloat16() bool { return true }

// Compile implements engine.Backend.
func (b *Backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if err := engine.CheckSpecs(op, in, out); err != nil {
		return nil, err
	}
	if op, ok := op.(engine.Chain); ok {
		return b.compileChain(op, in)
	}
	k, err := lower(op, in, out)
	if err != nil {
		return nil, err
	}
	k.backend = b
	return k, nil
}

// lower returns the kernel of an op. One with activations in bfloat16 is lowered
// as the op's file has it (lowersBFloat16), and else, or where that gives
// errWidened, by way of float32.
func lower(op engine.Op, in, out []engine.Spec) (*kernel, error) {
	t := reflect.TypeOf(op)
	f := lowerers[t]
	if f == nil {
		return nil, fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	if mixed(in) || mixed(out) {
		if own := bfloat16Lowerers[t]; own != nil {
			if k, err := own(op, in, out); !errors.Is(err, errWidened) {
				return k, err
			}
		}
		k, err := f(op, widenedSpecs(in), widenedSpecs(out))
		if err != nil {
			return nil, err
		}
		return k.widened(in, out), nil
	}
	return f(op, in, out)
}

// A lowerer lowers an op; the kernel's backend is set by its caller.
type lowerer func(op engine.Op, in, out []engine.Spec) (*kernel, error)

// lowerers has what lowers the ops of a type where activations are float32, and
// bfloat16Lowerers where they are bfloat16.
var lowerers, bfloat16Lowerers = make(map[reflect.Type]lowerer), make(map[reflect.Type]lowerer)

// errWidened is what a lowering for bfloat16 returns for what it has no kernel
// for: the op is then computed in float32, from copies and into one.
var errWidened = errors.New("cpu: not in bfloat16")

// lowererOf returns f for ops of type T.
func lowererOf[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) lowerer {
	return func(op engine.Op, in, out []engine.Spec) (*kernel, error) {
		ws, low, err := f(op.(T), in, out)
		if err != nil {
			return nil, err
		}
		return &kernel{ws: ws, lower: low}, nil
	}
}

// lowersPrepared registers what lowers ops of type T in one of the two tables, for
// kernels that do a part of their work once.
func lowersPrepared[T engine.Op](table map[reflect.Type]lowerer, f func(op T, in, out []engine.Spec) (*kernel, error)) {
	table[reflect.TypeFor[T]()] = func(op engine.Op, in, out []engine.Spec) (*kernel, error) { return f(op.(T), in, out) }
}

// lowers registers what lowers ops of type T, with the bytes of workspace that
// it takes, where activations are float32. The file of each op calls it.
func lowers[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) {
	lowerers[reflect.TypeFor[T]()] = lowererOf(f)
}

// lowersBFloat16 is lowers where activations are bfloat16. Ops without it, and
// those for which f returns errWidened, are widened.
func lowersBFloat16[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) {
	bfloat16Lowerers[reflect.TypeFor[T]()] = lowererOf(f)
}

// lowersStored is lowers for activations of either type: f takes the kernels for
// the type that the specs have ([kernelID.of]).
func lowersStored[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) {
	lowers(f)
	lowersBFloat16(f)
}

// lowersCompiled is lowersStored where the kernels for bfloat16 are in C alone: in
// plain Go such ops are widened.
func lowersCompiled[T engine.Op](f func(op T, in, out []engine.Spec) (ws int, low lowering, err error)) {
	lowers(f)
	if compiled {
		lowersBFloat16(f)
	}
}

// lowersAlone is lowers for ops that need no workspace and are never refused.
func lowersAlone[T engine.Op](f func(op T, in, out []engine.Spec) lowering) {
	lowers(alone(f))
}

// lowersCompiledAlone is lowersCompiled for such ops.
func lowersCompiledAlone[T engine.Op](f func(op T, in, out []engine.Spec) lowering) {
	lowersCompiled(alone(f))
}

func alone[T engine.Op](f func(op T, in, out []engine.Spec) lowering) func(op T, in, out []engine.Spec) (int, lowering, error) {
	return func(op T, in, out []engine.Spec) (int, lowering, error) { return 0, f(op, in, out), nil }
}

// ceilDiv returns ⌈a/b⌉.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// floats returns where element n of a float32 array starts.
func floats(p unsafe.Pointer, n int) unsafe.Pointer { return unsafe.Add(p, 4*n) }

// roundUp returns the smallest multiple of 16 that is at least n: workspace is
// cut into parts at cache lines.
func roundUp(n int) int { return (n + 15) &^ 15 }
