package distill

import (
	"errors"
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
	T     float32 `json:"t"`     // temperature, where Spec is left out
	Alpha float32 `json:"alpha"` // the teacher's share of the loss, in [0, 1], where Spec is left out
	// Spec is the loss, see Spec; "" is the short form of kd with T and Alpha.
	Spec string `json:"spec,omitempty"`
	// Teachers says how several teachers are weighted: "", all alike, or Confidence.
	Teachers string `json:"teachers,omitempty"`
	// Precision is how the teachers' activations are stored: train.Float32,
	// train.BFloat16, Int8, or "" for the precision of the run.
	Precision string `json:"precision,omitempty"`
}

// Int8 is the Precision of teachers that compute in integers: models with ranges of their
// activations.
const Int8 = "int8"

// DefaultSettings returns the study's: T = 20, α = 0.5.
func DefaultSettings() Settings { return Settings{T: 20, Alpha: 0.5} }

// Normalized returns the settings with the default ones in place of a T and Alpha of
// zero, and a Spec in its one form.
func (s Settings) Normalized() Settings {
	if s.Spec != "" {
		if spec, err := ParseSpec(s.Spec); err == nil {
			s.Spec = spec.String()
		}
		s.T, s.Alpha = 0, 0
		return s
	}
	if s.T == 0 && s.Alpha == 0 {
		d := DefaultSettings()
		s.T, s.Alpha = d.T, d.Alpha
	}
	return s
}

// Loss returns the spec that the settings stand for.
func (s Settings) Loss() (Spec, error) {
	s = s.Normalized()
	if s.Spec == "" {
		s.Spec = fmt.Sprintf("kd:T=%v,alpha=%v", s.T, s.Alpha)
	}
	return ParseSpec(s.Spec)
}

// Validate reports the first setting that makes no sense.
func (s Settings) Validate() error {
	s = s.Normalized()
	switch {
	case s.Spec == "" && (!(s.T > 0) || math.IsInf(float64(s.T), 0)):
		return fmt.Errorf("distillation: the temperature must be positive, not %v", s.T)
	case s.Spec == "" && !(s.Alpha >= 0 && s.Alpha <= 1):
		return fmt.Errorf("distillation: alpha must be in [0, 1], not %v", s.Alpha)
	case s.Precision != "" && s.Precision != train.Float32 && s.Precision != train.BFloat16 && s.Precision != Int8:
		return fmt.Errorf("distillation: the teacher's precision is %s, %s or %s, not %q", train.Float32, train.BFloat16, Int8, s.Precision)
	case s.Teachers != "" && s.Teachers != Confidence:
		return fmt.Errorf("distillation: several teachers are weighted alike, or by %s, not by %q", Confidence, s.Teachers)
	}
	spec, err := s.Loss()
	if err != nil {
		return err
	}
	for _, i := range spec.Items {
		if i.Method.Features && s.Precision == Int8 {
			return fmt.Errorf("distillation: %s compares features, and a teacher in integers has codes; leave the teacher's precision out, or choose a method on logits", i.Method.Name)
		}
	}
	return nil
}

// String says in short what the loss is.
func (s Settings) String() string {
	s = s.Normalized()
	text := s.Spec
	if text == "" {
		text = fmt.Sprintf("T=%g, alpha=%g", s.T, s.Alpha)
	}
	if s.Teachers != "" {
		text += ", teachers weighted by " + s.Teachers
	}
	return text
}

// Options are what a loss is told of the run that it is for.
type Options struct {
	// Smoothing is the label smoothing ε of the cross-entropy.
	Smoothing float32
	// Mixed says that images are mixed (mixup, CutMix): an image may have two classes.
	Mixed bool
	// ClassWeights are those that the targets have been multiplied by, if any. They
	// weigh the labels' own term alone.
	ClassWeights []float32
	// Epochs is the length of the run, for weights that fall over it.
	Epochs int
	// Labels are the classes of the training images, for what remembers all of them.
	Labels []int32
	// Seed draws the first weights of projectors, and what is drawn in each step.
	Seed uint64
}

