package shrink

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// finish trains the net in full, in float32 and then with its bits, and writes it. Of
// a net with bits two are made, by rounding after training and by training with
// rounded weights; the one with the better validation accuracy is kept.
func (s *search) finish(ctx context.Context, x candidate) (*Outcome, error) {
	out, err := s.fit(ctx, s.env.Data, x.c, filepath.Join(s.dir, "final"), s.o.Train)
	if err != nil {
		return nil, err
	}
	x.c = out.Best
	best, accuracy := x.c, out.Result.Best.ValAccuracy
	if len(x.bits) > 0 {
		if best, accuracy, err = s.finishBits(ctx, x); err != nil {
			return nil, err
		}
	}
	clean := bare(best)
	clean.History = x.history
	path := filepath.Join(s.dir, ResultFile)
	if _, err := checkpoint.Save(path, clean); err != nil {
		return nil, err
	}
	r := &Outcome{Path: path, Journal: s.journal, Accuracy: accuracy}
	if r.Best, err = checkpoint.Load(path); err != nil {
		return nil, err
	}
	if r.Cost, err = s.meter.Cost(ctx, r.Best); err != nil {
		return nil, err
	}
	if !s.o.Under.Met(r.Cost) {
		return r, fmt.Errorf("%s costs %s, more than %s", path, told(s.o.Under, r.Cost), s.o.Under)
	}
	return r, s.save()
}

// finishBits returns the better of the two ways to bits.
func (s *search) finishBits(ctx context.Context, x candidate) (*checkpoint.Checkpoint, float64, error) {
	o := x.quantizer()
	o.AdaRound, o.CorrectBias, o.Images, o.Seed = true, true, s.o.Images, s.o.Train.Seed
	best, err := static(ctx, s.env, x.c, o)
	if err != nil {
		return nil, 0, err
	}
	ev, err := eval.Evaluate(ctx, s.env.Backend, best, s.env.Data.Val, eval.Options{Workers: s.o.Train.Workers})
	if err != nil {
		return nil, 0, err
	}
	s.log("rounded after training", "accuracy", ev.Top1)
	if s.o.QAT == 0 {
		return best, ev.Top1, nil
	}
	learned := quant.Options{Scheme: quant.Int8, LayerBits: x.bits, Images: s.o.Images, Seed: s.o.Train.Seed, Learned: true}
	begin, err := static(ctx, s.env, x.c, learned)
	if err != nil {
		return nil, 0, err
	}
	config := s.o.Train
	config.Epochs, config.Schedule = s.o.QAT, train.ScheduleConfig{Kind: train.Cosine}
	config.Optimizer = train.OptimizerConfig{Kind: train.AdamW, LR: s.o.QATRate, WeightDecay: 0}
	out, err := s.fit(ctx, s.env.Data, begin, filepath.Join(s.dir, "bits"), config)
	if err != nil {
		return nil, 0, err
	}
	s.log("trained with bits", "accuracy", out.Result.Best.ValAccuracy)
	if out.Result.Best.ValAccuracy > ev.Top1 {
		return out.Best, out.Result.Best.ValAccuracy, nil
	}
	return best, ev.Top1, nil
}
