package bridge

import (
	"fmt"
	"hash"
	"sync/atomic"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// counter numbers this package's operators.
var counter atomic.Uint32

// An opBase is what this package's operators have in common. Gorgonia takes two
// nodes for one if their operators' hash codes, types and shapes are equal,
// whatever their inputs; so each operator has a number of its own, and its hash
// code is a bijection of it: two of them never merge, not even by chance, up to
// 2^32 operators a process. The number and all settings are in String and
// WriteHash too.
type opBase struct {
	k     *Kernels
	id    uint32
	name  string
	types []hm.Type // of the inputs and the output
	shape func(in []tensor.Shape) (tensor.Shape, error)
}

func newBase(k *Kernels, shape func(in []tensor.Shape) (tensor.Shape, error), types []hm.Type, format string, args ...any) opBase {
	return opBase{k: k, id: counter.Add(1), name: fmt.Sprintf(format, args...), types: types, shape: shape}
}

// Arity implements gorgonia.Op.
func (b *opBase) Arity() int { return len(b.types) - 1 }

// Type implements gorgonia.Op.
func (b *opBase) Type() hm.Type { return hm.NewFnType(b.types...) }

// InferShape implements gorgonia.Op.
func (b *opBase) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	s, err := G.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	if len(s) != b.Arity() {
		return nil, fmt.Errorf("%s: takes %d inputs, got %d", b.name, b.Arity(), len(s))
	}
	out, err := b.shape(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.name, err)
	}
	return out, nil
}

// ReturnsPtr implements gorgonia.Op: every run returns memory of its own.
func (b *opBase) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op: Gorgonia's batches of external calls
// have no part in it.
func (b *opBase) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (b *opBase) OverwritesInput() int { return -1 }

// String implements gorgonia.Op.
func (b *opBase) String() string { return fmt.Sprintf("potstill.%s#%d", b.name, b.id) }

// WriteHash implements gorgonia.Op.
func (b *opBase) WriteHash(h hash.Hash) { fmt.Fprint(h, b.String()) }

// Hashcode implements gorgonia.Op. The factor is odd, so that no two numbers
// share a code.
func (b *opBase) Hashcode() uint32 { return b.id * 2654435761 }

// wrap adds the operator's name to an error.
func (b *opBase) wrap(err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", b, err)
	}
	return nil
}

// The types of tensors that the operators take and return.
var (
	anyType    hm.Type = hm.TypeVariable('a')
	imageType  hm.Type = G.TensorType{Dims: 4, Of: hm.TypeVariable('a')}
	vectorType hm.Type = G.TensorType{Dims: 1, Of: hm.TypeVariable('a')}
)

// checkNodes holds the inputs of a new operator to float32 and their ranks.
func checkNodes(op string, ranks []int, nodes ...*G.Node) error {
	for i, n := range nodes {
		switch {
		case n == nil:
			return fmt.Errorf("%s: input %d is nil", op, i)
		case n.Dtype() != tensor.Float32:
			return fmt.Errorf("%s: input %d is %v: the kernels compute in float32", op, i, n.Dtype())
		case ranks[i] >= 0 && len(n.Shape()) != ranks[i]:
			return fmt.Errorf("%s: input %d is %v, of rank %d; %d is needed", op, i, n.Shape(), len(n.Shape()), ranks[i])
		}
	}
	return nil
}
