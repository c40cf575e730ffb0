package train

import (
	"errors"
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A Step writes down what one step of training computes: the net's logits, the
// loss, its gradient, clipping, the optimizer for each group of parameters, and
// the average of the weights. It is the one writer of steps: a [Trainer] runs
// what Build writes, and whoever shows or times a step has it from there too.
type Step struct {
	net Net
	c   Config

	state  *state
	active []int // the parameters that have gradients
	feed   feed

	statistics []engine.Statistic // of batch norms, that all ranks move
	ofBatch    map[*engine.Variable]*engine.Variable
	terms      []string // the names of the loss's terms, where there are several
}

// NewStep returns the step of a net. Of c it takes Objective, Optimizer,
// ClipNorm, Accumulate, EMA, LabelSmoothing, Precision, Seed, Peers and SyncBatchNorm.
func NewStep(net Net, c Config) *Step {
	c = c.normalized()
	return &Step{net: net, c: c, state: newState(net, c), feed: newFeed(c.Seed), ofBatch: make(map[*engine.Variable]*engine.Variable)}
}

// Variables returns what the step keeps beside the net: the objective's state,
// the optimizer's, and the averages.
func (s *Step) Variables() []*engine.Variable { return append(s.state.kept(), s.state.accs...) }

// A WrittenStep says where the values of a step are in its graph.
type WrittenStep struct {
	// Target is the input of the classes [N, classes], whose rows sum to one.
	Target *engine.Value
	// Index is the input of the images' numbers, nil where nothing reads them.
	Index *engine.Value
	// Loss is a scalar, Logits is [N, classes], and Norm is the gradient's norm
	// before clipping. Each is nil where there is none.
	Loss, Logits, Norm *engine.Value
	// Terms are those of the loss; nil where it is a single one.
	Terms []Term
	// Params are the parameters that have gradients, and Gradients these. Both
	// are nil where there are none.
	Params    []*engine.Variable
	Gradients []*engine.Value
	// In has the data of every input but Target, Index and the images. It is
	// kept up to date by [Step.Tell].
	In engine.Bindings
}

// Outputs returns the values that tell what a run of the step has come to: loss,
// logits, the gradient's norm and the terms, as far as there are.
func (w *WrittenStep) Outputs() (out []*engine.Value) {
	for _, v := range []*engine.Value{w.Loss, w.Logits, w.Norm} {
		if v != nil {
			out = append(out, v)
		}
	}
	for _, t := range w.Terms {
		out = append(out, t.Value)
	}
	return out
}

// Build writes the step for a batch of images [N,H,W,C] in float32, followed by
// the views of them that the objective asks for: all of the step or, when
// accumulating, what comes before the optimizer. Weight is the share of the
// batch's gradient in that of its step, 1 if it is the whole. Of several ranks, each
// has a batch.
func (s *Step) Build(b *engine.Builder, images []*engine.Value, classes int, weight float32) (*WrittenStep, error) {
	return s.build(b, images, classes, weight, s.c.ranks())
}

// build is Build where the ranks below active have a batch. A rank beyond is given images
// all the same where it takes part in the batch norms of the others (SyncBatchNorm); nothing
// else of it counts.
func (s *Step) build(b *engine.Builder, images []*engine.Value, classes int, weight float32, active int) (*WrittenStep, error) {
	if want := 1 + len(s.c.Objective.Views()); len(images) != want {
		return nil, fmt.Errorf("the step takes %d views of its images, %d are given", want, len(images))
	}
	w := &WrittenStep{In: make(engine.Bindings), Target: b.Input("target", engine.F32(images[0].Shape[0], classes))}
	in := NewBatch(b, nil, w.Target, w.In)
	in.wide = images
	for _, x := range images {
		if s.c.Precision == BFloat16 {
			x = b.One(engine.Cast{To: engine.BFloat16}, x)
		}
		in.Views = append(in.Views, x)
	}
	if err := s.forward(b, w, in); err != nil {
		return nil, err
	}
	if err := s.share(b.Graph(), active); err != nil {
		return nil, err
	}
	if err := s.descend(b, w, weight, active); err != nil {
		return nil, err
	}
	if err := s.checkFrozen(b.Graph()); err != nil {
		return nil, err
	}
	w.Index = b.Graph().Input(indexInput)
	if v := b.Graph().Input(engine.DropoutInput); v != nil {
		w.In[v] = engine.Bytes(s.feed.counter)
	}
	return w, b.Err()
}

// forward writes the logits and the loss.
func (s *Step) forward(b *engine.Builder, w *WrittenStep, in *Batch) error {
	out := s.net.Build(b, in.Views[0], true)
	if err := b.Err(); err != nil {
		return err
	}
	if w.Logits = out.Logits; !w.Logits.Equal(w.Target.Spec) {
		return fmt.Errorf("the net's logits are %v, the data have %d classes", w.Logits.Spec, w.Target.Shape[1])
	}
	terms := s.c.Objective.Build(b, in, out)
	if err := b.Err(); err != nil {
		return err
	}
	if len(terms) == 0 {
		return errors.New("the objective has no terms")
	}
	for _, t := range terms {
		if t.Value.Len() != 1 {
			return fmt.Errorf("the loss %s is %v, not a scalar", t.Name, t.Value.Spec)
		}
	}
	s.terms = nil
	if len(terms) > 1 {
		w.Terms = terms
		for _, t := range terms {
			s.terms = append(s.terms, t.Name)
		}
	}
	w.Loss = sum(b, terms)
	return b.Err()
}

// BuildUpdate writes the optimizer alone, which takes what the batches of a step
// have accumulated.
func (s *Step) BuildUpdate(b *engine.Builder) (*WrittenStep, error) { return s.buildUpdate(b, false) }

// descend writes what becomes of the loss.
func (s *Step) descend(b *engine.Builder, w *WrittenStep, weight float32, active int) error {
	switch {
	case s.c.Optimizer.Kind == Stale:
		s.move(b, active)
		s.average(b, w)
		return nil
	case s.c.Optimizer.DOT != nil:
		return s.dot(b, w)
	}
	grads, err := s.gradients(b, w.Loss)
	if err != nil {
		return err
	}
	w.Gradients = grads
	for _, i := range s.active {
		w.Params = append(w.Params, s.state.params[i])
	}
	switch {
	case s.c.Accumulate > 1:
		s.accumulate(b, w, grads, weight, s.absent(active))
		s.move(b, active)
	case s.c.Peers != nil:
		sums := s.reduce(b, w, grads, weight, s.absent(active))
		s.move(b, active)
		s.update(b, w, s.reduced(b, sums))
	default:
		s.update(b, w, grads)
	}
	return nil
}

// gradients builds those of the parameters that the loss depends on; s.active
// lists these. PyTorch's optimizers likewise pass over parameters without one.
func (s *Step) gradients(b *engine.Builder, loss *engine.Value) ([]*engine.Value, error) {
	wrt := make([]*engine.Value, len(s.state.params))
	for i, p := range s.state.params {
		wrt[i] = b.Variable(p)
	}
	all, err := engine.Grad(b.Graph(), loss, wrt)
	if err != nil {
		return nil, err
	}
	var grads []*engine.Value
	s.active = s.active[:0]
	for i, d := range all {
		if d != nil {
			s.active = append(s.active, i)
			grads = append(grads, d)
		}
	}
	if len(grads) == 0 {
		return nil, fmt.Errorf("the loss depends on none of the net's %d parameters", len(all))
	}
	return grads, nil
}

// pick appends the values of the active ones of vars.
func (s *Step) pick(b *engine.Builder, in []*engine.Value, vars []*engine.Variable) []*engine.Value {
	for _, i := range s.active {
		in = append(in, b.Variable(vars[i]))
	}
	return in
}

// accumulate adds the gradients to the accumulators; of a rank that is absent, to
// variables that nobody reads, so that the gradients are computed at all.
func (s *Step) accumulate(b *engine.Builder, w *WrittenStep, grads []*engine.Value, weight float32, absent bool) {
	defer b.Scope("accumulate")()
	first := b.Input("first", engine.F32())
	w.In[first] = engine.Bytes(s.feed.first)
	in := append([]*engine.Value{first}, grads...)
	accs := s.state.accs
	if absent {
		accs = make([]*engine.Variable, len(accs))
		for i, v := range s.state.accs {
			accs[i] = &engine.Variable{Name: "absent." + v.Name, Spec: v.Spec}
		}
	}
	b.Apply(engine.Accumulate{K: len(grads), Weight: weight}, s.pick(b, in, accs)...)
}

// A group is the parameters that share a factor of the learning rate: places in
// the list of the active ones.
type group struct {
	factor float64
	at     []int
}

// groups puts the active parameters into groups, in the order in which their
// factors are met. Without factors there is one.
func (s *Step) groups() []group {
	var out []group
	for k, i := range s.active {
		f := s.c.Optimizer.factor(s.state.params[i])
		g := slices.IndexFunc(out, func(g group) bool { return g.factor == f })
		if g < 0 {
			g = len(out)
			out = append(out, group{factor: f})
		}
		out[g].at = append(out[g].at, k)
	}
	return out
}

// update clips, moves the parameters along the gradients, and averages.
func (s *Step) update(b *engine.Builder, w *WrittenStep, grads []*engine.Value) {
	defer b.Scope("optimizer")()
	var scale *engine.Value
	if s.c.ClipNorm > 0 {
		out := b.Apply(engine.ClipScale{MaxNorm: s.c.ClipNorm}, grads...)
		w.Norm, scale = out[0], out[1]
	} else {
		scale = b.One(engine.Fill{Value: 1})
	}
	params := s.pick(b, nil, s.state.params)
	slots := make([][]*engine.Value, len(s.state.slots))
	for i, slot := range s.state.slots {
		slots[i] = s.pick(b, nil, slot)
	}
	for i, g := range s.groups() {
		in := []*engine.Value{s.hyper(b, w, i, g.factor, false), scale}
		for _, list := range append([][]*engine.Value{params, grads}, slots...) {
			for _, k := range g.at {
				in = append(in, list[k])
			}
		}
		b.Apply(s.c.Optimizer.op(len(g.at)), in...)
	}
	s.average(b, w)
}

// hyper declares what the optimizer is told of the group of parameters of a number.
func (s *Step) hyper(b *engine.Builder, w *WrittenStep, i int, factor float64, bare bool) *engine.Value {
	name := "hyper"
	if i > 0 {
		name = fmt.Sprintf("hyper.%d", i)
	}
	v := b.Input(name, engine.F32(engine.HyperLen))
	w.In[v] = engine.Bytes(s.feed.group(i, factor, bare))
	return v
}

// average moves the averages of the weights toward what the step has left in
// the variables.
func (s *Step) average(b *engine.Builder, w *WrittenStep) {
	if len(s.state.ema) == 0 || b.Err() != nil {
		return
	}
	defer b.Scope("ema")()
	decay := b.Input("decay", engine.F32())
	w.In[decay] = engine.Bytes(s.feed.decay)
	in := []*engine.Value{decay}
	for _, v := range s.state.source {
		in = append(in, b.Latest(v))
	}
	for _, v := range s.state.ema {
		in = append(in, b.Variable(v))
	}
	b.Apply(engine.EMA{K: len(s.state.ema)}, in...)
}

// checkFrozen refuses a graph that changes what the objective has declared as
// frozen.
func (s *Step) checkFrozen(g *engine.Graph) error {
	for _, v := range s.c.Objective.Frozen() {
		if g.Overwrites(v) {
			return fmt.Errorf("the step would change %s, which belongs to a frozen net: build that net in evaluation mode", v.Name)
		}
	}
	return nil
}
