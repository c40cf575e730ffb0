package lowrank

import (
	"context"
	"fmt"
	"math"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Within returns, of each layer that can be taken apart, in the order of execution,
// the split that keeps the most of its weight with at most a share, in (0, 1), of its
// multiply-adds. A layer that reads the image, and one for which no rank has as few,
// are left out. The sizes of images are those of Factorize.
func Within(ctx context.Context, c *checkpoint.Checkpoint, share float64) ([]Split, error) {
	f := &factorizer{c: c, why: make(map[string]string), stopped: ctx.Err}
	if err := f.open(); err != nil {
		return nil, compress.Failed("factorize", c, err)
	}
	var all []Split
	for _, l := range f.all {
		if f.why[l.name] != "" {
			continue
		}
		s, ok, err := f.within(l, share*float64(l.macs(split{})))
		if err != nil {
			return nil, compress.Failed("factorize", c, err)
		}
		if !ok || l.params(s) >= l.params(split{}) {
			continue
		}
		lost, err := l.lost(s)
		if err != nil {
			return nil, compress.Failed("factorize", c, err)
		}
		x := l.report(s)
		x.Energy = math.Max(0, 1-lost)
		all = append(all, x)
	}
	return all, nil
}

// Apart returns a copy of a checkpoint with one layer taken apart, in the form and
// with the ranks of a split.
func Apart(c *checkpoint.Checkpoint, s Split) (*checkpoint.Checkpoint, error) {
	f := &factorizer{c: c, why: make(map[string]string)}
	if err := f.open(); err != nil {
		return nil, compress.Failed("factorize", c, err)
	}
	for _, l := range f.all {
		if l.name != s.Layer {
			continue
		}
		x, err := l.split(s)
		if err != nil {
			return nil, compress.Failed("factorize", c, err)
		}
		out, err := f.made(map[string]split{l.name: x})
		if err != nil {
			return nil, compress.Failed("factorize", c, err)
		}
		out.History = c.History
		return out, nil
	}
	return nil, compress.Failed("factorize", c, fmt.Errorf("there is no layer %s that can be taken apart", s.Layer))
}

// split returns what a Split describes, if the layer can take it.
func (l *layer) split(s Split) (split, error) {
	want := 1
	if s.Form == "tucker" {
		want = 2
	}
	if len(l.forms(s.Form)) == 0 || s.Form == "auto" || len(s.Ranks) != want {
		return split{}, fmt.Errorf("layer %s cannot be taken apart in the form %q with the ranks %d", l.name, s.Form, s.Ranks)
	}
	x, most := split{form: s.Form, r: s.Ranks[want-1]}, l.conv.OutChannels
	if want == 2 {
		x.in = s.Ranks[0]
		if x.in < 1 || x.in > l.conv.InChannels {
			return x, fmt.Errorf("layer %s has %d inputs, and no rank %d", l.name, l.conv.InChannels, x.in)
		}
	} else {
		d, err := l.spectrum(s.Form)
		if err != nil {
			return x, err
		}
		most = len(d.d.sigma)
	}
	if x.r < 1 || x.r > most {
		return x, fmt.Errorf("layer %s has no rank %d in the form %s: the most is %d", l.name, x.r, s.Form, most)
	}
	return x, nil
}

// report tells of a split of a layer, without what it keeps.
func (l *layer) report(s split) Split {
	x := Split{Layer: l.name, Form: s.form, MACsBefore: l.macs(split{}), ParamsBefore: l.params(split{}), MACsAfter: l.macs(s), ParamsAfter: l.params(s)}
	switch {
	case s.form == "tucker":
		x.Ranks = []int{s.in, s.r}
	case s.form != "":
		x.Ranks = []int{s.r}
	}
	return x
}
