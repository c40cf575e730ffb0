package lowrank

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A factorizer is one factorization at work.
type factorizer struct {
	env    compress.Env
	c      *checkpoint.Checkpoint
	o      Options
	h, w   int
	all    []*layer
	why    map[string]string // why a layer stays
	times  map[string][2]float64
	curves map[string][]point // of ranks by accuracy

	macs   int64 // of the net
	params int

	stopped func() error // of the context: large decompositions take seconds each
}

func factorize(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	f := &factorizer{env: env, c: c, o: o, why: make(map[string]string), times: make(map[string][2]float64), stopped: ctx.Err}
	if err := f.open(); err != nil {
		return nil, nil, err
	}
	if o.Ranks == "accuracy" {
		if err := f.judge(ctx); err != nil {
			return nil, nil, err
		}
	}
	// A split that is not faster is taken back, and the rest must do.
	for {
		plan, err := f.solve()
		if err != nil {
			return nil, nil, err
		}
		slower, err := f.time(ctx, plan)
		if err != nil {
			return nil, nil, err
		}
		if slower == 0 {
			return f.finish(plan)
		}
	}
}

// open looks at the net.
func (f *factorizer) open() error {
	c := f.c
	if err := c.Net.CheckState(c.State); err != nil {
		return err
	}
	in := c.Net.Input
	switch {
	case in.Height > 0:
		f.h, f.w = in.Height, in.Width
	case f.o.Size > 0:
		f.h, f.w = f.o.Size, f.o.Size
	case c.Preprocess.Size > 0:
		f.h, f.w = c.Preprocess.Transform().OutSize(0, 0)
	default:
		const usual = 224
		f.h, f.w = usual, usual
	}
	m, err := c.Net.Model()
	if err != nil {
		return err
	}
	s, err := m.Summary(f.h, f.w)
	if err != nil {
		return err
	}
	f.macs, f.params = s.MACs, s.Params
	if f.all, err = layersOf(c, f.h, f.w); err != nil {
		return err
	}
	for _, p := range f.o.Protect {
		met := false
		for _, l := range f.all {
			if layers.Fits(p, l.name) {
				f.why[l.name], met = "protected by "+p, true
			}
		}
		if !met {
			return fmt.Errorf("no layer that can be taken apart fits the pattern %q; potstill summary lists the modules", p)
		}
	}
	for _, l := range f.all {
		if f.why[l.name] == "" && len(c.Net.Module(l.name).In) == 1 && c.Net.Module(l.name).In[0] == layers.Image {
			f.why[l.name] = "it reads the image"
		}
		if f.why[l.name] == "" && len(l.forms(or(f.o.Form, "auto"))) == 0 {
			f.why[l.name] = f.o.Form + " takes no such layer"
		}
	}
	return nil
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// at returns a layer's split at a strength from 0 (as it is) to 1: of the forms that
// it can take the one of fewest multiply-adds, and the zero split where none has
// fewer than the layer.
func (f *factorizer) at(l *layer, strength float64) (split, error) {
	if f.o.Ranks == "accuracy" {
		return f.byCurve(l, strength), nil
	}
	var best split
	for _, form := range l.forms(or(f.o.Form, "auto")) {
		x, err := f.spectrum(l, form)
		if err != nil {
			return split{}, err
		}
		rank := func(d *decomposition) int {
			if f.o.Ranks == "evbmf" {
				return weakened(len(d.sigma), d.found(), strength)
			}
			return byEnergy(d.sigma, 1-strength)
		}
		s := split{form: form, r: rank(x.d)}
		if x.in != nil {
			s.in = rank(x.in)
		}
		if l.macs(s) < l.macs(best) {
			best = s
		}
	}
	return best, nil
}

// spectrum is that of a layer, unless the factorization has been stopped.
func (f *factorizer) spectrum(l *layer, form string) (*spectrum, error) {
	if err := f.stopped(); err != nil {
		return nil, err
	}
	return l.spectrum(form)
}

// plan returns the splits at a strength, and what the net then costs.
func (f *factorizer) plan(strength float64) (plan map[string]split, macs int64, params int, err error) {
	plan, macs, params = make(map[string]split), f.macs, f.params
	for _, l := range f.all {
		if f.why[l.name] != "" {
			continue
		}
		s, err := f.at(l, strength)
		if err != nil {
			return nil, 0, 0, err
		}
		if s.form != "" {
			plan[l.name] = s
			macs += l.macs(s) - l.macs(split{})
			params += l.params(s) - l.params(split{})
		}
	}
	return plan, macs, params, nil
}

// solve finds the splits that are asked for.
func (f *factorizer) solve() (map[string]split, error) {
	o := f.o
	strength := 0.0
	switch {
	case o.Energy != 0:
		strength = 1 - o.Energy
	case o.Weaken != 0:
		strength = o.Weaken
	case o.Drop != 0:
		strength = o.Drop
	default:
		return f.meet()
	}
	plan, _, _, err := f.plan(strength)
	if err == nil && len(plan) == 0 {
		err = fmt.Errorf("no layer is worth taking apart%s; ask for more", f.slowest())
	}
	return plan, err
}

// slowest tells of splits that were refused.
func (f *factorizer) slowest() string {
	n := 0
	for _, t := range f.times {
		if t[1] >= t[0] {
			n++
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d splits were not faster when timed; untimed keeps them)", n)
}

// meet finds the least strength at which the target is met.
func (f *factorizer) meet() (map[string]split, error) {
	what, want, dense := "multiply-adds", f.o.MACs, float64(f.macs)
	if f.o.Params != 0 {
		what, want, dense = "parameters", f.o.Params, float64(f.params)
	}
	if want < 1 {
		want *= dense
	}
	cost := func(strength float64) (map[string]split, float64, error) {
		plan, macs, params, err := f.plan(strength)
		if f.o.Params != 0 {
			return plan, float64(params), err
		}
		return plan, float64(macs), err
	}
	if dense <= want {
		return nil, fmt.Errorf("a target of %.10g %s is met by the net as it is, which has %.10g; ask for less", want, what, dense)
	}
	best, least, err := cost(1)
	if err != nil {
		return nil, err
	}
	if least > want {
		return nil, fmt.Errorf("a target of %.10g %s cannot be met: the nearest that can is %.10g%s", want, what, least, f.slowest())
	}
	lo, hi := 0.0, 1.0
	for range 24 {
		mid := (lo + hi) / 2
		plan, c, err := cost(mid)
		if err != nil {
			return nil, err
		}
		if c <= want {
			hi, best = mid, plan
		} else {
			lo = mid
		}
	}
	return best, nil
}

// made returns the checkpoint of a plan.
func (f *factorizer) made(plan map[string]split) (*checkpoint.Checkpoint, error) {
	chains := make(map[string][]layers.Step)
	for _, l := range f.all {
		s, ok := plan[l.name]
		if !ok {
			continue
		}
		chain, err := l.chain(s)
		if err != nil {
			return nil, err
		}
		chains[l.name] = chain
	}
	out := &checkpoint.Checkpoint{Classes: f.c.Classes, Preprocess: f.c.Preprocess}
	var err error
	if out.Net, out.State, err = layers.InPlaceOf(chains)(f.c.Net, f.c.State); err != nil {
		return nil, err
	}
	for i := range out.State {
		e := &out.State[i]
		e.Data, e.Int, e.Codes = slices.Clone(e.Data), slices.Clone(e.Int), nil
	}
	return out, nil
}

// finish rewrites and reports.
func (f *factorizer) finish(plan map[string]split) (*checkpoint.Checkpoint, *Report, error) {
	out, err := f.made(plan)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{MACsBefore: f.macs, ParamsBefore: f.params, MACsAfter: f.macs, ParamsAfter: f.params}
	for _, l := range f.all {
		s := plan[l.name]
		x := l.report(s)
		x.Why = f.why[l.name]
		r.MACsAfter += x.MACsAfter - x.MACsBefore
		r.ParamsAfter += x.ParamsAfter - x.ParamsBefore
		if t, ok := f.times[l.name]; ok {
			x.MSBefore, x.MSAfter = t[0], t[1]
		}
		if s.form == "" && x.Why == "" {
			x.Why = "no rank has fewer multiply-adds"
		}
		if s.form != "" {
			lost, err := l.lost(s)
			if err != nil {
				return nil, nil, err
			}
			x.Energy = math.Max(0, 1-lost)
		}
		r.Layers = append(r.Layers, x)
	}
	detail := fmt.Sprintf("%d layers, %s by %s, %d of %d multiply-adds", len(plan), or(f.o.Form, "auto"), or(f.o.Ranks, "energy"), r.MACsAfter, r.MACsBefore)
	return out, r, compress.Derive(out, f.c, "factorize", detail)
}
