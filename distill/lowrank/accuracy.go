package lowrank

import (
	"context"
	"errors"

	"github.com/potstill/potstill/distill/eval"
)

// A point of a layer's curve: what the net's accuracy falls by with this split of
// this layer alone.
type point struct {
	split split
	drop  float64
}

// judge measures every layer's curve: for nine shares of its multiply-adds, the
// split that has no more and keeps the most is evaluated in the net. The curves are
// made to rise, as AIMET does (Qualcomm, "greedy compression-ratio selection").
func (f *factorizer) judge(ctx context.Context) error {
	if f.env.Data == nil || f.env.Backend == nil || f.env.Data.Val == nil {
		return errors.New("ranks by accuracy need images with a validation part, and a device; give --data")
	}
	n := f.o.Images
	if n == 0 {
		n = 512
	}
	val := f.env.Data.Val.Subset(n)
	dense, err := eval.Evaluate(ctx, f.env.Backend, f.c, val, eval.Options{})
	if err != nil {
		return err
	}
	f.curves = make(map[string][]point)
	for _, l := range f.all {
		if f.why[l.name] != "" {
			continue
		}
		worst := 0.0
		for tenth := 9; tenth >= 1; tenth-- {
			s, ok, err := f.within(l, float64(l.macs(split{}))*float64(tenth)/10)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			c, err := f.made(map[string]split{l.name: s})
			if err != nil {
				return err
			}
			e, err := eval.Evaluate(ctx, f.env.Backend, c, val, eval.Options{})
			if err != nil {
				return err
			}
			worst = max(worst, dense.Top1-e.Top1)
			f.curves[l.name] = append(f.curves[l.name], point{s, worst})
		}
		if f.env.Log != nil {
			f.env.Log.Debug("judged", "layer", l.name, "points", len(f.curves[l.name]))
		}
	}
	return nil
}

// within returns the split of at most so many multiply-adds that keeps the most.
func (f *factorizer) within(l *layer, macs float64) (best split, ok bool, err error) {
	least := 2.0
	for _, form := range l.forms(or(f.o.Form, "auto")) {
		x, err := f.spectrum(l, form)
		if err != nil {
			return best, false, err
		}
		lo, hi := 0.0, 1.0 // the strength
		var at split
		found := false
		for range 20 {
			mid := (lo + hi) / 2
			s := split{form: form, r: byEnergy(x.d.sigma, 1-mid)}
			if x.in != nil {
				s.in = byEnergy(x.in.sigma, 1-mid)
			}
			if float64(l.macs(s)) <= macs {
				hi, at, found = mid, s, true
			} else {
				lo = mid
			}
		}
		if !found {
			continue
		}
		lost, err := l.lost(at)
		if err != nil {
			return best, false, err
		}
		if lost < least {
			best, least, ok = at, lost, true
		}
	}
	return best, ok, nil
}

// byCurve returns the cheapest split whose drop alone is at most the strength.
func (f *factorizer) byCurve(l *layer, strength float64) split {
	var best split
	for _, p := range f.curves[l.name] {
		if p.drop <= strength && l.macs(p.split) < l.macs(best) {
			best = p.split
		}
	}
	return best
}
