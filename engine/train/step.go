package train

import (
	"context"
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A stepKey tells the training programs of one run apart.
type stepKey struct {
	n, h, w, c int
	weight     float32 // of the gradient, when accumulating; else 1
}

// A step is a compiled training step for one shape of batch: the whole of it,
// or, when accumulating, everything before the optimizer.
type step struct {
	prog               *engine.Program
	in                 engine.Bindings
	target             *engine.Value
	images             *engine.Value // as the loader makes them; nil if they are made from
	index, params      *engine.Value // these on the device
	loss, logits, norm *engine.Value // nil where the program has none

	lossHost, logitsHost, normHost    []float32
	lossBytes, logitsBytes, normBytes []byte // the same memory
}

// scalars are small vectors that are bound to every program of a trainer and
// rewritten before each run.
type scalars struct {
	hyper   [][]float32 // of the optimizer, for each group of parameters
	factors []float64   // of the learning rate, likewise
	first   []float32   // 1 at the first batch of an accumulation
	decay   []float32   // of the average
	counter []uint32    // of dropout: seed and batch number, low halves first
}

func newScalars(seed uint64) scalars {
	return scalars{
		first: make([]float32, 1), decay: make([]float32, 1),
		counter: []uint32{uint32(seed), uint32(seed >> 32), 0, 0},
	}
}

// group returns what the optimizer is told of a group of parameters. The groups
// of all programs are the same.
func (s *scalars) group(i int, factor float64) []float32 {
	if i == len(s.hyper) {
		s.hyper, s.factors = append(s.hyper, make([]float32, engine.HyperLen)), append(s.factors, factor)
	}
	return s.hyper[i]
}

// batchNumber sets the dropout counter to the n-th batch of the run.
func (s scalars) batchNumber(n int) {
	s.counter[2], s.counter[3] = uint32(n), uint32(uint64(n)>>32)
}

// step returns the program for batches of this shape, compiling it at first use.
func (t *Trainer) step(k stepKey) (*step, error) {
	if s, ok := t.steps[k]; ok {
		return s, nil
	}
	g, s, err := t.buildStep(k)
	if err == nil {
		err = t.compile(g, s)
	}
	if err != nil {
		err = fmt.Errorf("training step for %d images of %dx%d: %w", k.n, k.h, k.w, err)
		return nil, t.explainMemory("training step", k, err)
	}
	t.steps[k] = s
	return s, nil
}

// buildStep writes the step down.
func (t *Trainer) buildStep(k stepKey) (*engine.Graph, *step, error) {
	g := engine.NewGraph()
	s := &step{in: make(engine.Bindings)}
	return g, s, t.writeStep(g, s, k)
}

func (t *Trainer) writeStep(g *engine.Graph, s *step, k stepKey) error {
	b := engine.NewBuilder(g)
	images := t.source(b, s, k)
	s.target = b.Input("target", engine.F32(k.n, t.classes))
	if t.c.Precision == BFloat16 {
		images = b.One(engine.Cast{To: engine.BFloat16}, images)
	}
	s.logits = t.net.Forward(b, images, true)
	if err := b.Err(); err != nil {
		return err
	}
	if !s.logits.Equal(s.target.Spec) {
		return fmt.Errorf("the net's logits are %v, the data have %d classes", s.logits.Spec, t.classes)
	}
	s.loss = t.loss(b, images, s.logits, s.target)
	if err := b.Err(); err != nil {
		return err
	}
	if t.c.Optimizer.Kind != Stale {
		grads, err := t.gradients(b, s.loss)
		if err != nil {
			return err
		}
		if t.c.Accumulate > 1 {
			t.accumulate(b, s, grads, k.weight)
		} else {
			t.update(b, s, grads)
		}
	} else {
		t.average(b, s)
	}
	if err := t.checkFrozen(g); err != nil {
		return err
	}
	if v := g.Input(engine.DropoutInput); v != nil {
		s.in[v] = engine.Bytes(t.scalars.counter)
	}
	return b.Err()
}

// gradients builds those of the parameters that the loss depends on; t.active
// lists these. PyTorch's optimizers likewise pass over parameters without one.
func (t *Trainer) gradients(b *engine.Builder, loss *engine.Value) ([]*engine.Value, error) {
	wrt := make([]*engine.Value, len(t.state.params))
	for i, p := range t.state.params {
		wrt[i] = b.Variable(p)
	}
	all, err := engine.Grad(b.Graph(), loss, wrt)
	if err != nil {
		return nil, err
	}
	var grads []*engine.Value
	t.active = t.active[:0]
	for i, d := range all {
		if d != nil {
			t.active = append(t.active, i)
			grads = append(grads, d)
		}
	}
	if len(grads) == 0 {
		return nil, fmt.Errorf("the loss depends on none of the net's %d parameters", len(all))
	}
	return grads, nil
}

// pick appends the values of the active ones of vars.
func (t *Trainer) pick(b *engine.Builder, in []*engine.Value, vars []*engine.Variable) []*engine.Value {
	for _, i := range t.active {
		in = append(in, b.Variable(vars[i]))
	}
	return in
}

// accumulate adds the gradients to the accumulators.
func (t *Trainer) accumulate(b *engine.Builder, s *step, grads []*engine.Value, weight float32) {
	defer b.Scope("accumulate")()
	first := b.Input("first", engine.F32())
	s.in[first] = engine.Bytes(t.scalars.first)
	in := append([]*engine.Value{first}, grads...)
	b.Apply(engine.Accumulate{K: len(grads), Weight: weight}, t.pick(b, in, t.state.accs)...)
}

// A group is the parameters that share a factor of the learning rate: places in
// the list of the active ones.
type group struct {
	factor float64
	at     []int
}

// parameterGroups puts the active parameters into groups, in the order in which
// their factors are met. Without factors there is one.
func (t *Trainer) parameterGroups() []group {
	var out []group
	for k, i := range t.active {
		f := t.c.Optimizer.factor(t.state.params[i])
		g := slices.IndexFunc(out, func(g group) bool { return g.factor == f })
		if g < 0 {
			g = len(out)
			out = append(out, group{factor: f})
		}
		out[g].at = append(out[g].at, k)
	}
	return out
}

// setHyper fills in what the optimizer is told of the step.
func (t *Trainer) setHyper(update int) {
	lr := t.schedule.LR(update)
	for g, factor := range t.scalars.factors {
		t.c.Optimizer.hyper(t.scalars.hyper[g], lr*factor, update)
	}
}

// update clips, moves the parameters along the gradients, and averages.
func (t *Trainer) update(b *engine.Builder, s *step, grads []*engine.Value) {
	defer b.Scope("optimizer")()
	var scale *engine.Value
	if t.c.ClipNorm > 0 {
		out := b.Apply(engine.ClipScale{MaxNorm: t.c.ClipNorm}, grads...)
		s.norm, scale = out[0], out[1]
	} else {
		scale = b.One(engine.Fill{Value: 1})
	}
	params := t.pick(b, nil, t.state.params)
	slots := make([][]*engine.Value, len(t.state.slots))
	for i, slot := range t.state.slots {
		slots[i] = t.pick(b, nil, slot)
	}
	for i, g := range t.parameterGroups() {
		hyper := b.Input("hyper", engine.F32(engine.HyperLen))
		s.in[hyper] = engine.Bytes(t.scalars.group(i, g.factor))
		in := []*engine.Value{hyper, scale}
		for _, list := range append([][]*engine.Value{params, grads}, slots...) {
			for _, k := range g.at {
				in = append(in, list[k])
			}
		}
		b.Apply(t.c.Optimizer.op(len(g.at)), in...)
	}
	t.average(b, s)
}

// average moves the averages of the weights towards what the step has left in
// the variables.
func (t *Trainer) average(b *engine.Builder, s *step) {
	if len(t.state.ema) == 0 || b.Err() != nil {
		return
	}
	defer b.Scope("ema")()
	decay := b.Input("decay", engine.F32())
	s.in[decay] = engine.Bytes(t.scalars.decay)
	now := current(b.Graph())
	in := []*engine.Value{decay}
	for _, v := range t.state.source {
		val := b.Variable(v)
		if c := now[v]; c != nil {
			val = c
		}
		in = append(in, val)
	}
	for _, v := range t.state.ema {
		in = append(in, b.Variable(v))
	}
	b.Apply(engine.EMA{K: len(t.state.ema)}, in...)
}

// current returns, for every variable that the graph overwrites, the value
// that holds its final content.
func current(g *engine.Graph) map[*engine.Variable]*engine.Value {
	now := make(map[*engine.Variable]*engine.Value)
	owner := make(map[*engine.Value]*engine.Variable)
	for _, n := range g.Nodes() {
		u, ok := n.Op.(engine.Updater)
		if !ok {
			continue
		}
		for i, o := range n.Out {
			k := u.Alias(i)
			if k < 0 || k >= len(n.In) {
				continue
			}
			v := n.In[k].Variable()
			if v == nil {
				v = owner[n.In[k]]
			}
			owner[o], now[v] = v, o
		}
	}
	return now
}

// checkFrozen refuses a graph that moves one of the variables that the caller
// has declared as not the net's.
func (t *Trainer) checkFrozen(g *engine.Graph) error {
	now := current(g)
	for _, v := range t.hooks.Extra {
		if now[v] != nil {
			return fmt.Errorf("the step would change %s, which belongs to a frozen net: build that net in evaluation mode", v.Name)
		}
	}
	return nil
}

// outputs returns what is read back after a run.
func (s *step) outputs() []*engine.Value {
	var out []*engine.Value
	for _, v := range []*engine.Value{s.loss, s.logits, s.norm} {
		if v != nil {
			out = append(out, v)
		}
	}
	return out
}

// compile makes the program and the host's side of its outputs.
func (t *Trainer) compile(g *engine.Graph, s *step) error {
	if s.loss != nil {
		if s.loss.Len() != 1 {
			return fmt.Errorf("the loss is %v, not a scalar", s.loss.Spec)
		}
		s.lossHost, s.logitsHost = make([]float32, 1), make([]float32, s.logits.Len())
		s.lossBytes, s.logitsBytes = engine.Bytes(s.lossHost), engine.Bytes(s.logitsHost)
	}
	if s.norm != nil {
		s.normHost = make([]float32, 1)
		s.normBytes = engine.Bytes(s.normHost)
	}
	var err error
	s.prog, err = g.Compile(t.store.Backend(), engine.Options{Store: t.store, Outputs: s.outputs()})
	return err
}

// start begins a run of the step on a batch, nil for none. It allocates nothing.
func (s *step) start(ctx context.Context, b *data.Batch) (engine.Flight, error) {
	if b != nil {
		s.bind(b)
	}
	return s.prog.Start(ctx, s.in)
}

// land waits for a run of the step and reads back loss, logits and norm, as far
// as there are. It allocates nothing.
func (s *step) land(f engine.Flight) error {
	if err := f.Wait(); err != nil {
		return err
	}
	if s.loss != nil {
		if err := f.Read(s.loss, s.lossBytes); err != nil {
			return err
		}
		if err := f.Read(s.logits, s.logitsBytes); err != nil {
			return err
		}
	}
	if s.norm != nil {
		return f.Read(s.norm, s.normBytes)
	}
	return nil
}

// correct counts the rows whose largest logit is the label's.
func correct(logits []float32, labels []int32, classes int) int {
	n := 0
	for i, label := range labels {
		if argmax(logits[i*classes:(i+1)*classes]) == int(label) {
			n++
		}
	}
	return n
}

// argmax returns the place of the first largest element.
func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}
