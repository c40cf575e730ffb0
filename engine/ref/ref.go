// Package ref runs every operator of package engine in plain Go and float64,
// written straight from the formula in the operator's doc comment. It is the
// definition that the other backends are held to, element by element, and a
// (slow) backend of its own for small graphs and tests.
//
// To add an operator: write its function in a file of the operator's stem and
// name it to define in that file's init.
package ref

import (
	"fmt"
	"math"
	"reflect"

	"github.com/potstill/potstill/engine"
)

// An Array is a tensor on the host, every element a float64 whatever the
// Spec's element type.
type Array struct {
	engine.Spec
	V []float64
	// Mag and K are set on the outputs of Eval and say how far a computation in
	// float32 may stray: element i by a small multiple of √K·ε·Mag[i]. For a
	// sum of K products Mag is Σ|a·b|, the same formula with the absolute
	// values of its terms; for a longer formula it is the first-order error of
	// its steps, in units of √K·ε (see num). Zero means that the element is
	// exact: nothing is rounded on the way to it.
	Mag []float64
	K   int
	// Slack is a distance that is allowed besides, element by element: where
	// the definition leaves a backend a choice. Nil: there is none.
	Slack []float64
}

// Epsilon is the distance from 1 to the next float32, the ε of the error bound.
const Epsilon = 0x1p-23

// smallest is the least normal float32: what lies below it may become zero.
const smallest = 0x1p-126

// NewArray returns an array of zeros.
func NewArray(s engine.Spec) Array { return Array{Spec: s, V: make([]float64, s.Len())} }

// Bound returns c·√K·ε·Mag[i], the distance from V[i] at which a float32 result
// is still right. What is too small for a normal float32 is let through. Slack is
// added, and for an element that is stored as bfloat16 half the distance to the
// next one, at most 2⁻⁸ of its value.
func (a Array) Bound(i int, c float64) float64 {
	bound := 0.0
	if a.Mag[i] != 0 {
		bound = c*math.Sqrt(float64(a.K))*Epsilon*a.Mag[i] + smallest
	}
	if a.Slack != nil {
		bound += a.Slack[i]
	}
	if bound != 0 && a.DType == engine.BFloat16 {
		bound += 0x1p-8 * (math.Abs(a.V[i]) + bound)
	}
	return bound
}

// set stores x as element i: its value, and its error as the magnitude.
func (a Array) set(i int, x num) { a.V[i], a.Mag[i] = x.v, x.e }

// An evalFunc computes out from in. The arrays of out are zeros of the specs
// that Infer gave; K is 1.
type evalFunc func(op engine.Op, in, out []Array) error

var ops = make(map[reflect.Type]evalFunc)

// define registers the function of the operators of type T.
func define[T engine.Op](f func(op T, in, out []Array)) {
	exchanges(func(op T, in, out []Array) error {
		f(op, in, out)
		return nil
	})
}

// exchanges is define for operators that other ranks take part in, who may fail.
func exchanges[T engine.Op](f func(op T, in, out []Array) error) {
	ops[reflect.TypeFor[T]()] = func(op engine.Op, in, out []Array) error { return f(op.(T), in, out) }
}

// Eval applies op to in. Outputs that overwrite an input (engine.Updater) are
// arrays of their own: in is never changed. The error wraps engine.ErrShape if
// the inputs do not fit op, and engine.ErrUnsupported for an unknown op.
func Eval(op engine.Op, in []Array) ([]Array, error) {
	specs := make([]engine.Spec, len(in))
	for i, a := range in {
		if len(a.V) != a.Len() {
			return nil, fmt.Errorf("%s: input %d: %w: %d values for %v", engine.OpName(op), i, engine.ErrShape, len(a.V), a.Spec)
		}
		specs[i] = a.Spec
	}
	f, out, err := lookup(op, specs)
	if err != nil {
		return nil, err
	}
	arrays := make([]Array, len(out))
	for i, s := range out {
		arrays[i] = NewArray(s)
		arrays[i].Mag, arrays[i].K = make([]float64, s.Len()), 1
	}
	if err := f(op, in, arrays); err != nil {
		return nil, fmt.Errorf("%s: %w", engine.OpName(op), err)
	}
	return arrays, nil
}

// lookup returns op's function and the specs of its outputs.
func lookup(op engine.Op, in []engine.Spec) (evalFunc, []engine.Spec, error) {
	f, ok := ops[reflect.TypeOf(op)]
	if !ok {
		return nil, nil, fmt.Errorf("%T%v: %w by the reference backend", op, in, engine.ErrUnsupported)
	}
	out, err := op.Infer(in)
	if err != nil {
		return nil, nil, fmt.Errorf("%s%v: %w", engine.OpName(op), in, err)
	}
	return f, out, nil
}
