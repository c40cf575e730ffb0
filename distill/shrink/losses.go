package shrink

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Losses are what moves alone are estimated to cost: the mean Kullback-Leibler
// divergence, in nats,
//
//	1/N · Σ_n Σ_k p_nk·(log p_nk - log q_nk)
//
// of the predictions q of the net with the move from those p of the net without, on
// some training images. Nothing is trained in between, so that it says which move is
// cheaper than another, and not what the net loses in the end.
type losses struct {
	widths map[string]*curve
	bits   map[string]map[int]float64
}

// A curve is what it costs to take units from a group: loss[i] with take[i] of them
// gone, both rising; take[0] and loss[0] are 0. Order are the units, that which
// matters least first.
type curve struct {
	group layers.Group
	order []int
	take  []int
	loss  []float64
}

// at returns the loss with n units gone, between the measured numbers in proportion.
func (c *curve) at(n int) float64 {
	i, ok := slices.BinarySearch(c.take, n)
	if ok {
		return c.loss[i]
	}
	if i == len(c.take) {
		return math.Inf(1)
	}
	share := float64(n-c.take[i-1]) / float64(c.take[i]-c.take[i-1])
	return c.loss[i-1] + share*(c.loss[i]-c.loss[i-1])
}

// keep returns the units that stay with n gone, ascending.
func (c *curve) keep(n int) []int {
	kept := slices.Clone(c.order[n:])
	slices.Sort(kept)
	return kept
}

// shares are those of a group's units with which a curve is measured.
var shares = []float64{1. / 16, 1. / 8, 1. / 4, 1. / 2, 3. / 4}

// A surveyor measures losses.
type surveyor struct {
	env    compress.Env
	images []data.Image
	// taylor is the number of images by which units are ranked.
	taylor int
	bits   []int // that layers may get, the most first
}

// divergence returns that of a changed net from the predictions p.
func (s *surveyor) divergence(ctx context.Context, p [][]float32, c *checkpoint.Checkpoint) (float64, error) {
	q, err := eval.Predict(ctx, s.env.Backend, c, s.images)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for i := range p {
		sum += metrics.Divergence(p[i], q[i])
	}
	if d := sum / float64(len(p)); !math.IsNaN(d) {
		return max(d, 0), nil
	}
	return math.Inf(1), nil
}

// survey measures the losses of the moves of a candidate.
func (s *surveyor) survey(ctx context.Context, x candidate) (*losses, error) {
	p, err := eval.Predict(ctx, s.env.Backend, x.c, s.images)
	if err != nil {
		return nil, err
	}
	l := &losses{widths: make(map[string]*curve), bits: make(map[string]map[int]float64)}
	if err := s.surveyWidths(ctx, x, p, l); err != nil {
		return nil, err
	}
	for _, name := range weighted(x.c.Net) {
		now := x.bits[name]
		if now == 0 {
			continue
		}
		l.bits[name] = make(map[int]float64)
		for _, b := range s.bits {
			if b > now {
				continue
			}
			c, err := roundedLayer(x.c, name, b)
			if err != nil {
				return nil, err
			}
			if l.bits[name][b], err = s.divergence(ctx, p, c); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

// roundedLayer returns the net with the weight of a layer as codes of so many bits
// have it.
func roundedLayer(c *checkpoint.Checkpoint, name string, bits int) (*checkpoint.Checkpoint, error) {
	out := *c
	out.State = slices.Clone(c.State)
	m := c.Net.Module(name)
	e := out.State.Find(m.Tensor("weight"))
	if e == nil {
		return nil, fmt.Errorf("%s: layer %s has no weight", c.Net, name)
	}
	e.Data, e.Codes = quant.RoundWeight(e.Data, e.Shape[0], bits), nil
	return &out, nil
}

// surveyWidths measures the curves of all groups.
func (s *surveyor) surveyWidths(ctx context.Context, x candidate, p [][]float32, l *losses) error {
	scores, err := prune.Importance(ctx, s.env, x.c, prune.Options{Criterion: "taylor", Images: s.taylor, Normalize: "none", Reduce: "sum"})
	if errors.Is(err, prune.ErrNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	groups, err := x.c.Net.Groups()
	if err != nil {
		return err
	}
	for _, g := range groups {
		score := scores[g.Name]
		if g.Fixed != "" || score == nil || g.Size < 2 {
			continue
		}
		c := &curve{group: g, order: make([]int, g.Size), take: []int{0}, loss: []float64{0}}
		for i := range c.order {
			c.order[i] = i
		}
		slices.SortStableFunc(c.order, func(a, b int) int { return cmp.Compare(score[a], score[b]) })
		for _, f := range shares {
			n := max(int(f*float64(g.Size)), 1)
			if n == c.take[len(c.take)-1] || n >= g.Size {
				continue
			}
			cut, err := x.c.Rewrite(layers.Select(map[string][]int{g.Name: c.keep(n)}))
			if err != nil {
				return err
			}
			d, err := s.divergence(ctx, p, cut)
			if err != nil {
				return err
			}
			c.take = append(c.take, n)
			c.loss = append(c.loss, max(d, c.loss[len(c.loss)-1]))
		}
		l.widths[g.Name] = c
	}
	return nil
}
