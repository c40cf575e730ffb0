package fit

import (
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// stepRates adds to the factors of the learning rate those of the steps of learned
// quantizers. Adam moves every number by about the learning rate, whatever its
// size; a step of a quantizer, which may be a thousandth and must stay positive, has
// to move in proportion to itself. Its factor is its mean at the start.
func stepRates(o *train.OptimizerConfig, c *checkpoint.Checkpoint) error {
	if c == nil || o.Kind == train.SGD {
		return nil
	}
	qs, err := c.Net.Quantizers(c.State)
	if err != nil {
		return err
	}
	for _, q := range qs {
		if !q.Learned {
			continue
		}
		sum := 0.0
		for _, v := range q.Scale {
			sum += float64(v)
		}
		if o.LRScale == nil {
			o.LRScale = make(map[string]float64)
		}
		o.LRScale[c.Net.Module(q.Module).Tensor(layers.ScaleRole(q.Role))] = sum / float64(len(q.Scale))
	}
	return nil
}
