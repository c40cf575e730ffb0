package distill

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Settings are those of the distillation loss. The zero value means
// [DefaultSettings].
type Settings struct {
	T     float32 `json:"t"`     // temperature
	Alpha float32 `json:"alpha"` // the teacher's share of the loss, in [0, 1]
}

// DefaultSettings returns the study's: T = 20, α = 0.5.
func DefaultSettings() Settings { return Settings{T: 20, Alpha: 0.5} }

func (s Settings) normalized() Settings {
	if s == (Settings{}) {
		return DefaultSettings()
	}
	return s
}

// Validate reports the first setting that makes no sense.
func (s Settings) Validate() error {
	s = s.normalized()
	switch {
	case !(s.T > 0) || math.IsInf(float64(s.T), 0):
		return fmt.Errorf("distillation: the temperature must be positive, not %v", s.T)
	case !(s.Alpha >= 0 && s.Alpha <= 1):
		return fmt.Errorf("distillation: alpha must be in [0, 1], not %v", s.Alpha)
	}
	return nil
}

// Loss returns the distillation loss
//
//	(1-α)·CE(s, y) + α·T²·KL(softmax(t/T) ‖ softmax(s/T))
//
// of the student's logits s [N,classes], the targets y [N,classes] and the
// logits t of the teacher, which is put into the same graph in evaluation mode
// and gets the student's images [N,H,W,C]. Smoothing is the label smoothing ε
// of the cross-entropy. The teacher's variables must have their values in the
// store that the graph runs on; pass them as train.Hooks.Extra.
func Loss(s Settings, teacher *layers.Model, smoothing float32) train.LossFunc {
	s = s.normalized()
	return func(b *engine.Builder, images, logits, target *engine.Value) *engine.Value {
		if err := s.Validate(); err != nil {
			b.Fail(err)
		}
		t := func() *engine.Value {
			defer b.Scope("teacher")()
			return teacher.Forward(b, images, false)
		}()
		ce := b.One(engine.CrossEntropy{LabelSmoothing: smoothing}, logits, target)
		kl := b.One(engine.KLDiv{T: s.T}, logits, t)
		return b.One(engine.Add{Weights: []float32{1 - s.Alpha, s.Alpha}}, ce, kl)
	}
}

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
		fm, fs := normalization(from, c)
		tm, ts := normalization(to, c)
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

// normalization returns the mean and the deviation of a channel.
func normalization(p checkpoint.Preprocess, c int) (mean, std float64) {
	if len(p.Mean) == 0 {
		return 0, 1
	}
	return float64(p.Mean[c]), float64(p.Std[c])
}

// wrap puts the adapter between the images and a loss.
func (a *adapter) wrap(loss train.LossFunc) train.LossFunc {
	return func(b *engine.Builder, images, logits, target *engine.Value) *engine.Value {
		x := b.One(engine.Conv2D{Groups: a.bias.Len()}, images, b.Variable(a.weight), b.Variable(a.bias))
		return loss(b, x, logits, target)
	}
}
