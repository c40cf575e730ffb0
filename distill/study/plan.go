package study

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/engine/yamldoc"
	"github.com/potstill/potstill/layers"
)

// A unit is the smallest part of a study that is done, kept and found again
// whole: a step, or one round or one measurement of a step that has several.
type unit struct {
	step     *Step
	name     string // the step's, with the round or the model measured
	from     *unit  // nil for a net of its own initialization
	base     *unit  // of a round: the model that the widths are counted from
	teachers []*unit
	beside   []*unit // of shrink
	round    int     // of a chain of prunes
	mult     float64 // of prune: share of base's widths
	method   compress.Method
	train    training

	index int // among the units of all seeds
	key   string
	dir   string
	out   *outcome
}

// needs returns the units whose models a unit takes.
func (u *unit) needs() (out []*unit) {
	for _, other := range slices.Concat([]*unit{u.from, u.base}, u.teachers, u.beside) {
		if other != nil && !slices.Contains(out, other) {
			out = append(out, other)
		}
	}
	return out
}

// plan checks the steps and returns their units in an order in which each
// comes after what it needs, otherwise the recipe's.
func (r *Recipe) plan() ([]*unit, error) {
	if len(r.Steps) == 0 {
		return nil, r.errAt("steps", "the recipe has no steps")
	}
	if err := r.validateData(); err != nil {
		return nil, err
	}
	p := &planner{r: r, done: make(map[string]*unit)}
	for _, s := range r.Steps {
		if err := p.add(s); err != nil {
			return nil, err
		}
	}
	return p.units, nil
}

type planner struct {
	r     *Recipe
	units []*unit
	done  map[string]*unit // the last unit of each finished step
	path  []string         // the steps being added
}

// add puts the units of s, after those it needs.
func (p *planner) add(s *Step) error {
	if _, ok := p.done[s.name]; ok {
		return nil
	}
	if err := p.r.validateStep(s); err != nil {
		return err
	}
	p.path = append(p.path, s.name)
	defer func() { p.path = p.path[:len(p.path)-1] }()
	froms, err := p.needs(s, "from", s.From)
	if err != nil {
		return err
	}
	teachers, err := p.needs(s, "teacher", s.Teacher)
	if err != nil {
		return err
	}
	beside, err := p.needs(s, "beside", s.Beside)
	if err != nil {
		return err
	}
	units, err := p.r.expand(s, froms, teachers)
	if err != nil {
		return err
	}
	for _, u := range units {
		u.beside = beside
	}
	p.units = append(p.units, units...)
	p.done[s.name] = units[len(units)-1]
	return nil
}

// needs returns the units whose models s takes by references, which stand at key.
func (p *planner) needs(s *Step, key string, names []string) (units []*unit, err error) {
	for i, name := range names {
		u, err := p.need(s, fmt.Sprintf("%s[%d]", key, i), name)
		if err != nil {
			return nil, err
		}
		units = append(units, u)
	}
	return units, nil
}

// need returns the unit whose model s takes by the reference name, which
// stands at key.
func (p *planner) need(s *Step, key, name string) (*unit, error) {
	at := yamldoc.Join(yamldoc.Join("steps", s.name), key)
	other := p.r.step(name)
	switch {
	case other == nil:
		return nil, p.r.errAt(at, "there is no step %q; the steps are %s", name, p.r.names())
	case other.Kind == kindEvaluate:
		return nil, p.r.errAt(at, "%q measures models and makes none; name a step of another kind", name)
	}
	if i := slices.Index(p.path, name); i >= 0 {
		loop := append(slices.Clone(p.path[i:]), name)
		return nil, p.r.errAt(at, "the steps %s need one another in a circle; take this reference out", strings.Join(loop, " → "))
	}
	if err := p.add(other); err != nil {
		return nil, err
	}
	return p.done[name], nil
}

func (r *Recipe) names() string {
	var out []string
	for _, s := range r.Steps {
		out = append(out, s.name)
	}
	return strings.Join(out, ", ")
}

// arch returns the architecture of a step for data of so many classes.
func (s *Step) arch(classes int) layers.Arch {
	return layers.Arch{Family: s.Arch, Classes: classes, Base: s.Base, Widths: s.Widths}
}

// expand makes the units of a step.
func (r *Recipe) expand(s *Step, froms, teachers []*unit) ([]*unit, error) {
	u := unit{step: s, name: s.name, teachers: teachers, method: s.method}
	if trains(s.Kind) {
		var err error
		u.train, err = s.resolve(r.Defaults, r.Seed, s.Kind == kindDistill || s.Kind == kindShrink || len(s.Teacher) > 0)
		if s.Kind == kindShrink { // of defaults, these are for steps of one training
			u.train.Freeze, u.train.LRScales, u.train.Sparsity, u.train.SparsityBy, u.train.SparsityGrowth = nil, nil, 0, "", 0
		}
		if err == nil {
			err = u.train.validate(r.Data.sized())
		}
		if err == nil {
			err = u.train.checkTeachers(s)
		}
		if err != nil {
			return nil, r.errAt(yamldoc.Join("steps", s.name)+"#", "step %s: %v", s.name, err)
		}
	}
	if s.Kind == kindEvaluate {
		var out []*unit
		for _, f := range froms {
			out = append(out, &unit{step: s, name: s.name + "." + f.name, from: f})
		}
		return out, nil
	}
	if len(froms) > 0 {
		u.from = froms[0]
	}
	if s.Kind == kindPrune && s.Rounds != nil {
		var out []*unit
		prev := u.from
		for _, k := range s.Rounds {
			v := u
			v.name, v.base, v.from = fmt.Sprintf("%s.%d", s.name, k), u.from, prev
			v.round, v.mult = k, math.Pow(s.Rate, float64(k))
			v.method = nil                   // which widths are left is known once the first model is there
			v.train.Config.Seed += uint64(k) // other pictures than the round before
			out, prev = append(out, &v), &v
		}
		return out, nil
	}
	u.base = u.from
	if o, ok := s.method.(*prune.Options); ok {
		u.mult = o.Mult
	}
	return []*unit{&u}, nil
}

// sized is s with a size where the user is yet to give one.
func (s DataSpec) sized() DataSpec {
	if s.Size == 0 {
		s.Size = 32
	}
	return s
}
