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
	// Runs is the least number of runs that count, 0 means 50, and Time how long
	// they take together at least.
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
	o = o.normalized(c.Preprocess)
	if o.Batch < 1 || o.Height < 1 || o.Width < 1 || o.Warm < 0 || o.Runs < 1 {
		return nil, fmt.Errorf("latency: batches of %d images of %dx%d, %d runs after %d: none may be less than 1", o.Batch, o.Height, o.Width, o.Runs, o.Warm)
	}
	l := &Latency{Batch: o.Batch, Height: o.Height, Width: o.Width, Warm: o.Warm}
	err := withEvaluator(b, c, Options{Batch: o.Batch}, func(e *train.Evaluator) error {
		images := make([]float32, o.Batch*o.Height*o.Width*c.Net.Input.Channels)
		for i := range images {
			images[i] = float32(i*7919%256) / 255
		}
		spent := time.Duration(0)
		for i := -o.Warm; i < o.Runs || spent < o.Time; i++ {
			if err := ctx.Err(); err != nil {
				return err
			}
			begin := time.Now()
			if _, err := e.Logits(ctx, images, o.Batch, o.Height, o.Width); err != nil {
				return err
			}
			if i < 0 {
				continue
			}
			took := time.Since(begin)
			spent += took
			l.Seconds = append(l.Seconds, took.Seconds())
			if o.Each != nil {
				o.Each(len(l.Seconds))
			}
		}
		return nil
	})
	l.Runs = len(l.Seconds)
	return l, err
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
