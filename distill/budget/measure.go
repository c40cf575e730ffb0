package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/metrics"
)

// keysOf returns the keys of what a run of a plan comes to: its steps, and behind them
// the ways of its images and logits. A key names the processor, the
// instruction set or card, the threads, and the step with its settings, shapes and
// types: a time holds for what is the same in all of these, and for nothing else.
func keysOf(b engine.Backend, plan *engine.Plan, x, logits *engine.Value) []string {
	threads := 0
	if t, ok := b.(interface{ Threads() int }); ok {
		threads = t.Threads()
	}
	machine := fmt.Sprintf("%s, %s, %d threads: ", cpu.Processor(), b.Name(), threads)
	var keys []string
	for _, s := range plan.Steps {
		keys = append(keys, machine+s.Key)
	}
	return append(keys, fmt.Sprintf("%srun %v→%v", machine, x.Spec, logits.Spec))
}

// Runs of a measurement: at least leastRuns, more while they take less than leastTime.
const (
	warmRuns  = 3
	leastRuns = 15
	mostRuns  = 400
	leastTime = 150 * time.Millisecond
)

// measure times the steps of a program in place: each reads what the step before has
// just written, and weights are where the caches have left them a run ago. Whole runs
// with their input, whole runs without, and runs step by step take turns, so that what
// disturbs one disturbs all; each time is the median. It returns milliseconds: one of
// each step, and one of what a run takes beside its steps, the ways of the input and
// the output. A step that is launched and waited for alone takes longer than among
// others: by as much, on the mean, as all steps together take longer than the whole
// run, and that is taken off.
func measure(ctx context.Context, p *engine.Program, x, logits *engine.Value) (ms []float64, err error) {
	images := make([]float32, x.Len())
	for i := range images {
		images[i] = float32(i*7919%256) / 255
	}
	out := make([]float32, logits.Len())
	bound := engine.Bindings{x: engine.Bytes(images)}
	run := func() (float64, error) {
		begin := time.Now()
		err := p.Run(ctx, bound)
		if err == nil {
			err = p.Read(logits, engine.Bytes(out))
		}
		return time.Since(begin).Seconds(), err
	}
	for range warmRuns {
		if _, err := run(); err != nil {
			return nil, err
		}
	}
	t, err := p.StepTimer()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	steps := make([][]float64, len(p.Plan().Steps))
	var runs, wholes []float64
	for begin := time.Now(); len(runs) < leastRuns || len(runs) < mostRuns && time.Since(begin) < leastTime; {
		a, err1 := run()
		b, err2 := t.Whole(bound)
		if err := errors.Join(err1, err2, t.Steps(ctx, bound, steps)); err != nil {
			return nil, err
		}
		runs, wholes = append(runs, a), append(wholes, b)
	}
	all := 0.0
	for _, s := range steps {
		all += median(s)
	}
	alone := max(all-median(wholes), 0) / float64(len(steps))
	for _, s := range steps {
		ms = append(ms, 1000*max(median(s)-alone, 0))
	}
	return append(ms, 1000*max(median(runs)-median(wholes), 0)), nil
}

func median(x []float64) float64 { return metrics.Percentile(x, 0.5) }
