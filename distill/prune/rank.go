package prune

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/layers"
)

// rankings are the scopes within which units are compared: a group, all groups, or
// groups that are put together alike (Fang et al., "Isomorphic pruning for vision
// models", arXiv:2407.04616).
var rankings = []string{"local", "global", "isomorphic"}

// A candidate is a group that can be cut, with the importance of its units.
type candidate struct {
	*layers.Group
	score []float64
	order []int // the units, the least important first, equal ones in their order
	scope string
	ratio float64 // its own, where own is set
	own   bool
	least int // the units that stay at least
	whole int // the channels of which a ratio is a share
	step  int // units come in multiples of it
}

func (c *candidate) sort() {
	c.order = make([]int, c.Size)
	for i := range c.order {
		c.order[i] = i
	}
	slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(c.score[a], c.score[b]) })
}

// A ranking is the candidates of a net.
type ranking struct {
	candidates []*candidate
	compat     bool
	global     bool // as compat understands it
	roundTo    int
}

// scopeOf returns the scope in which a group is ranked.
func scopeOf(n *layers.Net, g *layers.Group, rank string) string {
	switch rank {
	case "local":
		return g.Name
	case "global":
		return ""
	}
	var w strings.Builder
	for _, name := range g.Through {
		kind := "pointwise" // or pooled: channels stay what they are
		switch k := n.Module(name).Kind.(type) {
		case layers.Dropout, layers.StochasticDepth:
			continue // nothing, in evaluation
		case layers.Concat, layers.Slice, layers.Flatten, layers.ChannelShuffle:
			kind = layers.KindName(k)
		default:
			if len(k.Params()) > 0 {
				continue // it stands among the uses
			}
		}
		w.WriteString(kind + " ")
	}
	for _, u := range g.Uses {
		fmt.Fprintf(&w, "%s.%s.%d ", layers.KindName(n.Module(u.Module).Kind), u.Role, u.Axis)
	}
	return w.String()
}

// left returns ⌊n·(1-ratio)⌋, with the ratio as it is written in decimals: of 100
// channels, a ratio of 0.9 leaves 10.
func left(n int, ratio float64) int {
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(ratio, 'g', -1, 64))
	if !ok {
		return n
	}
	r.Sub(big.NewRat(1, 1), r).Mul(r, big.NewRat(int64(n), 1))
	return int(new(big.Int).Div(r.Num(), r.Denom()).Int64())
}

// all returns how many units each candidate has.
func (r *ranking) all() []int {
	size := make([]int, len(r.candidates))
	for i, c := range r.candidates {
		size[i] = c.Size
	}
	return size
}

// sizes returns how many units stay of each candidate at a ratio.
func (r *ranking) sizes(ratio float64) []int {
	size := r.all()
	scopes := make(map[string][]int)
	var names []string
	for i, c := range r.candidates {
		name := c.scope
		if c.own {
			name = "\x00" + c.Name // a scope of its own
		}
		if scopes[name] == nil {
			names = append(names, name)
		}
		scopes[name] = append(scopes[name], i)
	}
	for _, name := range names {
		in := scopes[name]
		share := ratio
		if c := r.candidates[in[0]]; c.own {
			share = c.ratio
		}
		r.rank(in, share, size)
	}
	for i, c := range r.candidates {
		size[i] = c.round(size[i])
	}
	return size
}

// rank takes away the least important units of a scope, until a share of its
// channels is gone or every candidate has come to its least.
func (r *ranking) rank(in []int, share float64, size []int) {
	type unit struct {
		at    int
		score float64
	}
	var all []unit
	channels, whole := 0, 0
	for _, i := range in {
		c := r.candidates[i]
		channels += c.Size * c.Width
		whole += c.whole
		for _, u := range c.order {
			all = append(all, unit{i, c.score[u]})
		}
	}
	slices.SortStableFunc(all, func(a, b unit) int { return cmp.Compare(a.score, b.score) })
	cut := channels - left(whole, share)
	for _, u := range all {
		if c := r.candidates[u.at]; size[u.at] > c.least && c.Width <= cut {
			size[u.at]--
			cut -= c.Width
		}
	}
}

// round returns the nearest multiple of step, at least one of them.
func (c *candidate) round(n int) int {
	if n == c.Size || c.step <= 1 {
		return n
	}
	return min(max((n+c.step/2)/c.step, 1)*c.step, c.Size)
}

// keep returns the units that stay of each candidate of which some go, ascending.
func (r *ranking) keep(size []int) map[string][]int {
	keep := make(map[string][]int)
	for i, c := range r.candidates {
		if size[i] < c.Size {
			kept := slices.Clone(c.order[c.Size-size[i]:])
			slices.Sort(kept)
			keep[c.Name] = kept
		}
	}
	return keep
}

// gcd is the greatest common divisor.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
