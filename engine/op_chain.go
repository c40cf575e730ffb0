package engine

import "fmt"

// Chain is what the planner makes of ops that follow each other where each reads
// what the one before it has made and nobody else does. A backend computes it
// depth-first: some rows of a picture go through all of its links before the next
// rows do, so that what lies between the links stays in a cache and never exists
// as a whole (Goetschalckx and Verhelst, "DepFiN", 2022, call it depth-first
// execution; others line buffers or layer fusion).
//
// Inputs: x of the first link, then for each link in order the inputs that it
// has beside the one that comes down the chain, its weights and its residual.
// Output: that of the last link. A chain computes what its links do, bit for bit.
type Chain struct{ Links []Link }

// A Link is an op of a Chain. Its first input is the output of the link before it.
type Link struct {
	Op    Op
	Extra int // the number of its other inputs
}

// Each calls f for each link with the specs of its inputs and of its output.
// extra is the place of the link's own inputs among the chain's.
func (op Chain) Each(in []Spec, f func(l Link, extra int, in []Spec, out Spec) error) error {
	if len(in) == 0 || len(op.Links) == 0 {
		return fmt.Errorf("%w: a chain takes an x and has links, got %d inputs and %d links", ErrShape, len(in), len(op.Links))
	}
	x, at := in[0], 1
	for i, l := range op.Links {
		if l.Extra < 0 || at+l.Extra > len(in) {
			return fmt.Errorf("%w: link %d (%s) takes inputs %d to %d of %d", ErrShape, i, OpName(l.Op), at, at+l.Extra, len(in))
		}
		own := append([]Spec{x}, in[at:at+l.Extra]...)
		out, err := l.Op.Infer(own)
		if err == nil && len(out) != 1 {
			err = fmt.Errorf("%w: %d outputs", ErrShape, len(out))
		}
		if err == nil {
			err = f(l, at, own, out[0])
		}
		if err != nil {
			return fmt.Errorf("link %d (%s): %w", i, OpName(l.Op), err)
		}
		x, at = out[0], at+l.Extra
	}
	if at != len(in) {
		return fmt.Errorf("%w: the links of a chain take %d inputs, got %d", ErrShape, at, len(in))
	}
	return nil
}

// Infer implements Op.
func (op Chain) Infer(in []Spec) (out []Spec, err error) {
	err = op.Each(in, func(_ Link, _ int, _ []Spec, y Spec) error {
		out = []Spec{y}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Cost implements Coster.
func (op Chain) Cost(in, _ []Spec) (flops int64) {
	_ = op.Each(in, func(l Link, _ int, in []Spec, out Spec) error { // Infer has said what is wrong
		if c, ok := l.Op.(Coster); ok {
			flops += c.Cost(in, []Spec{out})
		}
		return nil
	})
	return flops
}
