package distill

import "github.com/potstill/potstill/engine"

// kdMethod is Hinton's loss.
var kdMethod = Method{
	Name:    "kd",
	Formula: "T²·KL(softmax(t/T) ‖ softmax(s/T))",
	Source:  "Hinton, Vinyals and Dean, arXiv:1503.02531; defaults of mdistiller for CIFAR-100, with standardize those of logit-standardization-KD",
	Keys: []Key{
		positive("T", "", "temperature: 4, with standardize 2"),
		{Name: "alpha", Help: "the weight of the term, where that of the labels is 1 - alpha: 0.9 unless w is given", most: 1},
		keyStandardize,
	},
	weight:  kdWeight,
	prepare: func(i Item, _ *features) (term, error) { return logits(kdTerm(i)), nil },
}

// kdWeight is that of mdistiller's recipes.
func kdWeight(i Item) float64 {
	switch {
	case i.has("alpha"):
		return i.number("alpha")
	case i.on("standardize"):
		return 9
	}
	return 0.9
}

// kdCE is the weight of the labels beside a kd whose weight is not given.
func kdCE(i Item) float64 {
	if i.has("alpha") {
		return 1 - i.number("alpha")
	}
	return 0.1
}

// temperature is that of a method whose default depends on standardization.
func (i Item) temperature(plain, standardized float32) float32 {
	switch {
	case i.has("T"):
		return i.float("T")
	case i.on("standardize"):
		return standardized
	}
	return plain
}

// kdTerm writes Hinton's loss. Where nothing is weighted image by image it is one
// operator a teacher.
func kdTerm(i Item) func(c *call) *engine.Value {
	temperature := i.temperature(4, 2)
	return func(c *call) *engine.Value {
		if c.confidence == nil {
			return c.average(func(k int) *engine.Value {
				s, t := c.pair(k, i)
				return c.One(engine.KLDiv{T: temperature}, s, t)
			})
		}
		return c.weighted(func(k int) *engine.Value {
			s, t := c.pair(k, i)
			return c.scale(c.divergence(c.over(s, temperature), c.over(t, temperature)), temperature*temperature)
		})
	}
}
