package distill

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// classes are one class of each image: one-hot rows [N,K], and the image's share of
// it [N,1], nil where it is the whole.
type classes struct{ one, share *engine.Value }

// A mask is the data of classes, for a batch of so many images: the classes are
// given to it batch by batch.
type mask struct {
	n, k       int
	one, share [][]float32 // of the own class and, with mixed images, of the other
}

// classes returns the classes of the images: where images are mixed, two.
func (c *call) classes() []classes {
	if c.masks != nil {
		return c.masks
	}
	target := c.in.Target
	if !c.l.o.Mixed && c.l.o.ClassWeights == nil {
		c.masks = []classes{{one: target}}
		return c.masks
	}
	m := &mask{n: target.Shape[0], k: target.Shape[1]}
	parts := 1
	if c.l.o.Mixed {
		parts = 2
	}
	for i := range parts {
		m.one, m.share = append(m.one, make([]float32, m.n*m.k)), append(m.share, make([]float32, m.n))
		c.masks = append(c.masks, classes{
			one:   c.in.Bind(fmt.Sprintf("distillation.class.%d", i), target.Spec, engine.Bytes(m.one[i])),
			share: c.in.Bind(fmt.Sprintf("distillation.share.%d", i), engine.F32(m.n, 1), engine.Bytes(m.share[i])),
		})
	}
	c.l.masks = append(c.l.masks, m)
	return c.masks
}

// labels returns the classes as one matrix [N,K] whose rows sum to one.
func (c *call) labels() *engine.Value {
	var all []*engine.Value
	for _, m := range c.classes() {
		if m.share == nil {
			return m.one
		}
		all = append(all, c.mul(m.one, m.share))
	}
	return c.One(engine.Add{}, all...)
}

// tell enters a batch's classes. Its targets are mixtures of two classes at most,
// times the weights of the classes.
func (m *mask) tell(b *data.Batch, weights []float32) {
	if b == nil || b.N != m.n || len(b.Targets) != m.n*m.k {
		return
	}
	for i := range m.one {
		clear(m.one[i])
		clear(m.share[i])
	}
	for n := range m.n {
		row, own := b.Targets[n*m.k:(n+1)*m.k], int(b.Labels[n])
		m.one[0][n*m.k+own] = 1
		m.share[0][n] = 1
		if len(m.one) == 1 {
			continue
		}
		other, rest := -1, float32(0)
		for k, v := range row {
			if weights != nil && weights[k] != 0 {
				v /= weights[k]
			}
			if k != own && v > rest {
				other, rest = k, v
			}
		}
		if other < 0 { // not mixed, or with an image of its class
			other = own
		}
		m.one[1][n*m.k+other] = 1
		m.share[0][n], m.share[1][n] = 1-rest, rest
	}
}
