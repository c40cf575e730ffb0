package gpu

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

const (
	// cutsFrom is how many multiplications a product has at least of which
	// several cuts are timed: by its data sheet some ten microseconds of an H100. A
	// smaller one is not worth compiling them.
	cutsFrom = 1 << 28
	// cutsMost is how many are timed, the one that is best by estimate among them.
	cutsMost = 3
	// cutsWithin is how much worse than the best by estimate they may be.
	cutsWithin = 1.5
)

// A cutProduct is a convolution, a linear layer or a gradient of these that the
// tiles of tile.cuh make.
type cutProduct struct {
	work  int // multiplications
	cuts  []ranked
	lower func(cut) (lowering, error)
}

// cutProductOf returns what op is, if it has cuts: depthwise convolutions and
// the first layer of a net have kernels of their own.
func (b *Backend) cutProductOf(op engine.Op, in, out []engine.Spec) (cutProduct, bool) {
	if p, ok := matmulOf(op, in); ok {
		return cutProduct{p.loadOf().work(), p.rank(b), func(c cut) (lowering, error) { return b.cutGemm(p, c, in, out) }}, true
	}
	var conv engine.Conv2D
	var x, w, y engine.Spec
	f := gather{epilogue: nothing}
	switch op := op.(type) {
	case engine.Conv2D:
		conv, x, w, y, f.epilogue = op, in[0], in[1], out[0], epilogueOf(op, len(in))
	case engine.Conv2DBackwardData:
		conv, x, w, y, f.backward = op.Conv2D, out[0], in[1], in[0], true
	case engine.Conv2DBackwardWeight:
		conv, x, w, y = op.Conv2D, in[0], op.W, in[1]
	default:
		return cutProduct{}, false
	}
	g, err := convolutionOf(conv, x, w, y)
	if err != nil || isDepthwise(conv, []engine.Spec{x, w}) {
		return cutProduct{}, false
	}
	_, first := g.first()
	work := g.weightLoad().work()
	if _, weight := op.(engine.Conv2DBackwardWeight); weight {
		return cutProduct{work, g.rankWeight(b), func(c cut) (lowering, error) { return g.lowerWeight(b, c, out) }}, !first
	}
	f.convolution = g
	return cutProduct{work, f.rank(b), func(c cut) (lowering, error) { return f.lower(b, c) }}, !first || f.backward
}

// work returns the multiplications of l.
func (l load) work() int { return l.m * l.n * l.k * l.products }

// otherCuts returns our implementations of op in the cuts that follow the best
// by estimate, if it is large enough.
func (b *Backend) otherCuts(op engine.Op, in, out []engine.Spec) ([]candidate, error) {
	p, ok := b.cutProductOf(op, in, out)
	if !ok || p.work < b.cutsFrom {
		return nil, nil
	}
	var cs []candidate
	for _, c := range p.cuts[1:min(cutsMost, len(p.cuts))] {
		if c.cycles > cutsWithin*p.cuts[0].cycles {
			break
		}
		low, err := p.lower(c.cut)
		if err != nil {
			return cs, err
		}
		cs = append(cs, candidate{name: c.name(), deterministic: true, low: low})
	}
	return cs, nil
}

// name tells the cut from others of the same product.
func (c cut) name() string {
	s := fmt.Sprintf("potstill %dx%d", c.m, c.n)
	if c.groups > 1 {
		s += fmt.Sprintf(" of %d groups", c.groups)
	}
	if c.splits > 1 {
		s += fmt.Sprintf(" in %d splits", c.splits)
	}
	return s
}
