package backendtest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/train"
)

// A Kind says what a run of a Trial does.
type Kind int

// What a run does.
const (
	Gradients Kind = iota // the loss and its gradients, which can be read
	SGD                   // a training step: loss, gradients, clipping, SGD
	AdamW                 // the same with AdamW
	Inference             // the logits, in evaluation mode
)

// A Recipe says what program a Trial is.
type Recipe struct {
	Kind    Kind
	Distill bool // a teacher in evaluation mode in the same graph, and the distillation's loss
	Half    bool // activations in bfloat16
	NoFuse  bool // see engine.Options
}

// A Trial is a compiled program over a small classifier with one layer of each
// kind, with drawn weights and a drawn batch, the same for all backends. A
// training step is what train.Step writes: what every trainer runs.
type Trial struct {
	student, teacher *net
	own              []*engine.Variable // the step's: moments, accumulators
	store            *engine.Store
	prog             *engine.Program
	in               engine.Bindings
	read             []*engine.Value
}

// The seeds of the students' and the teachers' first values.
const (
	studentSeed = 11
	teacherSeed = 12
)

// NewTrial compiles a recipe for a backend and fills its variables.
func NewTrial(b engine.Backend, s Size, r Recipe) (*Trial, error) {
	c := &Trial{
		student: newNet("", s), teacher: newNet("teacher.", s),
		store: engine.NewStore(b), in: engine.Bindings{},
	}
	if err := c.compile(b, s, r); err != nil {
		return nil, errors.Join(fmt.Errorf("%+v: %w", r, err), c.Close())
	}
	return c, nil
}

func (c *Trial) compile(backend engine.Backend, s Size, r Recipe) error {
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(s.Batch, s.Pixels, s.Pixels, 3))
	pixels, target := s.images()
	c.in[x] = pixels
	var err error
	if r.Kind == Inference {
		if r.Half {
			x = b.One(engine.Cast{To: engine.BFloat16}, x)
		}
		c.read = []*engine.Value{c.student.Build(b, x, false).Logits}
		err = b.Err()
	} else {
		err = c.step(b, x, target, r)
	}
	if err != nil {
		return err
	}
	if c.prog, err = b.Graph().Compile(backend, engine.Options{Store: c.store, Outputs: c.read, NoFuse: r.NoFuse}); err != nil {
		return err
	}
	return c.fill()
}

// step writes a training step. That of which the gradients are read accumulates
// them: nothing else becomes of them.
func (c *Trial) step(b *engine.Builder, x *engine.Value, target []byte, r Recipe) error {
	config := train.Config{LabelSmoothing: smoothing, ClipNorm: 0.5}
	if r.Distill {
		config.Objective = distilled{teacher: c.teacher}
	}
	if r.Half {
		config.Precision = train.BFloat16
	}
	switch r.Kind {
	case Gradients:
		config.Accumulate, config.Optimizer.LR = 2, 1
	case SGD:
		config.Optimizer = train.OptimizerConfig{Kind: train.SGD, LR: 0.05, WeightDecay: 1e-3}
	case AdamW:
		config.Optimizer = train.OptimizerConfig{Kind: train.AdamW, LR: 1e-2, WeightDecay: 1e-2}
	}
	step := train.NewStep(c.student, config)
	w, err := step.Build(b, []*engine.Value{x}, netClasses, 1)
	if err != nil {
		return err
	}
	step.Tell(train.Moment{First: true, LR: config.Optimizer.LR}, nil)
	maps.Copy(c.in, w.In)
	c.in[w.Target] = target
	c.own, c.read = step.Variables(), []*engine.Value{w.Loss}
	if r.Kind == Gradients {
		c.read = append(c.read, w.Gradients...)
	}
	return nil
}

// smoothing is the label smoothing of a trial.
const smoothing = 0.1

// distilled is the objective of a trial with a teacher.
type distilled struct {
	train.Stateless
	teacher *net
}

// Frozen implements train.Objective.
func (o distilled) Frozen() []*engine.Variable { return o.teacher.vars }

// Build implements train.Objective.
func (o distilled) Build(b *engine.Builder, in *train.Batch, out *engine.Outputs) []train.Term {
	hard := b.One(engine.CrossEntropy{LabelSmoothing: smoothing}, out.Logits, in.Target)
	soft := b.One(engine.KLDiv{T: 4}, out.Logits, o.teacher.Build(b, in.Views[0], false).Logits)
	return []train.Term{{Name: "hard", Weight: 0.3, Value: hard}, {Name: "soft", Weight: 0.7, Value: soft}}
}

// fill gives all variables their first values.
func (c *Trial) fill() error {
	err := errors.Join(c.student.fill(c.store, studentSeed), c.teacher.fill(c.store, teacherSeed))
	for _, v := range c.own {
		err = errors.Join(err, c.store.Set(v, make([]byte, v.Bytes())))
	}
	return err
}

// Run runs the program once, on the same batch each time.
func (c *Trial) Run() error { return c.prog.Run(context.Background(), c.in) }

// Plan returns the program's plan.
func (c *Trial) Plan() *engine.Plan { return c.prog.Plan() }

// Variables reads the variables of the net, running statistics included, by
// name, without a teacher's and an optimizer's.
func (c *Trial) Variables() (map[string][]float32, error) {
	all := make(map[string][]float32)
	for _, v := range c.student.vars {
		x := make([]float32, v.Len())
		if err := c.store.Get(v, engine.Bytes(x)); err != nil {
			return nil, fmt.Errorf("reading %s: %w", v.Name, err)
		}
		all[v.Name] = x
	}
	return all, nil
}

// results are what a trial has computed, by name, the loss or the logits first.
type results struct {
	names  []string
	values [][]float32
}

// results reads what the program computed, and the variables.
func (c *Trial) results() (r results, err error) {
	for i, v := range c.read {
		x := make([]float32, v.Len())
		if err := c.prog.Read(v, engine.Bytes(x)); err != nil {
			return r, err
		}
		r.names, r.values = append(r.names, fmt.Sprint("output ", i)), append(r.values, x)
	}
	vars, err := c.Variables()
	for _, v := range c.student.vars {
		r.names, r.values = append(r.names, v.Name), append(r.values, vars[v.Name])
	}
	return r, err
}

// Close gives back the program's memory and the variables'.
func (c *Trial) Close() error {
	var err error
	if c.prog != nil {
		err = c.prog.Close()
	}
	return errors.Join(err, c.store.Close())
}