// A Loss is what a student minimizes under its teachers, a train.Objective: the
// cross-entropy of the labels, and a term for each method of a [Spec]. The teachers are put
// into the student's graph in evaluation mode.
type Loss struct {
	s        Settings
	spec     Spec
	o        Options
	teachers []*teacher
	terms    []term // one for each item of the spec
	factors  [][]float32
	masks    []*mask
}

// A teacher is a frozen net, and how it gets its images.
type teacher struct {
	model   *layers.Model
	adapter *adapter        // of the student's images, nil if they suit the teacher
	view    *data.Transform // of the teacher's own, nil if it gets the student's

	table    []float32 // its logits of all training images, if it is not run: see Loss.Remember
	recalled []*recalled
}

// NewLoss returns the loss under teachers that get the student's images as they
// are; Prepare changes that. The teachers' variables must have their values in the
// store that the graph runs on. A loss that compares features is complete after
// [Loss.Attach] only.
func NewLoss(s Settings, teachers []*layers.Model, o Options) (*Loss, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if len(teachers) == 0 {
		return nil, errors.New("distillation: there is no teacher")
	}
	l := &Loss{s: s.Normalized(), o: o}
	for _, m := range teachers {
		l.teachers = append(l.teachers, &teacher{model: m})
	}
	if err := l.prepare(); err != nil {
		return nil, err
	}
	return l, l.spec.CheckTeachers(len(teachers))
}

// prepare makes the terms that compare logits, and the factors of all.
func (l *Loss) prepare() (err error) {
	if l.spec, err = l.s.Loss(); err != nil {
		return err
	}
	for _, i := range l.spec.Items {
		var t term
		if !i.Method.Features {
			if t, err = i.Method.prepare(i, nil); err != nil {
				return err
			}
		}
		l.terms = append(l.terms, t)
		var f []float32
		if i.scheduled() {
			f = []float32{float32(i.Factor(0, l.o.Epochs))}
		}
		l.factors = append(l.factors, f)
	}
	return nil
}

// Describe says line by line what the terms are, with their weights.
func (l *Loss) Describe() []string {
	lines := []string{fmt.Sprintf("cross_entropy: -Σ y·log softmax(s); weight %.4g", l.spec.CE())}
	for k, i := range l.spec.Items {
		lines = append(lines, i.Describe())
		if p, ok := l.terms[k].(interface{ pairing() string }); ok {
			lines[len(lines)-1] += "; " + p.pairing()
		}
	}
	return lines
}

// Prepare gives the teacher of a number its images as its own preprocessing has them,
// where that is not the student's. Another normalization alone is a conversion in the
// graph, for which the store gets two small variables. With another resize or
// size, the pictures are prepared a second time, with the same random choices.
func (l *Loss) Prepare(store *engine.Store, k int, student, teacher checkpoint.Preprocess) (err error) {
	own := l.teachers[k]
	if other := teacher.Size != student.Size || teacher.Width != student.Width || teacher.Resize != student.Resize; teacher.Size != 0 && other || teacher.Gray != student.Gray {
		t := teacher.Transform()
		own.view = &t
		return nil
	}
	own.adapter, err = newAdapter(store, student, teacher, own.model.Net().Input.Channels)
	return err
}

// Views implements train.Objective.
func (l *Loss) Views() (views []data.Transform) {
	for _, t := range l.teachers {
		if t.view != nil {
			views = append(views, *t.view)
		}
	}
	return views
}

// State implements train.Objective: the projectors of features.
func (l *Loss) State() (vars []*engine.Variable) {
	for _, t := range l.terms {
		if t != nil {
			vars = append(vars, t.state()...)
		}
	}
	return vars
}

// Frozen implements train.Objective.
func (l *Loss) Frozen() (vars []*engine.Variable) {
	for _, t := range l.teachers {
		vars = append(vars, t.model.Variables()...)
		if a := t.adapter; a != nil {
			vars = append(vars, a.weight, a.bias)
		}
	}
	return vars
}

