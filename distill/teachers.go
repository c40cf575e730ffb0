package distill

import (
	"github.com/potstill/potstill/engine"
)

// Confidence is the value of Settings.Teachers that weights teachers image by image.
const Confidence = "confidence"

// confidences returns the weights of K teachers for each image, [N,1] each, which sum
// to one: with CE_k the cross-entropy of teacher k,
//
//	w_k = (1 - softmax(CE)_k)/(K-1)
//
// (Zhang, Chen and Wang, "Confidence-aware multi-teacher knowledge distillation",
// arXiv:2201.00007). A teacher that is surely wrong about an image says nothing of it.
func (c calc) confidences(teachers []*engine.Outputs, target *engine.Value) []*engine.Value {
	columns := make([]*engine.Value, len(teachers))
	for k, t := range teachers {
		columns[k] = c.scale(c.rows(c.mul(target, c.logSoftmax(t.Logits))), -1)
	}
	share := c.One(engine.Softmax{}, c.One(engine.Concat{}, columns...))
	for k := range columns {
		column := c.One(engine.Slice{Start: k, End: k + 1}, share)
		columns[k] = c.over(c.sub(c.fill(1, column.Shape...), column), float32(len(columns)-1))
	}
	return columns
}

// average is the mean over the teachers of a scalar.
func (c *call) average(of func(k int) *engine.Value) *engine.Value {
	if len(c.teachers) == 1 {
		return of(0)
	}
	all := make([]*engine.Value, len(c.teachers))
	for k := range all {
		all[k] = of(k)
	}
	return c.over(c.One(engine.Add{}, all...), float32(len(all)))
}

// weighted is the mean over the images of rows [N,1], which each teacher gives: with
// its weight for the image, or all alike.
func (c *call) weighted(of func(k int) *engine.Value) *engine.Value {
	if c.confidence == nil {
		return c.average(func(k int) *engine.Value { return c.mean(of(k)) })
	}
	all := make([]*engine.Value, len(c.teachers))
	for k := range all {
		all[k] = c.mul(of(k), c.confidence[k])
	}
	return c.mean(c.One(engine.Add{}, all...))
}

// shared is the sum over the teachers of a scalar that belongs to the whole batch,
// each with the mean of its weights.
func (c *call) shared(of func(k int) *engine.Value) *engine.Value {
	if c.confidence == nil {
		return c.average(of)
	}
	all := make([]*engine.Value, len(c.teachers))
	for k := range all {
		all[k] = c.mul(of(k), c.mean(c.confidence[k]))
	}
	return c.One(engine.Add{}, all...)
}

// pair returns the logits of the student and of teacher k, standardized where the
// method wants it.
func (c *call) pair(k int, i Item) (s, t *engine.Value) {
	s, t = c.student.Logits, c.teachers[k].Logits
	if i.on("standardize") {
		s, t = c.standardized(s), c.standardized(t)
	}
	return s, t
}

// standardized is (z - mean)/(std + 1e-7) of each row, std that of N-1 (Sun, Ren, Li,
// Wang and Cao, "Logit standardization in knowledge distillation", arXiv:2403.01427).
func (c calc) standardized(z *engine.Value) *engine.Value {
	d := c.centered(z)
	variance := c.over(c.rows(c.mul(d, d)), float32(max(z.Shape[1]-1, 1)))
	std := c.of(engine.Sqrt, c.plus(variance, tiny))
	return c.mul(d, c.of(engine.Reciprocal, c.plus(std, 1e-7)))
}
