package distill

import "github.com/potstill/potstill/engine"

// A calc writes matrices and what becomes of them: the algebra that the losses are
// made of. A matrix of rows [N,1] is a column, one number a row.
type calc struct{ *engine.Builder }

// tiny is added to a square before its root is taken, so that the root has a slope at 0.
// It changes no root above 1e-11 in float32's precision.
const tiny = 1e-30

// fill returns a constant.
func (c calc) fill(v float32, shape ...int) *engine.Value {
	return c.One(engine.Fill{Value: v, Shape: shape})
}

func (c calc) shape(x *engine.Value, shape ...int) *engine.Value {
	return c.One(engine.Reshape{Shape: shape}, x)
}

// of applies an element-wise function.
func (c calc) of(f engine.Act, x *engine.Value) *engine.Value {
	return c.One(engine.Activation{F: f}, x)
}

func (c calc) add(x, y *engine.Value) *engine.Value { return c.One(engine.Add{}, x, y) }

func (c calc) sub(x, y *engine.Value) *engine.Value {
	return c.One(engine.Add{Weights: []float32{1, -1}}, x, y)
}

// plus adds a number to every element.
func (c calc) plus(x *engine.Value, v float32) *engine.Value {
	return c.add(x, c.fill(v, x.Shape...))
}

// mul is the product of elements; y may be a column that is repeated over x's own
// columns.
func (c calc) mul(x, y *engine.Value) *engine.Value { return c.One(engine.Mul{}, x, y) }

func (c calc) div(x, y *engine.Value) *engine.Value { return c.One(engine.Div{}, x, y) }

// over divides every element by a number, exactly.
func (c calc) over(x *engine.Value, v float32) *engine.Value {
	return c.div(x, c.fill(v, x.Shape...))
}

func (c calc) scale(x *engine.Value, v float32) *engine.Value {
	return c.One(engine.Add{Weights: []float32{v}}, x)
}

// product is x·y, of [N,K] and [K,M].
func (c calc) product(x, y *engine.Value) *engine.Value { return c.One(engine.Linear{}, x, y) }

// gram is x·yᵀ, of [N,K] and [M,K].
func (c calc) gram(x, y *engine.Value) *engine.Value {
	return c.One(engine.LinearBackwardData{}, x, y)
}

// transpose is xᵀ.
func (c calc) transpose(x *engine.Value) *engine.Value {
	n, k := x.Shape[0], x.Shape[1]
	return c.shape(c.One(engine.Flatten{}, c.shape(x, 1, n, 1, k)), k, n)
}

// rows is the sum of each row, [N,K] to [N,1].
func (c calc) rows(x *engine.Value) *engine.Value {
	return c.product(x, c.fill(1, x.Shape[1], 1))
}

// spread repeats a column, [N,1] to [N,k].
func (c calc) spread(x *engine.Value, k int) *engine.Value { return c.product(x, c.fill(1, 1, k)) }

// sum is the sum of all elements, a scalar. It is taken axis by axis, so that no
// number is the sum of very many.
func (c calc) sum(x *engine.Value) *engine.Value {
	for len(x.Shape) > 0 {
		last := x.Shape[len(x.Shape)-1]
		rest := x.Shape[:len(x.Shape)-1]
		x = c.shape(c.rows(c.shape(x, x.Len()/last, last)), rest...)
	}
	return x
}

// mean is that of all elements, a scalar.
func (c calc) mean(x *engine.Value) *engine.Value { return c.over(c.sum(x), float32(x.Len())) }

// norms is the Euclidean norm of each row, [N,K] to [N,1].
func (c calc) norms(x *engine.Value) *engine.Value {
	return c.of(engine.Sqrt, c.plus(c.rows(c.mul(x, x)), tiny))
}

// centered takes the mean of each row from it.
func (c calc) centered(x *engine.Value) *engine.Value {
	k := x.Shape[1]
	return c.sub(x, c.spread(c.over(c.rows(x), float32(k)), k))
}

// unit divides each row by its norm, at least 1e-12: PyTorch's F.normalize.
func (c calc) unit(x *engine.Value) *engine.Value {
	return c.mul(x, c.of(engine.Reciprocal, c.of(engine.Clip(1e-12, 3e38), c.norms(x))))
}

func (c calc) logSoftmax(x *engine.Value) *engine.Value {
	return c.One(engine.Softmax{Log: true}, x)
}

// largest is the largest number of each row, [N,K] to [N,1].
func (c calc) largest(x *engine.Value) *engine.Value {
	n, k := x.Shape[0], x.Shape[1]
	return c.shape(c.One(engine.AdaptiveMaxPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{1, 1}}}, c.shape(x, n, k, 1, 1)), n, 1)
}

// logSumExp is log Σ_k e^x[n,k] of each row, [N,K] to [N,1]: the largest and the
// logarithm of what is relative to it.
func (c calc) logSumExp(x *engine.Value) *engine.Value {
	k, top := x.Shape[1], c.largest(x)
	return c.add(top, c.of(engine.Log, c.rows(c.of(engine.Exp, c.sub(x, c.spread(top, k))))))
}

// divergence is KL(softmax(t) ‖ softmax(s)) of each row, [N,K] and [N,K] to [N,1].
// It has no gradient of t that would be of use.
func (c calc) divergence(s, t *engine.Value) *engine.Value {
	log := c.logSoftmax(t)
	return c.rows(c.mul(c.of(engine.Exp, log), c.sub(log, c.logSoftmax(s))))
}

// smoothL1 is ½d² of differences d below 1, |d| - ½ above, element by element.
func (c calc) smoothL1(x, y *engine.Value) *engine.Value {
	d := c.of(engine.Abs, c.sub(x, y))
	low := c.of(engine.Clip(0, 1), d)
	return c.add(c.scale(c.mul(low, low), 0.5), c.sub(d, low))
}

// wide returns x in float32.
func (c calc) wide(x *engine.Value) *engine.Value {
	if x.DType == engine.Float32 {
		return x
	}
	return c.One(engine.Cast{To: engine.Float32}, x)
}
