package distill

import "github.com/potstill/potstill/engine"

// dkdMethod is decoupled knowledge distillation. With p the probability of the
// image's class y at temperature T, b = (p, 1-p), and q the probabilities of the
// other classes among themselves:
//
//	T²·(α·KL(b_t ‖ b_s) + β·KL(q_t ‖ q_s))
//
// of student s and teacher t, mean over the images. Of a mixed image it is the mean
// of what its two classes give, in the proportion in which they are mixed.
var dkdMethod = Method{
	Name:    "dkd",
	Formula: "T²·(alpha·KL of class against rest + beta·KL among the rest)",
	Source:  "Zhao, Cui, Song, Qiu and Liang, arXiv:2203.08679; mdistiller, where the weight rises over 20 of 240 epochs",
	Keys: []Key{
		fromZero("alpha", "1", "weight of the class against the rest"), fromZero("beta", "8", "weight of the rest among themselves"),
		positive("T", "", "temperature: 4, with standardize 2"), keyStandardize,
	},
	prepare: func(i Item, _ *features) (term, error) { return logits(dkdTerm(i)), nil },
}

func dkdTerm(i Item) func(c *call) *engine.Value {
	temperature, alpha, beta := i.temperature(4, 2), i.float("alpha"), i.float("beta")
	return func(c *call) *engine.Value {
		return c.weighted(func(k int) *engine.Value {
			s, t := c.pair(k, i)
			s, t = c.over(s, temperature), c.over(t, temperature)
			var all *engine.Value
			for _, m := range c.classes() {
				rows := c.decoupled(s, t, m.one, alpha, beta)
				if m.share != nil {
					rows = c.mul(rows, m.share)
				}
				if all == nil {
					all = rows
					continue
				}
				all = c.add(all, rows)
			}
			return c.scale(all, temperature*temperature)
		})
	}
}

// decoupled is α·KL(b_t ‖ b_s) + β·KL(q_t ‖ q_s) of each row, for logits divided by
// the temperature and classes [N,K] of one-hot rows. The reference takes the logarithm of
// 1-p, which underflows; here the two probabilities are the softmax of the class's
// logit and of log Σe^z over the others.
func (c calc) decoupled(s, t, class *engine.Value, alpha, beta float32) *engine.Value {
	two := func(z *engine.Value) (both, others *engine.Value) {
		others = c.One(engine.Add{Weights: []float32{1, -1000}}, z, class)
		return c.One(engine.Concat{}, c.rows(c.mul(z, class)), c.logSumExp(others)), others
	}
	bs, qs := two(s)
	bt, qt := two(t)
	return c.One(engine.Add{Weights: []float32{alpha, beta}}, c.divergence(bs, bt), c.divergence(qs, qt))
}