// Tell implements train.Objective: it brings the schedules of the weights and the
// classes of the images up to date.
func (l *Loss) Tell(m train.Moment, batch *data.Batch) {
	for k, f := range l.factors {
		if f != nil {
			f[0] = float32(l.spec.Items[k].Factor(m.Epoch, l.o.Epochs))
		}
	}
	for _, t := range l.terms {
		if t, ok := t.(interface {
			tell(m train.Moment, b *data.Batch)
		}); ok {
			t.tell(m, batch)
		}
	}
	for _, t := range l.teachers {
		t.tell(batch)
	}
	for _, m := range l.masks {
		m.tell(batch, l.o.ClassWeights)
	}
}

// forward writes the teachers' nets.
func (l *Loss) forward(b *engine.Builder, in *train.Batch) []*engine.Outputs {
	out, view := make([]*engine.Outputs, len(l.teachers)), 0
	for k, t := range l.teachers {
		if t.table != nil {
			out[k] = t.recall(k, in)
			continue
		}
		i := 0
		if t.view != nil {
			view++
			i = view
		}
		scope := "teacher"
		if k > 0 {
			scope = fmt.Sprintf("teacher.%d", k+1)
		}
		func() {
			defer b.Scope(scope)()
			images := l.images(in, i)
			if t.adapter != nil {
				images = t.adapter.apply(b, images)
			}
			out[k] = t.model.Build(b, images, false)
		}()
	}
	return out
}

// images returns a view of the batch in the teachers' precision.
func (l *Loss) images(in *train.Batch, i int) *engine.Value {
	switch l.s.Precision {
	case train.Float32, Int8:
		return in.View(i, engine.Float32)
	case train.BFloat16:
		return in.View(i, engine.BFloat16)
	}
	return in.Views[i]
}

// A call is one writing of the loss into a graph.
type call struct {
	calc
	l          *Loss
	in         *train.Batch
	student    *engine.Outputs
	teachers   []*engine.Outputs
	confidence []*engine.Value // of the teachers in each image, nil if they count alike
	masks      []classes       // of the images, once they have been asked for
}

// Build implements train.Objective.
func (l *Loss) Build(b *engine.Builder, in *train.Batch, out *engine.Outputs) []train.Term {
	ce := b.One(engine.CrossEntropy{LabelSmoothing: l.o.Smoothing}, out.Logits, in.Target)
	terms := []train.Term{{Name: "cross_entropy", Weight: float32(l.spec.CE()), Value: ce}}
	teachers := l.forward(b, in)
	if b.Err() != nil {
		return terms
	}
	return append(terms, l.imitate(b, in, out, teachers)...)
}

// imitate writes the terms that draw the student toward its teachers.
func (l *Loss) imitate(b *engine.Builder, in *train.Batch, out *engine.Outputs, teachers []*engine.Outputs) (terms []train.Term) {
	c := &call{calc: calc{b}, l: l, in: in, student: out, teachers: teachers}
	defer b.Scope("distillation")()
	if l.s.Teachers == Confidence && len(c.teachers) > 1 {
		c.confidence = c.confidences(c.teachers, c.labels())
	}
	for k, i := range l.spec.Items {
		if l.terms[k] == nil {
			b.Fail(fmt.Errorf("distillation: %s compares features, and the student's are not known; call Attach", i.Method.Name))
			return terms
		}
		t := train.Term{Name: i.Method.Name, Weight: float32(i.Weight()), Value: l.terms[k].build(c), Imitation: true}
		if len(l.spec.Items) == 1 && i.Method == &kdMethod {
			t.Name = "distillation" // as runs have called it that had this term alone
		}
		if f := l.factors[k]; f != nil {
			t.Factor = in.Bind("distillation."+i.Method.Name, engine.F32(), engine.Bytes(f))
		}
		terms = append(terms, t)
	}
	return terms
}
