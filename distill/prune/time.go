package prune

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/layers/checkpoint"
)

// roundings are the multiples of channels that are tried for a target of time:
// kernels work in vectors, and a width between two multiples may cost what the next
// one does.
var roundings = []int{1, 4, 8, 16}

// timed measures the net after the cut once more, where time was asked for.
func (k *cutter) timed(ctx context.Context, out *checkpoint.Checkpoint, r *Report) error {
	if k.o.MS == 0 {
		return nil
	}
	r.Costs.Before.MS = k.dense.MS
	var err error
	if r.Costs.After.MS, err = k.latency(ctx, out); r.Costs.After.MS > k.o.MS {
		r.Notes = append(r.Notes, fmt.Sprintf("measured again, the cut net takes %.4g ms and not %g", r.Costs.After.MS, k.o.MS))
	}
	return err
}

// The least runs of each net, and how long they take together: of a measurement in turns, and of
// the net before the cut alone. All times are told as shares of the latter.
const (
	leastRuns = 9
	leastTime = 50 * time.Millisecond
	denseRuns = 25
	denseTime = 400 * time.Millisecond
)

// measureTime sets the median milliseconds of a batch before the cut.
func (k *cutter) measureTime(ctx context.Context) error {
	if k.env.Backend == nil {
		return errors.New("a target of milliseconds is measured, and there is no device to measure on")
	}
	l, err := eval.MeasureLatency(ctx, k.env.Backend, k.c, k.latencyOptions(denseRuns, denseTime))
	if err == nil {
		k.dense.MS = 1000 * l.Percentile(0.5)
	}
	return err
}

// latency returns the milliseconds of a batch. The net and the one before the cut are run in
// turns, and what counts is the ratio of their times: a machine's clock drifts more from
// one second to the next than the candidates differ.
func (k *cutter) latency(ctx context.Context, c *checkpoint.Checkpoint) (float64, error) {
	l, err := eval.MeasureInTurns(ctx, k.env.Backend, []*checkpoint.Checkpoint{c, k.c}, k.latencyOptions(leastRuns, leastTime))
	if err != nil {
		return 0, err
	}
	return k.dense.MS * eval.Ratio(l[0], l[1]), nil
}

func (k *cutter) latencyOptions(runs int, least time.Duration) eval.LatencyOptions {
	const warm = 3
	return eval.LatencyOptions{Batch: max(k.o.Batch, 1), Height: k.h, Width: k.w, Warm: warm, Runs: runs, Time: least}
}

// A timing is a cut and what it was measured to take.
type timing struct {
	ratio float64
	size  []int
	ms    float64
	kept  float64 // the importance that is left, of all
}

// solveTime finds the cut that keeps the most importance among those that are
// measured to take no longer than the target: by bisection of the ratio, for each of
// a few multiples to which channels are rounded, unless one is set. Every cut that is
// tried is made and run, so that what is told is what was measured.
func (k *cutter) solveTime(ctx context.Context) (float64, []int, error) {
	if err := k.measureTime(ctx); err != nil {
		return 0, nil, err
	}
	if k.dense.MS <= k.o.MS && k.o.Whole != nil {
		return 0, k.rank.sizes(0), nil
	}
	if k.dense.MS <= k.o.MS {
		return 0, nil, fmt.Errorf("a target of %g ms is met by the net as it is, which takes %.4g ms for a batch of %d; ask for less", k.o.MS, k.dense.MS, max(k.o.Batch, 1))
	}
	multiples := roundings
	if k.o.RoundTo > 0 {
		multiples = []int{k.o.RoundTo}
	}
	var best *timing
	nearest := k.dense.MS
	measured := make(map[string]float64)
	for _, multiple := range multiples {
		for _, c := range k.rank.candidates {
			c.step = multiple / gcd(multiple, c.Width)
		}
		t, least, err := k.bisectTime(ctx, measured)
		if err != nil {
			return 0, nil, err
		}
		nearest = min(nearest, least)
		if t != nil && (best == nil || t.kept > best.kept) {
			best = t
		}
	}
	if best == nil {
		return 0, nil, fmt.Errorf("a target of %g ms cannot be met: the nearest that can is %.4g ms, with nearly nothing left", k.o.MS, nearest)
	}
	return best.ratio, best.size, nil
}

// bisectTime returns the smallest cut, of ratios in steps of a 64th, that is no
// slower than the target, nil if none is, and the least time that was measured.
func (k *cutter) bisectTime(ctx context.Context, measured map[string]float64) (best *timing, least float64, err error) {
	const steps = 64
	at := func(i int) (*timing, error) {
		t := &timing{ratio: float64(i) / steps}
		t.size = k.rank.sizes(t.ratio)
		key := fmt.Sprint(t.size)
		if ms, ok := measured[key]; ok {
			t.ms = ms
		} else {
			c, err := k.made(t.ratio, t.size)
			if err != nil {
				return nil, err
			}
			if t.ms, err = k.latency(ctx, c); err != nil {
				return nil, err
			}
			measured[key] = t.ms
		}
		t.kept = k.rank.kept(t.size)
		return t, nil
	}
	lo, hi := 0, steps-1
	last, err := at(hi)
	if err != nil || last.ms > k.o.MS {
		return nil, last.or(), err
	}
	best = last
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		t, err := at(mid)
		if err != nil {
			return nil, 0, err
		}
		if t.ms <= k.o.MS {
			hi, best = mid, t
		} else {
			lo = mid
		}
	}
	return best, best.ms, nil
}

// or returns the time that was measured, if any was.
func (t *timing) or() float64 {
	if t == nil {
		return 0
	}
	return t.ms
}

// kept returns the share of importance that is left.
func (r *ranking) kept(size []int) float64 {
	all, left := 0.0, 0.0
	for i, c := range r.candidates {
		for k, u := range c.order {
			all += c.score[u]
			if k >= c.Size-size[i] {
				left += c.score[u]
			}
		}
	}
	if all == 0 {
		return 0
	}
	return left / all
}
