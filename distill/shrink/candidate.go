package shrink

import (
	"maps"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A candidate is a net in float32 with the bits that the weights of its layers are
// to have; no bits mean that it stays in float32.
type candidate struct {
	c    *checkpoint.Checkpoint
	bits map[string]int
	// history is that of the file that is written in the end.
	history []checkpoint.Event
}

// weighted returns the layers that have bits, in the order of execution.
func weighted(n *layers.Net) (names []string) {
	for i := range n.Modules {
		switch n.Modules[i].Kind.(type) {
		case layers.Conv2d, layers.Linear:
			names = append(names, n.Modules[i].Name)
		}
	}
	return names
}

// withMost returns a net with the first of bits, the most, for every weight; with none
// it stays in float32.
func withMost(c *checkpoint.Checkpoint, bits []int, history []checkpoint.Event) candidate {
	x := candidate{c: c, bits: make(map[string]int), history: history}
	if len(bits) > 0 {
		for _, name := range weighted(c.Net) {
			x.bits[name] = bits[0]
		}
	}
	return x
}

// clone returns a candidate whose bits may be changed.
func (x candidate) clone() candidate { return candidate{x.c, maps.Clone(x.bits), x.history} }

// quantizer returns the settings of quantization.
func (x candidate) quantizer() quant.Options {
	return quant.Options{Scheme: quant.Int8, LayerBits: x.bits}
}

// written returns the candidate as its file would be, with ranges that nobody has
// observed.
func (x candidate) written() (*checkpoint.Checkpoint, error) {
	out := x.c
	if len(x.bits) > 0 {
		o := x.quantizer()
		o.Learned = true
		var err error
		if out, err = quant.Layout(bare(x.c), o); err != nil {
			return nil, err
		}
	}
	out = bare(out)
	out.History = x.history
	return out, nil
}

// bare returns the checkpoint without figures and without the state of a run.
func bare(c *checkpoint.Checkpoint) *checkpoint.Checkpoint {
	out := *c
	out.Extra, out.Progress, out.Metrics = nil, nil, nil
	return &out
}

// apply returns the candidate with the moves made: those of the structure first, in
// their order, then widths and bits.
func (x candidate) apply(moves []Move) (candidate, error) {
	out := x.clone()
	keep := make(map[string][]int)
	for _, m := range moves {
		switch m.Kind {
		case Block, Rank, Size:
			var err error
			if out, err = out.make(m); err != nil {
				return out, err
			}
		case Width:
			keep[m.At] = m.Keep
		}
	}
	if len(keep) > 0 {
		c, err := out.c.Rewrite(layers.Select(keep))
		if err != nil {
			return out, err
		}
		out.c = c
	}
	out.settle()
	for _, m := range moves {
		if m.Kind == Bits {
			out.bits[m.At] = m.Bits
		}
	}
	return out, nil
}

// settle gives the parts of a layer that was taken apart its bits, and forgets those of
// layers that are gone.
func (x candidate) settle() {
	names := weighted(x.c.Net)
	for name, b := range maps.Clone(x.bits) {
		if slices.Contains(names, name) {
			continue
		}
		delete(x.bits, name)
		for _, part := range names {
			if i, ok := strings.CutPrefix(part, name+"."); ok && !strings.Contains(i, ".") {
				x.bits[part] = b
			}
		}
	}
}

// share returns what a limit's share t is, of the limits themselves: t times each.
func share(l budget.Limits, t float64) budget.Limits {
	scale := func(n int64) int64 { return int64(float64(n) * t) }
	return budget.Limits{Bytes: scale(l.Bytes), Params: scale(l.Params), MACs: scale(l.MACs), RAM: scale(l.RAM), MS: l.MS * t, Batch: l.Batch}
}
