package shrink

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers/checkpoint"
)

// static quantizes a net of the search.
func static(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o quant.Options) (*checkpoint.Checkpoint, error) {
	out, _, err := quant.Static(ctx, env, bare(c), o)
	return out, err
}

// floatPath is the file that the last training in float32 leaves, as it would be
// written, and bitsFolder the one of the training with bits.
func (s *search) floatPath() string  { return filepath.Join(s.dir, "final", "written.safetensors") }
func (s *search) bitsFolder() string { return filepath.Join(s.dir, "bits") }

// finish trains the net in full, in float32 and then with its bits, and writes it. The
// training in float32 is kept if it has helped; of a net with bits several are made, by
// rounding before and after that training and by training with rounded weights, and the
// one with the best validation accuracy is written.
func (s *search) finish(ctx context.Context, x candidate) (*Outcome, error) {
	x, best, accuracy, err := s.finishFloat(ctx, x)
	if err != nil {
		return nil, err
	}
	if len(x.bits) > 0 && s.o.QAT > 0 {
		trained, now, err := s.finishBits(ctx, x)
		if err != nil {
			return nil, err
		}
		s.log("trained with bits", "before", accuracy, "accuracy", now)
		if now > accuracy {
			best, accuracy = trained, now
		}
	}
	r := &Outcome{Path: filepath.Join(s.dir, ResultFile), Recipe: filepath.Join(s.dir, RecipeFile), Journal: s.journal, Accuracy: accuracy}
	if err := s.write(best, r.Path); err != nil {
		return nil, err
	}
	if r.Best, err = checkpoint.Load(r.Path); err != nil {
		return nil, err
	}
	if r.Cost, err = s.meter.Cost(ctx, r.Best); err != nil {
		return nil, err
	}
	if s.o.Under.MS > 0 {
		if r.Cost.MS, err = Timed(ctx, s.env.Backend, r.Best, s.o.Under.Batch); err != nil {
			return nil, err
		}
	}
	if err := s.recipe().save(r.Recipe); err != nil {
		return nil, err
	}
	if !s.o.Under.Met(r.Cost) {
		return r, fmt.Errorf("%w: %s costs %s, more than %s", ErrOver, r.Path, told(s.o.Under, r.Cost), s.o.Under)
	}
	if err := s.save(); err != nil {
		return nil, err
	}
	return r, nil
}

// finishFloat trains the net in full. Of the net before and after it returns the one
// that is better in float32, from which the training with bits begins, and the one that
// is better as it would be written, with its accuracy.
func (s *search) finishFloat(ctx context.Context, x candidate) (candidate, *checkpoint.Checkpoint, float64, error) {
	was, err := s.rounded(ctx, x)
	if err != nil {
		return x, nil, 0, err
	}
	before, err := s.accuracy(ctx, was)
	if err != nil {
		return x, nil, 0, err
	}
	out, err := s.fit(ctx, s.env.Data, x.c, filepath.Join(s.dir, "final"), "last training", s.o.Train)
	if err != nil {
		return x, nil, 0, err
	}
	float, err := s.accuracy(ctx, x.c)
	if err != nil {
		return x, nil, 0, err
	}
	y := x
	y.c = out.Best
	is, err := s.rounded(ctx, y)
	if err != nil {
		return x, nil, 0, err
	}
	after, err := s.accuracy(ctx, is)
	if err != nil {
		return x, nil, 0, err
	}
	s.log("trained in full", "before", before, "accuracy", after, "float_before", float, "float", out.Result.Best.ValAccuracy)
	if after < before {
		is, after = was, before
	}
	if out.Result.Best.ValAccuracy < float {
		y = x
	}
	if err := s.write(is, s.floatPath()); err != nil {
		return x, nil, 0, err
	}
	s.journal.Float = after
	return y, is, after, s.save()
}

// finishBits trains a net with rounded weights.
func (s *search) finishBits(ctx context.Context, x candidate) (*checkpoint.Checkpoint, float64, error) {
	o := x.quantizer()
	o.Images, o.Seed, o.Learned = s.o.Images, s.o.Train.Seed, true
	begin, err := static(ctx, s.env, x.c, o)
	if err != nil {
		return nil, 0, err
	}
	config := s.o.Train
	config.Epochs, config.Schedule = s.o.QAT, train.ScheduleConfig{Kind: train.Cosine}
	config.Optimizer = train.OptimizerConfig{Kind: train.AdamW, LR: s.o.QATRate, WeightDecay: 0}
	out, err := s.fit(ctx, s.env.Data, begin, s.bitsFolder(), "training with bits", config)
	if err != nil {
		return nil, 0, err
	}
	accuracy, err := s.accuracy(ctx, out.Best) // in integers, as training only imitates them
	return out.Best, accuracy, err
}
