package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// evalBatch is the batch of measurements, unless the user says otherwise.
const evalBatch = 32

// latencyTime is how long the runs of a latency take at least; tests make it shorter.
var latencyTime = 500 * time.Millisecond

// measure classifies the validation and the test images with the model in a
// file. An evaluate step measures its throughput, latency and memory too.
func (s *session) measure(ctx context.Context, u *unit, o *outcome, path string) (err error) {
	c, err := checkpoint.Load(path)
	if err != nil {
		return err
	}
	if err := c.CheckDataset(s.ds); err != nil {
		return err
	}
	store := engine.NewStore(s.b)
	defer func() { err = errors.Join(err, store.Close()) }()
	m, err := c.Net.Model() // what is described; what is measured may compute in integers
	if err != nil {
		return err
	}
	run, err := c.Infer(store)
	if err != nil {
		return err
	}
	ev, err := train.NewEvaluator(run, store, c.Net.Classes(), train.EvalOptions{
		Batch: cmp.Or(s.o.Batch, evalBatch), Transform: c.Preprocess.Transform(), Workers: s.o.Workers,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ev.Close()) }()
	evaluation := u.step.Kind == kindEvaluate
	var wrong []mistake
	if o.Val, err = classify(ctx, ev, s.ds.Val, c.Net.Classes(), &wrong); err != nil {
		return err
	}
	o.Accuracy, o.Loss = o.Val.Top1, o.Val.Loss
	if hasTest(s.ds) {
		if o.Test, err = classify(ctx, ev, s.ds.Test, c.Net.Classes(), nil); err != nil {
			return err
		}
	}
	if err := o.describe(m, s.r.Data); err != nil {
		return err
	}
	if evaluation {
		o.Confusion, o.Mistakes = o.Val.Confusion, wrong[:min(len(wrong), maxMistakes)]
		if err := s.cost(ctx, u, o, c, run, ev); err != nil {
			return err
		}
	} else if o.Test != nil { // a matrix is large where there are many classes
		o.Test.Confusion = nil
	}
	o.Val.Confusion = nil
	return nil
}

// hasTest reports whether there are images to test on.
func hasTest(ds *data.Dataset) bool { return ds.Test != nil && ds.Test.Len() > 0 }

// classify evaluates a split, and appends what was wrong, the surest first.
func classify(ctx context.Context, ev *train.Evaluator, split *data.Split, classes int, wrong *[]mistake) (*metrics.Figures, error) {
	scores := metrics.New(classes)
	_, err := ev.Run(ctx, split, func(i int, logits []float32) error {
		if k, p := metrics.Confidence(logits); wrong != nil && k != split.Label(i) {
			*wrong = append(*wrong, mistake{Index: i, Label: split.Label(i), Predicted: k, Prob: p})
		}
		return scores.Add(logits, split.Label(i))
	})
	if err != nil {
		return nil, err
	}
	if wrong != nil {
		slices.SortStableFunc(*wrong, func(a, b mistake) int {
			return cmp.Or(cmp.Compare(b.Prob, a.Prob), cmp.Compare(a.Index, b.Index))
		})
	}
	return new(scores.Figures()), nil
}

// cost measures what a model takes: its throughput, its latency, its memory.
func (s *session) cost(ctx context.Context, u *unit, o *outcome, c *checkpoint.Checkpoint, m *layers.Model, ev *train.Evaluator) (err error) {
	if o.ImagesPerSecond == 0 {
		if o.ImagesPerSecond, err = s.throughput(ctx, u, ev, s.passes(u)); err != nil {
			return err
		}
	}
	h, w, err := s.imageSize(c)
	if err != nil {
		return err
	}
	l, err := eval.MeasureLatency(ctx, s.b, c, eval.LatencyOptions{Height: h, Width: w, Time: latencyTime})
	if err != nil {
		return err
	}
	o.Latency = &report.Latency{Batch: l.Batch, Runs: l.Runs, Warm: l.Warm,
		Median: l.Percentile(0.5), P10: l.Percentile(0.1), P90: l.Percentile(0.9)}
	o.Memory, err = eval.PlannedMemory(s.b, m, 1, h, w)
	return err
}

// imageSize returns the height and width at which a model sees the first
// validation image.
func (s *session) imageSize(c *checkpoint.Checkpoint) (h, w int, err error) {
	if s.ds.Val.Len() == 0 {
		return 0, 0, errors.New("there are no validation images")
	}
	h, w = c.Preprocess.Transform().OutSize(s.ds.Val.Bounds(0))
	return h, w, nil
}

// describe fills in what the outcome tells of the net.
func (o *outcome) describe(m *layers.Model, d DataSpec) (err error) {
	o.Params, o.Arch = int64(m.Params()), new(m.Arch())
	h, w := d.preprocess().Transform().OutSize(0, 0)
	if in := m.Net().Input; h > 0 && in.Height == 0 || in.Height > 0 && in.Height == h && in.Width == w {
		sum, err := m.Summary(h, w)
		if err != nil {
			return err
		}
		o.MACs = sum.MultAdds
	}
	o.Widths, err = prune.WidthsOf(m.Net())
	return err
}

// throughput returns the median of the passes' images a second.
func (s *session) throughput(ctx context.Context, u *unit, ev *train.Evaluator, passes int) (float64, error) {
	var rates []float64
	for i := range passes {
		got, err := ev.Run(ctx, s.ds.Val, nil)
		if err != nil {
			return 0, err
		}
		rates = append(rates, got.ImagesPerSecond)
		s.advance(u, i+1, func() string { return fmt.Sprintf("%.0f images/s", got.ImagesPerSecond) })
	}
	return metrics.Percentile(rates, 0.5), nil
}

// lacks reports whether a finished unit was measured by a version that gave
// fewer figures, or on another number of test images.
func (s *session) lacks(u *unit) bool {
	o := u.out
	switch {
	case o.Unmeasured:
		return false
	case o.Val == nil, hasTest(s.ds) != (o.Test != nil):
		return true
	case o.Test != nil && o.Test.N != s.ds.Test.Len():
		return true
	}
	return u.step.Kind == kindEvaluate && o.Latency == nil
}

// complete measures the figures that a finished unit lacks. What it was made
// into stays as it is.
func (s *session) complete(ctx context.Context, u *unit) error {
	if !s.lacks(u) {
		return nil
	}
	path := ""
	if u.step.Kind == kindEvaluate {
		path = u.from.file()
	} else {
		path = u.file()
	}
	o := *u.out
	if err := s.measure(ctx, u, &o, path); err != nil {
		return err
	}
	o.Accuracy, o.Loss = u.out.Accuracy, u.out.Loss
	u.out = &o
	return hinted(u.writeOutcome(&o))
}
