package gpu

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A lowering is an op made ready for fixed specs.
type lowering struct {
	// ws is the bytes of scratch memory that enqueue needs.
	ws int
	// enqueue puts the work into the backend's stream and allocates nothing.
	// Tensors are addresses in the order of the op's inputs and outputs.
	enqueue func(in, out []cuda.Ptr, ws cuda.Ptr) error
	// once is the part of the work that depends on some inputs only; nil if
	// there is none.
	once *preparation
}

// A preparation is a lowering in two parts.
type preparation struct {
	inputs  []int    // what prepare reads
	bytes   int      // what it fills
	entries []packed // what weights.cu makes of them, if that is all of it
	prepare func(in []cuda.Ptr, kept cuda.Ptr) error
	enqueue func(in, out []cuda.Ptr, ws, kept cuda.Ptr) error
}

// Fuses implements engine.Fuser: this backend has the fused ops in float, but
// pools only as fusesPool says.
func (b *Backend) Fuses(op engine.Op, in, out []engine.Spec) bool {
	switch op := op.(type) {
	case engine.BatchNormAct:
		return fusesPool(op.Pool) && (!op.Keep || pools(op.Pool))
	case engine.BatchNormActBackward:
		return fusesPool(op.Pool) && (!op.Kept || pools(op.Pool))
	case engine.Augment:
		return op.BFloat16
	case engine.FoldBatchNorm, engine.Conv2D, engine.DistillLoss, engine.DistillLossBackward, engine.MaxPool2DWinners, engine.MaxPool2DWinnersBackward:
		return true
	}
	return false
}

// pools reports whether w makes something smaller.
func pools(w *engine.Window) bool { return w != nil && w.Kernel[0] > 1 }

func fusesPool(w *engine.Window) bool { return w == nil || w.Tiles() && w.Kernel[0] <= bnPoolMost }

// BFloat16 implements engine.MixedPrecision: activations may be bfloat16.
func (b *Backend) BFloat16() bool { return true }

// Compile implements engine.Backend. Implementations are timed here if there are
// several, so that the first plan for a shape takes longer than the next.
func (b *Backend) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if b.capturing {
		return nil, errRecording
	}
	if err := engine.CheckSpecs(op, in, out); err != nil {
		return nil, err
	}
	low, err := b.lower(op, in, out)
	if err != nil {
		return nil, b.wrap(err)
	}
	return &kernel{backend: b, low: low, in: sizes(in), out: sizes(out),
		inPtr: make([]cuda.Ptr, len(in)), outPtr: make([]cuda.Ptr, len(out))}, nil
}

func sizes(specs []engine.Spec) []int {
	n := make([]int, len(specs))
	for i, s := range specs {
		n[i] = s.Bytes()
	}
	return n
}

// A lowerer lowers the ops of a family.
type lowerer func(b *Backend, op engine.Op, in, out []engine.Spec) (lowering, error)

// lowerers has the families by the types of their ops.
var lowerers = make(map[reflect.Type]lowerer)

// lowers registers what lowers ops of the types of these. The file of each
// family calls it.
func lowers(f lowerer, ops ...engine.Op) {
	for _, op := range ops {
		lowerers[reflect.TypeOf(op)] = f
	}
}

// lower hands an op to its family.
func (b *Backend) lower(op engine.Op, in, out []engine.Spec) (lowering, error) {
	f := lowerers[reflect.TypeOf(op)]
	if f == nil {
		return lowering{}, unsupported(op)
	}
	return f(b, op, in, out)
}

// unsupported is the error for an op that a family does not know.
func unsupported(op engine.Op) error {
	return fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
}

func init() {
	lowers((*Backend).lowerProduct, engine.Conv2D{}, engine.Conv2DBackwardData{}, engine.Conv2DBackwardWeight{},
		engine.Linear{}, engine.LinearBackwardData{}, engine.LinearBackwardWeight{})
}

// lowerProduct chooses between our kernels and the libraries' for convolutions
// and linear layers. What was made for the same op and specs before serves
// again: a lowering keeps nothing between two enqueues.
func (b *Backend) lowerProduct(op engine.Op, in, out []engine.Spec) (lowering, error) {
	key := choiceKey(op, in, out)
	if low, ok := b.products[key]; ok {
		return low, nil
	}
	ours, err := b.lowerOurs(op, in, out)
	if err != nil {
		return lowering{}, err
	}
	if b.wanted != nil {
		b.wantLayouts(op, in, out)
	}
	cs, libraries := []candidate{{name: "potstill", deterministic: true, low: ours}}, b.libraryCandidates(op, in, out)
	// Where libraries have tensor cores, no cut of ours comes near.
	if len(libraries) == 0 || in[0].DType == engine.Float32 && !b.options.TF32 {
		more, err := b.otherCuts(op, in, out)
		if err != nil {
			return lowering{}, errors.Join(err, b.release(libraries, -1))
		}
		cs = append(cs, more...)
	}
	low, err := b.choose(op, in, out, append(cs, libraries...))
	if err != nil {
		return lowering{}, err
	}
	b.products[key] = low
	return low, nil
}

// lowerOurs lowers a convolution or a linear layer to kernels of ours.
func (b *Backend) lowerOurs(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.Conv2D:
		if isDepthwise(op, in) {
			return b.lowerDepthwise(op, in, out)
		}
		return b.lowerConv2D(op, in, out)
	case engine.Conv2DBackwardData:
		if isDepthwise(op.Conv2D, []engine.Spec{op.X, in[1]}) {
			return b.lowerDepthwiseBackwardData(op, in, out)
		}
		return b.lowerConv2DBackwardData(op, in, out)
	case engine.Conv2DBackwardWeight:
		if isDepthwise(op.Conv2D, []engine.Spec{in[0], op.W}) {
			return b.lowerDepthwiseBackwardWeight(op, in, out)
		}
		return b.lowerConv2DBackwardWeight(op, in, out)
	}
	return b.lowerLinear(op, in, out)
}

// errRecording is returned for what cannot be done while Record runs.
var errRecording = errors.New("not possible during a recording")
