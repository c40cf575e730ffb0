package study

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// The files of a unit beside those of package distill.
const (
	prunedFile     = "pruned.safetensors" // before fine-tuning
	compressedFile = "compressed.safetensors"
	importedFile   = "imported.safetensors"
)

// maxMistakes is how many mistakes an outcome keeps.
const maxMistakes = 24

// make does the work of one unit and fills in its outcome.
func (s *session) make(ctx context.Context, u *unit, o *outcome) error {
	switch {
	case u.step.Kind == kindImport:
		if err := s.importModel(u, o); err != nil {
			return err
		}
	case u.step.Kind == kindEvaluate:
		return s.measure(ctx, u, o, u.from.file())
	case u.step.Kind == kindShrink:
		if err := s.shrink(ctx, u, o); err != nil {
			return err
		}
	case trains(u.step.Kind):
		if err := s.train(ctx, u, o); err != nil {
			return err
		}
	default:
		c, err := checkpoint.Load(u.from.file())
		if err != nil {
			return err
		}
		o.File = compressedFile
		if o.Bytes, err = s.compress(ctx, u, c, o.File); err != nil {
			return err
		}
	}
	path := filepath.Join(u.dir, o.File)
	if !o.Unmeasured {
		if err := s.measure(ctx, u, o, path); err != nil {
			return err
		}
	}
	var err error
	o.SHA256, err = checkpoint.Fingerprint(path)
	return err
}

// file is where a finished unit's model lies.
func (u *unit) file() string { return filepath.Join(u.dir, u.out.File) }

// train runs the training of a train, distill or prune step, from its last
// checkpoint if there is one.
func (s *session) train(ctx context.Context, u *unit, o *outcome) error {
	j := fit.Job{
		Data: s.ds, Preprocess: s.r.Data.preprocess(), Config: u.train.Config, Freeze: u.train.Freeze, LRScales: u.train.LRScales, Sparsity: u.train.sparse(),
		Dir: u.dir, Replace: true, Logger: s.o.Logger, Recipe: s.recipeOf(u),
	}
	j.Config.Workers = s.o.Workers
	var err error
	if u.from == nil {
		j.Net, err = layers.Open(u.step.arch(len(s.ds.Classes)))
	} else {
		j.Init, err = checkpoint.Load(u.from.file())
	}
	if err != nil {
		return err
	}
	if _, ok := compress.Find(u.step.Kind); ok {
		// The result is kept, so that its fine-tuning names a file as its origin.
		if _, err := s.compress(ctx, u, j.Init, prunedFile); err != nil {
			return err
		}
		if j.Init, err = checkpoint.Load(filepath.Join(u.dir, prunedFile)); err != nil {
			return err
		}
	}
	if len(u.teachers) > 0 {
		all, err := loadAll(u.teachers)
		if err != nil {
			return err
		}
		j.Teacher, j.Others = all[0], all[1:]
		j.KD, j.LogitsDir = *u.train.KD, filepath.Join(s.o.Dir, "logits")
	}
	if j.Resume, err = s.resumable(u); err != nil {
		return err
	}
	epochs, best := j.Config.Epochs, math.NaN()
	j.Epoch = func(i train.EpochInfo) { best = math.Max(i.ValAccuracy, or(i.ValAccuracy, finiteOrNil(best))) }
	j.Step = func(i train.StepInfo) {
		s.advance(u, i.Update, func() string {
			text := fmt.Sprintf("epoch %d/%d, loss %.3f, %.0f images/s", i.Epoch, epochs, i.Loss, i.ImagesPerSecond)
			if !math.IsNaN(best) {
				text += fmt.Sprintf(", best %.1f %%", 100*best)
			}
			return text
		})
	}
	out, err := fit.Run(ctx, s.b, j)
	if err != nil {
		return err
	}
	o.File, o.Bytes = filepath.Base(out.BestPath), out.BytesBest
	for _, e := range out.Result.History {
		o.Epochs = append(o.Epochs, report.Epoch{
			Epoch: e.Epoch, TrainLoss: e.TrainLoss, TrainAccuracy: &e.TrainAccuracy, ValLoss: &e.ValLoss,
			ValAccuracy: &e.ValAccuracy, LR: e.LR, ImagesPerSecond: e.ImagesPerSecond, Terms: e.Terms,
		})
	}
	return nil
}

