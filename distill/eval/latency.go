package eval

import (
	"context"
	"fmt"
	"time"

	"github.com/potstill/potstill/engine"
	figures "github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// LatencyOptions say how latency is measured. The zero value is usable.
type LatencyOptions struct {
	// Batch is the number of images that go through the net at a time; 0 means 1.
	Batch int
	// Height and Width are those of the images; 0 means what the checkpoint's
	// preprocessing gives.
	Height, Width int
	// Warm is the number of runs before the first that counts; 0 means 10.
	Warm int
	// Runs is the least number of runs of each net that count, 0 means 50, and Time
	// how long these take together at least, times the number of nets.
	Runs int
	Time time.Duration
	// Each, if not nil, is told how many have been done.
	Each func(done int)
}

// A Latency is how long a net takes for a batch of images that are there,
// prepared, in the machine's memory, until their logits are.
type Latency struct {
	Batch   int       `json:"batch"`
	Height  int       `json:"height"`
	Width   int       `json:"width"`
	Warm    int       `json:"warm_up"` // runs before those that count
	Runs    int       `json:"runs"`
	Seconds []float64 `json:"-"` // of each run, in their order
}

// Percentile returns the seconds that a share p of the runs do not exceed.
func (l *Latency) Percentile(p float64) float64 { return figures.Percentile(l.Seconds, p) }

func (o LatencyOptions) normalized(p checkpoint.Preprocess) LatencyOptions {
	or := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	or(&o.Batch, 1)
	or(&o.Warm, 10)
	or(&o.Runs, 50)
	h, w := p.Transform().OutSize(0, 0)
	or(&o.Height, h)
	or(&o.Width, w)
	return o
}

// MeasureLatency runs a checkpoint's model on a batch of gray noise again and
// again, one run after the other, and takes the time of each.
func MeasureLatency(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, o LatencyOptions) (*Latency, error) {
	l, err := MeasureInTurns(ctx, b, []*checkpoint.Checkpoint{c}, o)
	if err != nil {
		return nil, err
	}
	return l[0], nil
}

// inTurn is the number of runs of a turn that count. One before them does not: it
// finds the caches as another net has left them.
const inTurn = 3

// MeasureInTurns is MeasureLatency of several nets that take turns, so that what
// disturbs the machine disturbs all of them: see [Ratio]. All have as many runs. Sizes
// that are not given are the first net's.
func MeasureInTurns(ctx context.Context, b engine.Backend, nets []*checkpoint.Checkpoint, o LatencyOptions) ([]*Latency, error) {
	o = o.normalized(nets[0].Preprocess)
	if o.Batch < 1 || o.Height < 1 || o.Width < 1 || o.Warm < 0 || o.Runs < 1 {
		return nil, fmt.Errorf("latency: batches of %d images of %dx%d, %d runs after %d: none may be less than 1", o.Batch, o.Height, o.Width, o.Runs, o.Warm)
	}
	all := make([]*Latency, len(nets))
	err := withEvaluators(b, nets, Options{Batch: o.Batch}, func(es []*train.Evaluator) error {
		runs := make([]func() (time.Duration, error), len(es))
		for i, e := range es {
			runs[i] = runOf(ctx, e, o, nets[i].Net.Input.Channels)
			all[i] = &Latency{Batch: o.Batch, Height: o.Height, Width: o.Width, Warm: o.Warm}
			for range o.Warm {
				if _, err := runs[i](); err != nil {
					return err
				}
			}
		}
		return takeTurns(runs, all, o)
	})
	return all, err
}

// runOf returns what runs a net once and tells how long that took.
func runOf(ctx context.Context, e *train.Evaluator, o LatencyOptions, channels int) func() (time.Duration, error) {
	images := make([]float32, o.Batch*o.Height*o.Width*channels)
	for i := range images {
		images[i] = float32(i*7919%256) / 255
	}
	return func() (time.Duration, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		begin := time.Now()
		_, err := e.Logits(ctx, images, o.Batch, o.Height, o.Width)
		return time.Since(begin), err
	}
}

// takeTurns runs the nets in turns, until each has been run as often as asked and all of them
// as long.
func takeTurns(runs []func() (time.Duration, error), all []*Latency, o LatencyOptions) error {
	uncounted, counted := 1, inTurn
	if len(runs) == 1 {
		uncounted, counted = 0, 1
	}
	spent := time.Duration(0)
	for all[0].Runs < o.Runs || spent < o.Time*time.Duration(len(runs)) {
		for i, run := range runs {
			for k := range uncounted + counted {
				took, err := run()
				if err != nil {
					return err
				}
				if k < uncounted {
					continue
				}
				spent += took
				all[i].Seconds = append(all[i].Seconds, took.Seconds())
				all[i].Runs++
			}
		}
		if o.Each != nil {
			o.Each(all[0].Runs)
		}
	}
	return nil
}

// Ratio returns how many times as long as another net's one net's runs take: the
// median over the runs that were in the same place of the same turn.
func Ratio(of, to *Latency) float64 {
	ratios := make([]float64, min(len(of.Seconds), len(to.Seconds)))
	for i := range ratios {
		ratios[i] = of.Seconds[i] / to.Seconds[i]
	}
	return figures.Percentile(ratios, 0.5)
}

// withEvaluators has f use evaluators of several nets at a time.
func withEvaluators(b engine.Backend, nets []*checkpoint.Checkpoint, o Options, f func([]*train.Evaluator) error) error {
	if len(nets) == 0 {
		return f(nil)
	}
	return withEvaluator(b, nets[0], o, func(e *train.Evaluator) error {
		return withEvaluators(b, nets[1:], o, func(others []*train.Evaluator) error {
			return f(append([]*train.Evaluator{e}, others...))
		})
	})
}

// PlannedMemory returns the bytes that the planner gives a model for inference
// on batches of n images of height×width: its arena and its weights.
func PlannedMemory(b engine.Backend, m *layers.Model, n, height, width int) (int64, error) {
	g := engine.NewBuilder(engine.NewGraph())
	logits := m.Forward(g, g.Input("images", engine.F32(n, height, width, m.Net().Input.Channels)), false)
	if err := g.Err(); err != nil {
		return 0, err
	}
	plan, err := g.Graph().Explain(b, engine.Options{Outputs: []*engine.Value{logits}})
	if err != nil {
		return 0, err
	}
	return int64(plan.ArenaBytes) + int64(plan.StateBytes), nil
}
