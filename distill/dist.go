package distill

import "github.com/potstill/potstill/engine"

// distMethod is DIST: with p = softmax(z/T) of student and teacher [N,K], and ρ
// Pearson's correlation,
//
//	T²·(β·(1 - mean_n ρ(p_s[n,:], p_t[n,:])) + γ·(1 - mean_k ρ(p_s[:,k], p_t[:,k])))
//
// where ρ(a, b) = Σab/(‖a‖·‖b‖ + 1e-8) of a and b less their means.
var distMethod = Method{
	Name:    "dist",
	Formula: "T²·(beta·(1 - mean ρ over classes of an image) + gamma·(1 - mean ρ over images of a class)), ρ of softmax(z/T)",
	Source:  "Huang, You, Wang, Qian and Xu, arXiv:2205.10536; DIST_KD, whose recipe for ImageNet has beta = gamma = 2",
	Keys: []Key{
		fromZero("beta", "1", "weight of the correlation within an image"), fromZero("gamma", "1", "weight of the correlation within a class"),
		positive("T", "1", "temperature"), keyStandardize,
	},
	prepare: func(i Item, _ *features) (term, error) { return logits(distTerm(i)), nil },
}

func distTerm(i Item) func(c *call) *engine.Value {
	temperature, beta, gamma := i.float("T"), i.float("beta"), i.float("gamma")
	square := temperature * temperature
	return func(c *call) *engine.Value {
		soft := func(z *engine.Value) *engine.Value {
			return c.One(engine.Softmax{}, c.over(z, temperature))
		}
		rows := c.weighted(func(k int) *engine.Value {
			s, t := c.pair(k, i)
			return c.correlation(soft(s), soft(t))
		})
		columns := c.shared(func(k int) *engine.Value {
			s, t := c.pair(k, i)
			return c.mean(c.correlation(c.transpose(soft(s)), c.transpose(soft(t))))
		})
		less := c.One(engine.Add{Weights: []float32{-beta * square, -gamma * square}}, rows, columns)
		return c.plus(less, (beta+gamma)*square)
	}
}

// correlation is Pearson's of each row, [N,K] and [N,K] to [N,1].
func (c calc) correlation(x, y *engine.Value) *engine.Value {
	x, y = c.centered(x), c.centered(y)
	return c.div(c.rows(c.mul(x, y)), c.plus(c.mul(c.norms(x), c.norms(y)), 1e-8))
}
