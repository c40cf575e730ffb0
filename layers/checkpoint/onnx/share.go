package onnx

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint"
)

// denseTerms is how many products a sum has, at least, for ONNX Runtime to compute it
// much faster in integers.
const denseTerms = 64

// DenseShare returns the share of a net's multiply-adds that are in linear layers and
// convolutions without groups, with sums of 64 products or more. ONNX Runtime 1.32
// computes these in integers in a half to a fourth of float32's time, but depthwise
// convolutions, pools, and the pairs that begin and end a net in more; grouped
// convolutions too. Of the nets that were measured (docs/onnx.md) none with more
// than two thirds is slower in 8 bits at any size.
func DenseShare(c *checkpoint.Checkpoint, o Options) (float64, error) {
	m, err := c.Net.Model()
	if err != nil {
		return 0, err
	}
	size, err := imageSize(c.Preprocess, o)
	if err != nil {
		return 0, err
	}
	n, err := newNet(m, 1, size)
	if err != nil {
		return 0, err
	}
	dense, all := int64(0), int64(0)
	for _, n := range n.graph.Nodes() {
		op, groups := n.Op, 1
		if conv, ok := op.(engine.Conv2D); ok {
			groups = conv.Complete().Groups
		} else if _, ok := op.(engine.Linear); !ok {
			continue
		}
		specs := make([]engine.Spec, len(n.In))
		for i, v := range n.In {
			specs[i] = v.Spec
		}
		cost := op.(engine.Coster).Cost(specs, []engine.Spec{n.Out[0].Spec})
		all += cost
		w := n.In[1].Shape
		if groups == 1 && n.In[1].Len()/w[len(w)-1] >= denseTerms {
			dense += cost
		}
	}
	return float64(dense) / float64(max(all, 1)), nil
}