func finiteOrNil(x float64) *float64 {
	if math.IsNaN(x) {
		return nil
	}
	return &x
}

// resumable reports whether a unit has a run to resume. A run whose last
// checkpoint is damaged begins anew.
func (s *session) resumable(u *unit) (bool, error) {
	path := filepath.Join(u.dir, fit.LastFile)
	_, err := checkpoint.Load(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	s.o.Logger.Warn("the last checkpoint of a step is damaged; the step begins anew", "step", u.name, "error", err)
	return false, os.Remove(path)
}

// compress applies the unit's method to the model c and keeps the result in a
// file of the unit's folder, whose size it returns.
func (s *session) compress(ctx context.Context, u *unit, c *checkpoint.Checkpoint, file string) (int64, error) {
	method := u.method
	if method == nil { // a round of a chain of prunes
		widths, err := prune.Widths(u.base.widths(), u.mult, nil)
		if err != nil {
			return 0, err
		}
		method = &prune.Options{Widths: widths}
	}
	out, _, err := method.Apply(ctx, compress.Env{Backend: s.b, Data: s.ds, Dir: u.dir, Log: s.o.Logger}, c)
	if err != nil {
		return 0, err
	}
	s.sign(u, out)
	bytes, err := checkpoint.Save(filepath.Join(u.dir, file), out)
	return bytes, hinted(err)
}

// widths returns those of a finished unit's model.
func (u *unit) widths() []int {
	if u.out.Widths == nil && u.out.Arch != nil {
		return u.out.Arch.Widths // of a unit that was finished by an earlier version
	}
	return u.out.Widths
}

// importModel keeps another program's model as one of ours, prepared as the
// study's images are.
func (s *session) importModel(u *unit, o *outcome) error {
	options, err := openOptions(u.step)
	if err != nil {
		return err
	}
	i, err := checkpoint.Inspect(u.step.File, options)
	if err != nil {
		return err
	}
	c := i.Checkpoint
	c.Extra, c.Progress = nil, nil
	if i.Format != checkpoint.FormatOwn {
		c.Preprocess = s.r.Data.preprocess()
	} else {
		c.History = append(c.History, checkpoint.Event{Kind: checkpoint.KindImport, Detail: i.Format, Parent: i.SHA256})
	}
	s.sign(u, c)
	m, err := c.Net.Model()
	if err != nil {
		return err
	}
	if err := o.describe(m, s.r.Data); err != nil {
		return err
	}
	o.Unmeasured = c.Net.Classes() != len(s.ds.Classes)
	if o.Unmeasured {
		s.o.Logger.Info("an imported model has other classes than the data: it is not measured", "step", u.name, "classes", c.Net.Classes())
	}
	o.File = importedFile
	o.Bytes, err = checkpoint.Save(filepath.Join(u.dir, o.File), c)
	return hinted(err)
}

// recipeOf names the recipe and the step for a model's history.
func (s *session) recipeOf(u *unit) string {
	sum := sha256.Sum256([]byte(s.r.text))
	return fmt.Sprintf("%s (%s), step %s", s.r.Study, hex.EncodeToString(sum[:6]), u.name)
}

// sign puts the recipe into the last event of c's history.
func (s *session) sign(u *unit, c *checkpoint.Checkpoint) {
	if n := len(c.History); n > 0 {
		c.History[n-1].Recipe = s.recipeOf(u)
	}
}

// openOptions says what a file of another program holds, where the recipe does.
func openOptions(s *Step) (o checkpoint.OpenOptions, err error) {
	arch := s.Arch
	o.Weights = s.Weights
	if s.Input != "" {
		if err := o.Input.UnmarshalText([]byte(s.Input)); err != nil {
			return o, err
		}
	}
	if layers.IsYAML(arch) {
		o.Net, err = layers.Open(layers.Arch{Family: arch, Classes: 2}) // the file has the number of classes
		return o, err
	}
	o.Arch.Family = arch
	return o, nil
}
