package distill

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint"
)

// An adapter converts images from one normalization to another: a convolution
// 1×1 a channel, whose weights are frozen.
type adapter struct{ weight, bias *engine.Variable }

// newAdapter returns what takes images normalized as from to images normalized
// as to, nil if they are the same:
//
//	(x·σ_from + μ_from - μ_to)/σ_to = x·σ_from/σ_to + (μ_from - μ_to)/σ_to
func newAdapter(store *engine.Store, from, to checkpoint.Preprocess, channels int) (*adapter, error) {
	scale, shift := make([]float32, channels), make([]float32, channels)
	same := true
	for c := range channels {
		fm, fs := from.Normalization(c)
		tm, ts := to.Normalization(c)
		scale[c], shift[c] = float32(fs/ts), float32((fm-tm)/ts)
		same = same && fm == tm && fs == ts
	}
	if same {
		return nil, nil
	}
	a := &adapter{
		weight: &engine.Variable{Name: "adapt.weight", Spec: engine.F32(1, 1, 1, channels)},
		bias:   &engine.Variable{Name: "adapt.bias", Spec: engine.F32(channels)},
	}
	if err := store.Set(a.weight, engine.Bytes(scale)); err != nil {
		return nil, err
	}
	return a, store.Set(a.bias, engine.Bytes(shift))
}

// apply converts images.
func (a *adapter) apply(b *engine.Builder, images *engine.Value) *engine.Value {
	return b.One(engine.Conv2D{Groups: a.bias.Len()}, images, b.Variable(a.weight), b.Variable(a.bias))
}
