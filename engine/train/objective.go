package train

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// An Objective is what a run minimizes: a sum of terms, each a scalar that is a
// mean over the batch. A type that embeds [Stateless] needs nothing but Build.
type Objective interface {
	// Build writes the terms down. In has the images and the classes, out the
	// net's logits and the outputs of its modules ([engine.Outputs.At]). It is
	// called once for every shape of batch; errors go to b.
	Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term
	// Views are further preparations of the images, as those that a teacher was
	// made for, without random stages: they are made with the random choices of
	// the net's own images (see data.LoaderOptions). In.Views[1+i] has the i-th.
	Views() []data.Transform
	// State are float32 variables of the objective's own: projectors, memory
	// banks. Those that are Trainable are trained as the net's parameters are;
	// Build may write the others (engine.Updater). They are part of the "last"
	// snapshot, and never of the "best". Their first values must be in the store
	// before the run begins.
	State() []*engine.Variable
	// Frozen are variables that Build reads and that must not change, such as a
	// teacher's: a step that would change one is refused. They are in no snapshot.
	Frozen() []*engine.Variable
	// Tell is called before each batch is launched, and brings up to date the
	// data that Build has bound with [Batch.Bind]. It must be quick.
	Tell(m Moment, b *data.Batch)
}

// A Term is a part of the loss.
type Term struct {
	// Name tells the terms of an objective apart, as in "cross_entropy": metrics
	// have the terms by name where there are several.
	Name string
	// Weight is the factor of the value in the loss.
	Weight float32
	// Value is a scalar, a mean over the batch.
	Value *engine.Value
	// Factor is a scalar that multiplies the value in the loss and changes from
	// step to step, as a warm-up does (see [Batch.Bind]); nil is 1. What is logged is
	// the value alone.
	Factor *engine.Value
	// Imitation marks a term that draws the net toward a teacher: under
	// OptimizerConfig.DOT these terms have a momentum of their own.
	Imitation bool
}

// A Batch is what an objective is given of a batch.
type Batch struct {
	// Views are the images, layout NHWC, in the precision of the run: those of
	// the net, and then those that Objective.Views asks for.
	Views []*engine.Value
	// Target are the classes [N, classes], rows that sum to one.
	Target *engine.Value

	b  *engine.Builder
	in engine.Bindings

	wide []*engine.Value // the views in float32
}

// NewBatch returns what [Step.Build] hands to an objective, for whoever writes an
// objective without a step: its views in the precision of the run, and its classes. The
// bindings get what the objective binds.
func NewBatch(b *engine.Builder, views []*engine.Value, target *engine.Value, in engine.Bindings) *Batch {
	return &Batch{Views: views, Target: target, b: b, in: in}
}

// View is Views[i] with its elements stored as t, float32 or bfloat16, whatever the
// precision of the run: for a frozen net that is computed in another.
func (in *Batch) View(i int, t engine.DType) *engine.Value {
	switch v := in.Views[i]; {
	case v.DType == t:
		return v
	case t == engine.Float32 && i < len(in.wide):
		return in.wide[i]
	default:
		return in.b.One(engine.Cast{To: t}, v)
	}
}

// Index returns the numbers of the images within the training set, [N] of
// uint32: the places of a memory bank's rows.
func (in *Batch) Index() *engine.Value { return in.b.Shared(indexInput, indexSpec(in.Target.Shape[0])) }

// indexInput is the name of that input.
const indexInput = "index"

func indexSpec(n int) engine.Spec { return engine.Spec{Shape: []int{n}, DType: engine.Uint32} }

// Bind declares an input whose data are the objective's, at every run as they
// are then: see Objective.Tell. Data must have the bytes of the spec.
func (in *Batch) Bind(name string, s engine.Spec, data []byte) *engine.Value {
	v := in.b.Input(name, s)
	in.in[v] = data
	return v
}

// Stateless has the methods of an [Objective] that has terms and nothing else.
type Stateless struct{}

// Views implements Objective: there are none.
func (Stateless) Views() []data.Transform { return nil }

// State implements Objective: there is none.
func (Stateless) State() []*engine.Variable { return nil }

// Frozen implements Objective: there are none.
func (Stateless) Frozen() []*engine.Variable { return nil }

// Tell implements Objective.
func (Stateless) Tell(Moment, *data.Batch) {}

// CrossEntropy is the Objective of PyTorch's cross-entropy: see
// [engine.CrossEntropy].
type CrossEntropy struct {
	Stateless
	LabelSmoothing float32
}

// Build implements Objective.
func (o CrossEntropy) Build(b *engine.Builder, in *Batch, out *engine.Outputs) []Term {
	return []Term{{Name: "cross_entropy", Weight: 1, Value: b.One(engine.CrossEntropy{LabelSmoothing: o.LabelSmoothing}, out.Logits, in.Target)}}
}

// sum writes the loss that the terms make.
func sum(b *engine.Builder, terms []Term) *engine.Value {
	if len(terms) == 1 && terms[0].Weight == 1 && terms[0].Factor == nil {
		return terms[0].Value
	}
	op, in := engine.Add{}, make([]*engine.Value, len(terms))
	for i, t := range terms {
		op.Weights, in[i] = append(op.Weights, t.Weight), t.Value
		if t.Factor != nil {
			in[i] = b.One(engine.Mul{}, t.Value, t.Factor)
		}
	}
	return b.One(op, in...)
}
