package prune

import (
	"slices"

	"github.com/potstill/potstill/layers"
)

// TorchPruning is the value of Options.Compat by which the channels are cut that
// Torch-Pruning 1.6.1 cuts (Fang et al., "DepGraph", arXiv:2301.12900), with the
// arithmetic of its BasePruner and of its importance classes:
//
//   - depthwise weights and, under Taylor, batch norms do not count;
//   - FPGM measures distances between squares of weights;
//   - of n channels int(n·(1-ratio)) stay, in float64;
//   - in a global or isomorphic scope all units go whose importance is no larger
//     than that of the last one to go;
//   - rounding takes the count that stays down to a multiple;
//   - a group of which nothing would be left stays whole.
const TorchPruning = "torch-pruning"

// compatCounts says whether Torch-Pruning counts a member.
func compatCounts(c Criterion, m member, n *layers.Net) bool {
	switch {
	case m.face == depthwise:
		return false
	case m.face != scale:
		return true
	case c.Name == "taylor" || c.Name == "hessian":
		_, ln := n.Module(m.use.Module).Kind.(layers.LayerNorm2d)
		return ln
	}
	switch n.Module(m.use.Module).Kind.(type) {
	case layers.BatchNorm2d, layers.LayerNorm2d:
		return true
	}
	return false
}

// compatSizes is sizes as Torch-Pruning has it.
func (r *ranking) compatSizes(ratio float64) []int {
	size := make([]int, len(r.candidates))
	scopes := make(map[string][]int)
	for i, c := range r.candidates {
		size[i] = c.Size
		scopes[c.scope] = append(scopes[c.scope], i)
	}
	for _, in := range scopes {
		var all []float64
		for _, i := range in {
			all = append(all, r.candidates[i].score...)
		}
		slices.Sort(all)
		cut := len(all) - int(float64(len(all))*(1-ratio))
		if cut <= 0 {
			continue
		}
		threshold := all[cut-1]
		for _, i := range in {
			c := r.candidates[i]
			n := cut
			if r.global {
				n = 0
				for _, v := range c.score {
					if v <= threshold {
						n++
					}
				}
			}
			if n > 0 && r.roundTo > 0 {
				stays := c.Size*c.Width - n // units from channels, as there
				n = min(c.Size*c.Width-(stays-stays%r.roundTo), c.Size)
			}
			if n < c.Size {
				size[i] = c.Size - n
			}
		}
	}
	return size
}
