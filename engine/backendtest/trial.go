package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
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
// kind, with drawn weights and a drawn batch, the same for all backends.
type Trial struct {
	student, teacher *net
	moments          []*engine.Variable // of AdamW
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
		student: &net{width: s.Width}, teacher: &net{name: "teacher.", width: s.Width},
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
	if r.Half {
		x = b.One(engine.Cast{To: engine.BFloat16}, x)
	}
	logits := c.student.forward(b, x, r.Kind != Inference)
	if r.Kind == Inference {
		c.read = []*engine.Value{logits}
	} else {
		want := b.Input("target", engine.F32(s.Batch, netClasses))
		c.in[want] = target
		if err := c.train(b, x, logits, want, r); err != nil {
			return err
		}
	}
	if err := b.Err(); err != nil {
		return err
	}
	var err error
	if c.prog, err = b.Graph().Compile(backend, engine.Options{Store: c.store, Outputs: c.read, NoFuse: r.NoFuse}); err != nil {
		return err
	}
	return c.fill()
}

// train adds what follows the logits in training.
func (c *Trial) train(b *engine.Builder, x, logits, target *engine.Value, r Recipe) error {
	loss := b.One(engine.CrossEntropy{LabelSmoothing: 0.1}, logits, target)
	if r.Distill {
		soft := b.One(engine.KLDiv{T: 4}, logits, c.teacher.forward(b, x, false))
		loss = b.One(engine.Add{Weights: []float32{0.3, 0.7}}, loss, soft)
	}
	params := c.student.trainable(b)
	grads, err := engine.Grad(b.Graph(), loss, params)
	if err != nil {
		return err
	}
	c.read = []*engine.Value{loss}
	if r.Kind == Gradients {
		c.read = append(c.read, grads...)
		return nil
	}
	scale := b.Apply(engine.ClipScale{MaxNorm: 0.5}, grads...)[1]
	hyper := b.Input("hyper", engine.F32(engine.HyperLen))
	args := slices.Concat([]*engine.Value{hyper, scale}, params, grads)
	values := make([]float32, engine.HyperLen)
	if r.Kind == SGD {
		values[engine.HyperLR], values[engine.HyperWeightDecay] = 0.05, 1e-3
		b.Apply(engine.SGD{K: len(params)}, args...)
	} else {
		values[engine.HyperLR], values[engine.HyperWeightDecay] = 1e-2, 1e-2
		values[engine.HyperBias1], values[engine.HyperBias2] = 0.1, 0.001
		for _, moment := range []string{"m.", "v."} {
			for _, p := range params {
				v := &engine.Variable{Name: moment + p.Variable().Name, Spec: p.Spec}
				c.moments, args = append(c.moments, v), append(args, b.Variable(v))
			}
		}
		b.Apply(engine.Adam{K: len(params), Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, Decoupled: true}, args...)
	}
	c.in[hyper] = engine.Bytes(values)
	return nil
}

// fill gives all variables their first values.
func (c *Trial) fill() error {
	err := errors.Join(c.student.fill(c.store, studentSeed), c.teacher.fill(c.store, teacherSeed))
	for _, v := range c.moments {
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
