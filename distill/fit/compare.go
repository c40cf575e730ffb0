package fit

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A Pilot is what short runs under one loss have come to.
type Pilot struct {
	// Method is the loss, see distill.Spec; "" is none: the labels alone.
	Method string `json:"method"`
	// Accuracy is that of the last epoch on the validation images, over the seeds.
	Accuracy metrics.Summary `json:"accuracy"`
	// Gain is the accuracy less that of the labels alone, seed by seed.
	Gain metrics.Summary `json:"gain"`
	// Accuracies are those of the seeds, in their order.
	Accuracies []float64 `json:"accuracies"`
}

// Below reports whether every seed was below the labels alone, or the mean by more
// than the standard deviation of the difference.
func (p Pilot) Below() bool {
	return p.Method != "" && p.Gain.Mean < 0 && (p.Gain.Max < 0 || -p.Gain.Mean > p.Gain.SD)
}

// Compare runs a job under its teachers with each of the losses and without a
// teacher, as many seeds each, from the job's own on: the same images in the same
// order, the same first weights, the same length. Nothing is written. The first
// pilot is that without a teacher; each is handed to done as it is finished.
func Compare(ctx context.Context, b engine.Backend, j Job, specs []string, seeds int, done func(Pilot)) ([]Pilot, error) {
	if seeds < 1 {
		return nil, fmt.Errorf("pilots are run with at least one seed, not %d", seeds)
	}
	if j.Teacher == nil {
		return nil, errors.New("pilots compare losses under a teacher; name one")
	}
	j.Dir, j.Resume, j.StepLog = "", false, nil
	for _, s := range specs {
		k := j
		k.KD = distill.Settings{Spec: s, Teachers: j.KD.Teachers, Precision: j.KD.Precision}
		if err := k.Check(); err != nil {
			return nil, err
		}
	}
	var all []Pilot
	for _, s := range append([]string{""}, specs...) {
		k := j
		k.KD = distill.Settings{Spec: s, Teachers: j.KD.Teachers, Precision: j.KD.Precision}
		if s == "" {
			k.Teacher, k.Others, k.Config.Optimizer.DOT = nil, []*checkpoint.Checkpoint(nil), nil
		}
		p := Pilot{Method: s}
		gains := make([]float64, seeds)
		for i := range seeds {
			k.Config.Seed = j.Config.Seed + uint64(i)
			if i > 0 {
				k.Logger = nil // the loss has been announced
			}
			out, err := Run(ctx, b, k)
			if err != nil {
				return all, fmt.Errorf("pilot %s: %w", cmp.Or(s, "without a teacher"), err)
			}
			p.Accuracies = append(p.Accuracies, out.Result.Last.ValAccuracy)
			if s != "" {
				gains[i] = p.Accuracies[i] - all[0].Accuracies[i]
			}
		}
		p.Accuracy, p.Gain = metrics.Spread(p.Accuracies), metrics.Spread(gains)
		all = append(all, p)
		if done != nil {
			done(p)
		}
	}
	return all, nil
}
