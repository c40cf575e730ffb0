package distill

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Settings are those of the distillation loss. The zero value means
// [DefaultSettings].
type Settings struct {
	T     float32 `json:"t"`     // temperature
	Alpha float32 `json:"alpha"` // the teacher's share of the loss, in [0, 1]
	// Precision is how the teacher's activations are stored: train.Float32,
	// train.BFloat16, or "" for the precision of the run.
	Precision string `json:"precision,omitempty"`
}

// DefaultSettings returns the study's: T = 20, α = 0.5.
func DefaultSettings() Settings { return Settings{T: 20, Alpha: 0.5} }

// Normalized returns the settings, or the default ones in place of the zero value.
func (s Settings) Normalized() Settings {
	if s.T == 0 && s.Alpha == 0 {
		d := DefaultSettings()
		d.Precision = s.Precision
		return d
	}
	return s
}

// Validate reports the first setting that makes no sense.
func (s Settings) Validate() error {
	s = s.Normalized()
	switch {
	case !(s.T > 0) || math.IsInf(float64(s.T), 0):
		return fmt.Errorf("distillation: the temperature must be positive, not %v", s.T)
	case !(s.Alpha >= 0 && s.Alpha <= 1):
		return fmt.Errorf("distillation: alpha must be in [0, 1], not %v", s.Alpha)
	case s.Precision != "" && s.Precision != train.Float32 && s.Precision != train.BFloat16:
		return fmt.Errorf("distillation: the teacher's precision is %s or %s, not %q", train.Float32, train.BFloat16, s.Precision)
	}
	return nil
}

// A Loss is Hinton's loss under a teacher, a train.Objective of two terms:
//
//	(1-α)·CE(s, y) + α·T²·KL(softmax(t/T) ‖ softmax(s/T))
//
// of the student's logits s [N,classes], the targets y [N,classes] and the
// logits t of the teacher, which is put into the same graph in evaluation mode.
type Loss struct {
	train.Stateless
	s         Settings
	teacher   *layers.Model
	smoothing float32
	adapter   *adapter        // of the student's images, nil if they suit the teacher
	view      *data.Transform // of the teacher's own, nil if it gets the student's
}

// NewLoss returns the loss under a teacher that gets the student's images as
// they are; Prepare changes that. Smoothing is the label smoothing ε of the
// cross-entropy. The teacher's variables must have their values in the store
// that the graph runs on.
func NewLoss(s Settings, teacher *layers.Model, smoothing float32) *Loss {
	return &Loss{s: s.Normalized(), teacher: teacher, smoothing: smoothing}
}

// Prepare gives the teacher its images as its own preprocessing has them, where
// that is not the student's. Another normalization alone is a conversion in the
// graph, for which the store gets two small variables. With another resize or
// size, the pictures are prepared a second time, with the same random choices.
func (l *Loss) Prepare(store *engine.Store, student, teacher checkpoint.Preprocess) (err error) {
	if other := teacher.Size != student.Size || teacher.Width != student.Width || teacher.Resize != student.Resize; teacher.Size != 0 && other || teacher.Gray != student.Gray {
		t := teacher.Transform()
		l.view = &t
		return nil
	}
	l.adapter, err = newAdapter(store, student, teacher, l.teacher.Net().Input.Channels)
	return err
}

// Views implements train.Objective.
func (l *Loss) Views() []data.Transform {
	if l.view == nil {
		return nil
	}
	return []data.Transform{*l.view}
}

// Frozen implements train.Objective.
func (l *Loss) Frozen() []*engine.Variable {
	vs := l.teacher.Variables()
	if a := l.adapter; a != nil {
		vs = append(vs, a.weight, a.bias)
	}
	return vs
}

// images returns the teacher's view of the batch, in the teacher's precision.
func (l *Loss) images(in *train.Batch) *engine.Value {
	i := len(in.Views) - 1
	switch l.s.Precision {
	case train.Float32:
		return in.View(i, engine.Float32)
	case train.BFloat16:
		return in.View(i, engine.BFloat16)
	}
	return in.Views[i]
}

// Build implements train.Objective.
func (l *Loss) Build(b *engine.Builder, in *train.Batch, out *engine.Outputs) []train.Term {
	if err := l.s.Validate(); err != nil {
		b.Fail(err)
	}
	images := l.images(in)
	if l.adapter != nil {
		images = l.adapter.apply(b, images)
	}
	t := func() *engine.Value {
		defer b.Scope("teacher")()
		return l.teacher.Forward(b, images, false)
	}()
	ce := b.One(engine.CrossEntropy{LabelSmoothing: l.smoothing}, out.Logits, in.Target)
	kl := b.One(engine.KLDiv{T: l.s.T}, out.Logits, t)
	return []train.Term{{Name: "cross_entropy", Weight: 1 - l.s.Alpha, Value: ce}, {Name: "distillation", Weight: l.s.Alpha, Value: kl}}
}
