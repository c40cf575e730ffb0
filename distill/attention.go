package distill

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// atMethod is attention transfer: with a = q/‖q‖ the attention map of an image, where
// q[h,w] is the mean of f² over the channels of the features f, summed over the pairs,
//
//	form=code:   mean over images and pixels of (a_s - a_t)²
//	form=paper:  ½·‖a_s - a_t‖, mean over the images
//
// The paper prints the second, its code has the first, which is smaller by about the
// number of pixels. The larger of two maps is averaged to the size of the smaller.
var atMethod = Method{
	Name:     "at",
	Formula:  "Σ over pairs of mean (a_s - a_t)², a = q/‖q‖, q = mean over channels of f² (form=paper: ½·‖a_s - a_t‖)",
	Source:   "Zagoruyko and Komodakis, arXiv:1612.03928; mdistiller",
	Keys:     append([]Key{word("form", "code", "code or paper")}, tapKeys...),
	Features: true,
	weight:   func(Item) float64 { return 1000 },
	prepare: func(i Item, f *features) (term, error) {
		form := i.text("form")
		if form != "code" && form != "paper" {
			return nil, fmt.Errorf("form=%s: it is code or paper", form)
		}
		p, err := f.pair(i)
		return &attention{paired: p, paper: form == "paper"}, err
	},
}

type attention struct {
	paired
	paper bool
}

func (a *attention) build(c *call) *engine.Value {
	return c.compare(a.paired, func(_, _ int, s, t *engine.Value) *engine.Value {
		s, t = c.level(s, t)
		s, t = c.attention(s), c.attention(t)
		if a.paper {
			return c.scale(c.mean(c.norms(c.sub(s, t))), 0.5)
		}
		return c.One(engine.MSE{}, s, t)
	})
}

// attention is the attention map of features, [N,H,W,C] to [N,H·W].
func (c calc) attention(f *engine.Value) *engine.Value {
	n, k := f.Shape[0], f.Shape[3]
	square := c.shape(c.mul(f, f), f.Len()/k, k)
	return c.unit(c.shape(c.over(c.rows(square), float32(k)), n, f.Len()/k/n))
}
