package train

import (
	"errors"
	"slices"

	"github.com/potstill/potstill/engine"
)

// dot writes the two gradients of OptimizerConfig.DOT and what they move.
func (s *Step) dot(b *engine.Builder, w *WrittenStep) error {
	var parts [2][]Term // the task's, the imitation's
	for _, t := range w.Terms {
		k := 0
		if t.Imitation {
			k = 1
		}
		parts[k] = append(parts[k], t)
	}
	if parts[0] == nil || parts[1] == nil {
		return errors.New("optimizer: dot has a momentum for the labels and one for the teacher; it needs terms of both")
	}
	var moved [2]map[int]*engine.Value // by the place of the parameter
	for k := range parts {
		grads, err := s.gradients(b, sum(b, parts[k]))
		if err != nil {
			return err
		}
		moved[k] = make(map[int]*engine.Value)
		for at, i := range s.active {
			moved[k][i] = grads[at]
			w.Params, w.Gradients = append(w.Params, s.state.params[i]), append(w.Gradients, grads[at])
		}
	}
	defer b.Scope("optimizer")()
	d := dotWriter{Step: s, b: b, w: w, scale: b.One(engine.Fill{Value: 1})}
	mu, delta := s.c.Optimizer.Momentum, *s.c.Optimizer.DOT
	both := func(i int) bool { return moved[0][i] != nil && moved[1][i] != nil }
	// The task goes first: weight decay is that of the parameters before the step.
	d.move(moved[0], both, 0, mu-delta, false)
	d.move(moved[0], func(i int) bool { return !both(i) }, 0, mu, false)
	d.move(moved[1], func(i int) bool { return !both(i) }, 1, mu, false)
	d.move(moved[1], both, 1, mu+delta, true)
	s.average(b, w)
	return nil
}

// A dotWriter writes the optimizer operators of dot.
type dotWriter struct {
	*Step
	b      *engine.Builder
	w      *WrittenStep
	scale  *engine.Value
	groups int
}

// move moves those of the parameters that have gradients and are wanted, with one of the
// two momentum buffers; bare leaves weight decay out.
func (d *dotWriter) move(grads map[int]*engine.Value, wanted func(i int) bool, slot int, momentum float64, bare bool) {
	var groups []group
	for i, p := range d.state.params { // in their order
		if grads[i] == nil || !wanted(i) {
			continue
		}
		f := d.c.Optimizer.factor(p)
		g := slices.IndexFunc(groups, func(g group) bool { return g.factor == f })
		if g < 0 {
			g, groups = len(groups), append(groups, group{factor: f})
		}
		groups[g].at = append(groups[g].at, i)
	}
	for _, g := range groups {
		in := []*engine.Value{d.hyper(d.b, d.w, d.groups, g.factor, bare), d.scale}
		d.groups++
		for _, i := range g.at {
			in = append(in, d.b.Latest(d.state.params[i]))
		}
		for _, i := range g.at {
			in = append(in, grads[i])
		}
		if momentum != 0 {
			for _, i := range g.at {
				in = append(in, d.b.Variable(d.state.slots[slot][i]))
			}
		}
		d.b.Apply(engine.SGD{K: len(g.at), Momentum: float32(momentum)}, in...)
	}
}
