package distill

import "github.com/potstill/potstill/engine"

// spMethod keeps similarities: with G = F·Fᵀ of the flattened features F [N,H·W·C] of
// a batch, its rows divided by their norms,
//
//	‖G_s - G_t‖²/N²
//
// The two nets' features may have any sizes.
var spMethod = Method{
	Name:     "sp",
	Formula:  "Σ over pairs of ‖G_s - G_t‖²/N², G = F·Fᵀ with rows of norm 1",
	Source:   "Tung and Mori, arXiv:1907.09682; mdistiller",
	Keys:     lastPair,
	Features: true,
	weight:   func(Item) float64 { return 3000 },
	prepare: relational(func(c *call, s, t *engine.Value) *engine.Value {
		similar := func(f *engine.Value) *engine.Value {
			f = c.flat(f)
			return c.unit(c.gram(f, f))
		}
		return c.One(engine.MSE{}, similar(s), similar(t))
	}),
}

// pktMethod transfers probabilities: with K = (1 + cosine)/2 of all pairs of images,
// rows divided by their sums, of pooled features,
//
//	mean over pairs of K_t·log((K_t + ε)/(K_s + ε)),  ε = 1e-7
var pktMethod = Method{
	Name:     "pkt",
	Formula:  "mean K_t·log((K_t + 1e-7)/(K_s + 1e-7)), K = (1 + cosine)/2 of pairs of images, rows of sum 1",
	Source:   "Passalis and Tefas, arXiv:1803.10837; mdistiller",
	Keys:     lastPair,
	Features: true,
	weight:   func(Item) float64 { return 30000 },
	prepare: relational(func(c *call, s, t *engine.Value) *engine.Value {
		const eps = 1e-7
		likely := func(f *engine.Value) *engine.Value {
			f = c.pooled(f)
			f = c.mul(f, c.of(engine.Reciprocal, c.plus(c.norms(f), eps)))
			k := c.over(c.plus(c.gram(f, f), 1), 2)
			return c.mul(k, c.of(engine.Reciprocal, c.rows(k)))
		}
		ks, kt := likely(s), likely(t)
		log := func(x *engine.Value) *engine.Value { return c.of(engine.Log, c.plus(x, eps)) }
		return c.mean(c.mul(kt, c.sub(log(kt), log(ks))))
	}),
}

// lastPair are the keys of methods that compare the last features only.
var lastPair = append([]Key{word("stages", "last", "which of the pairs, counted from 1, as in 2-4 or 1/3; last")}, tapKeys[1:]...)

// A relation compares what two nets make of a batch, pair by pair.
type relation struct {
	paired
	of func(c *call, s, t *engine.Value) *engine.Value
}

func (r *relation) build(c *call) *engine.Value {
	return c.compare(r.paired, func(_, _ int, s, t *engine.Value) *engine.Value { return r.of(c, s, t) })
}

// relational is the preparation of methods without projectors. Their features need
// not have one size: where none does, the last of both nets are a pair.
func relational(of func(c *call, s, t *engine.Value) *engine.Value) func(Item, *features) (term, error) {
	return func(i Item, f *features) (term, error) {
		if i.text("student") == "auto" && i.text("teacher") == "auto" && i.text("stages") == "last" {
			var p paired
			own := f.stages(f.student)
			for _, t := range f.teachers {
				its := f.stages(t)
				if len(own) == 0 || len(its) == 0 {
					return nil, errNoMaps
				}
				p = append(p, []pair{{own[len(own)-1], its[len(its)-1]}})
			}
			return &relation{p, of}, nil
		}
		p, err := f.pair(i)
		return &relation{p, of}, err
	}
}
