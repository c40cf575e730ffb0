package study

import "github.com/potstill/potstill/engine"

// A series is a study run with one seed after the other: its sessions, whose
// units are those of the same recipe and stand in the same order.
type series []*session

// newSeries plans a study for each of the recipe's seeds. A step that names a
// seed of its own has the same key in all of them, and so is done once.
func newSeries(b engine.Backend, r *Recipe, o Options) (series, error) {
	var runs series
	for k := range r.Seeds {
		c := *r
		c.Seed += uint64(k)
		s := &session{b: b, r: &c, o: o, seeds: r.Seeds}
		var err error
		if s.units, err = c.plan(); err != nil {
			return nil, err
		}
		if err := s.overrideTraining(); err != nil {
			return nil, err
		}
		runs = append(runs, s)
	}
	return runs, nil
}

// of returns the units of a step: for each of them, in the recipe's order, what
// the seeds have made of it, each model once.
func (r series) of(step *Step) (out []variants) {
	for i, u := range r[0].units {
		if u.step != step {
			continue
		}
		var v variants
		seen := make(map[string]bool)
		for _, s := range r {
			if other := s.units[i]; !seen[other.key] {
				seen[other.key] = true
				v = append(v, variant{other, s.r.Seed})
			}
		}
		out = append(out, v)
	}
	return out
}

// final returns what the seeds have made of the model that a step's name stands
// for.
func (r series) final(name string) variants {
	all := r.of(r[0].r.step(name))
	return all[len(all)-1]
}

// Variants are what the seeds have made of one unit of a recipe.
type variants []variant

// A variant is the unit of one seed.
type variant struct {
	*unit
	seed uint64
}

// values returns a figure of each.
func (v variants) values(figure func(o *outcome) float64) []float64 {
	var out []float64
	for _, u := range v {
		out = append(out, figure(u.out))
	}
	return out
}
