package shrink

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// finish trains the net in full, in float32 and then with its bits, and writes it. The
// training in float32 is kept if it has helped; of a net with bits two are made, by
// rounding after training and by training with rounded weights, and the one with the
// better validation accuracy is kept.
func (s *search) finish(ctx context.Context, x candidate) (*Outcome, error) {
	x, accuracy, err := s.finishFloat(ctx, x)
	if err != nil {
		return nil, err
	}
	best := x.c
	if len(x.bits) > 0 {
		if best, accuracy, err = s.finishBits(ctx, x, accuracy); err != nil {
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

// finishFloat returns the better of the net and the net trained on, judged as they
// would be written, and its accuracy.
func (s *search) finishFloat(ctx context.Context, x candidate) (candidate, float64, error) {
	was, err := s.judge(ctx, x)
	if err != nil {
		return x, 0, err
	}
	out, err := s.fit(ctx, s.env.Data, x.c, filepath.Join(s.dir, "final"), s.o.Train)
	if err != nil {
		return x, 0, err
	}
	y := x
	y.c = out.Best
	now, err := s.judge(ctx, y)
	if err != nil {
		return x, 0, err
	}
	s.log("trained in full", "before", was, "accuracy", now)
	if now < was {
		return x, was, nil
	}
	return y, now, nil
}

// finishBits returns the better of the two ways to bits; that by rounding has the
// accuracy given.
func (s *search) finishBits(ctx context.Context, x candidate, rounded float64) (*checkpoint.Checkpoint, float64, error) {
	best, err := s.rounded(ctx, x)
	if err != nil || s.o.QAT == 0 {
		return best, rounded, err
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
	if out.Result.Best.ValAccuracy > rounded {
		return out.Best, out.Result.Best.ValAccuracy, nil
	}
	return best, rounded, nil
}
