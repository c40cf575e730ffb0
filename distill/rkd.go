package distill

import (
	"errors"

	"github.com/potstill/potstill/engine"
)

var errNoMaps = errors.New("a net has no output of more than one pixel; name modules with student= and teacher=")

// rkdMethod keeps relations: of pooled features e [N,C], the distances of all pairs of
// images, d = ‖e_i - e_j‖ divided by the mean of those of different images, and the
// cosines of the angles of all triplets, a = ⟨e_j - e_i, e_k - e_i⟩ of vectors of norm 1,
//
//	distance·mean h(d_s - d_t) + angle·mean h(a_s - a_t)
//
// where h(x) is ½x² for |x| < 1, else |x| - ½.
var rkdMethod = Method{
	Name:    "rkd",
	Formula: "distance·mean h(d_s - d_t) + angle·mean h(a_s - a_t), d distances of pairs over their mean, a cosines of triplets, h smooth L1",
	Source:  "Park, Kim, Lu and Cho, arXiv:1904.05068; mdistiller",
	Keys: append([]Key{
		fromZero("distance", "25", "weight of the distances"), fromZero("angle", "50", "weight of the angles"),
	}, lastPair...),
	Features: true,
	prepare: func(i Item, f *features) (term, error) {
		distance, angle := i.float("distance"), i.float("angle")
		return relational(func(c *call, s, t *engine.Value) *engine.Value {
			ds, as := c.relations(c.pooled(s))
			dt, at := c.relations(c.pooled(t))
			return c.One(engine.Add{Weights: []float32{distance, angle}}, c.mean(c.smoothL1(ds, dt)), c.mean(c.smoothL1(as, at)))
		})(i, f)
	},
}

// relations returns the relative distances [N,N] and the cosines of the triplets
// [N·N,N] of rows e [N,C]. Both are written with the products of centered rows,
// ⟨e_j - e_i, e_k - e_i⟩ = G_jk - G_ij - G_ik + G_ii.
func (c *call) relations(e *engine.Value) (distance, angle *engine.Value) {
	n := e.Shape[0]
	e = c.transpose(c.centered(c.transpose(e)))
	diagonal := c.diagonal(n)
	g := c.gram(e, e)
	square := c.rows(c.mul(g, diagonal)) // G_ii
	repeated := c.spread(square, n)
	apart := c.of(engine.Clip(1e-12, 3e38), c.One(engine.Add{Weights: []float32{1, 1, -2}}, repeated, c.transpose(repeated), g))
	off := c.sub(c.fill(1, n, n), diagonal)
	d := c.mul(c.of(engine.Sqrt, apart), off)
	mean := c.shape(c.over(c.sum(d), float32(max(n*(n-1), 1))), 1, 1)
	distance = c.div(d, c.shape(c.spread(mean, n*n), n, n))

	// At [i,j,·,k], as an image of N rows of one pixel each.
	all := func(x *engine.Value) *engine.Value { return c.shape(x, n, n, 1, n) }
	one := c.fill(1, n, n, 1, n)
	jk := all(c.product(c.fill(1, n, 1), c.shape(g, 1, n*n)))
	ij, ik := c.mul(one, c.shape(g, n, n, 1, 1)), c.mul(one, g)
	ii := all(c.spread(square, n*n))
	dot := c.One(engine.Add{Weights: []float32{1, -1, -1, 1}}, jk, ij, ik, ii)
	inverse := c.mul(c.of(engine.Reciprocal, c.of(engine.Sqrt, apart)), off)
	cos := c.mul(c.mul(dot, c.shape(inverse, n, n, 1, 1)), inverse)
	return distance, c.shape(cos, n*n, n)
}

// diagonal is the unit matrix of n rows.
func (c *call) diagonal(n int) *engine.Value {
	const name = "distillation.diagonal"
	if v := c.Graph().Input(name); v != nil {
		return v
	}
	data := make([]float32, n*n)
	for i := range n {
		data[i*n+i] = 1
	}
	return c.in.Bind(name, engine.F32(n, n), engine.Bytes(data))
}
