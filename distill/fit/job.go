package fit

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// The names of the checkpoints in Job.Dir.
const (
	BestFile = "best.safetensors"
	LastFile = "last.safetensors"
	// MetricsFile is the name of the epochs' figures in Job.Dir.
	MetricsFile = "metrics.jsonl"
	// CSVFile has the same figures as a table.
	CSVFile = "metrics.csv"
)

// A Job says what to train, on what, and how.
type Job struct {
	// Name is put in front of errors, where there is one.
	Name string
	// Net is the net to train. Where Init is given it is ignored.
	Net *layers.Net
	// Init holds the net and the weights to start from; nil means the weights
	// that the net's kinds begin with, drawn from Config.Seed.
	Init *checkpoint.Checkpoint
	// NewHead replaces Init's last layer by a new one for the classes of the
	// data, its weights drawn from Config.Seed. It is implied where
	// Init names no classes, as other programs' files do not, and their number
	// differs.
	NewHead bool
	// Freeze names tensors that are not trained, and LRScales the factors of the
	// learning rate of others, by the patterns of layers.Model.Freeze. Where two
	// patterns name a tensor, the later one counts.
	Freeze   []string
	LRScales []LRScale
	// Teacher, if not nil, is distilled from, with the settings KD.
	Teacher *checkpoint.Checkpoint
	// Others are further teachers beside it: see distill.Settings.Teachers.
	Others []*checkpoint.Checkpoint
	KD     distill.Settings
	// LogitsDir is where the logits of teachers are kept, so that a teacher is run once
	// for images that do not change; "": teachers are run in every step.
	LogitsDir string
	// SharedImages gives the teacher the student's images, normalized as its own,
	// where its file says that it was made for others.
	SharedImages bool
	// Sparsity is a penalty that draws channels toward 0 before a cut.
	Sparsity distill.Sparsity
	// Data are the images. The best weights are chosen by its validation part.
	Data *data.Dataset
	// Preprocess is written into the checkpoints: what an image goes through
	// before it meets the net. It must say the same as Config.Eval. Either may
	// be left zero and then follows from the other.
	Preprocess checkpoint.Preprocess
	Config     train.Config
	// Dir is where files are written; it is made if need be, and locked during
	// the run. "" means none: the best weights are in the Outcome alone. A folder
	// that holds a run is refused, unless Resume or Replace is set.
	Dir string
	// Replace lets the run replace one that Dir holds.
	Replace bool
	// Resume continues from last.safetensors in Dir, which must be there and be
	// of the same job. Only Epochs, Patience, SaveEvery and Workers of the
	// Config may differ.
	Resume bool
	// History is how Init came about; nil means Init's own. This run is added.
	History []checkpoint.Event
	// Recipe goes into this run's part of the history: the study's recipe and
	// step, where there is one.
	Recipe string

	// Peers, if not nil, are the processes that run this job together, one for each rank: see
	// train.Config.Peers. All are given the same job; rank 0 alone writes files, and all read
	// what is resumed.
	Peers engine.Peers

	// StepLog gets a line of JSON after each step, with the fields epoch, step
	// (within the epoch) and update (within the run), all from 1, loss, lr,
	// grad_norm where the gradient is clipped, and terms where the loss has
	// several: their values by name, before they are weighted.
	StepLog io.Writer
	Logger  *slog.Logger
	// Step and Epoch are told of progress. They must be quick.
	Step  func(train.StepInfo)
	Epoch func(train.EpochInfo)

	own   *layers.Net    // the net before it got its teacher's classifier
	reuse layers.Rewrite // which gives it that; nil unless the loss does (distill.Spec.Reuse)
}

// An LRScale multiplies the learning rate of the tensors that a pattern names.
type LRScale struct {
	Pattern string
	Factor  float64
}

// ParseLRScale reads PATTERN=FACTOR, as in "layer1.*=0.1".
func ParseLRScale(text string) (LRScale, error) {
	pattern, number, ok := strings.Cut(text, "=")
	factor, err := strconv.ParseFloat(number, 64)
	if !ok || pattern == "" || err != nil || !(factor >= 0) || math.IsInf(factor, 0) {
		return LRScale{}, fmt.Errorf("%q is no PATTERN=FACTOR with a factor from 0 up, as in layer1.*=0.1", text)
	}
	return LRScale{Pattern: pattern, Factor: factor}, nil
}

// An Outcome is what a run has come to.
type Outcome struct {
	// Best is the model with the best validation accuracy; with a Dir, at the rank that
	// writes there, as it was read back from BestPath.
	Best *checkpoint.Checkpoint
	// BestPath and LastPath are the files; "" without a Dir.
	BestPath, LastPath string
	Result             *train.Result
	// BytesBest is the size of the file at BestPath.
	BytesBest int64
}

// An InterruptedError says that a run's context was canceled. It wraps the
// context's error.
type InterruptedError struct {
	Epoch, Step, Steps int    // where: the last step done, from 1
	Path               string // the checkpoint to resume from; "" if nothing was saved
	Err                error
}

// Error implements error.
func (e *InterruptedError) Error() string {
	where := "before the first step"
	if e.Step > 0 {
		where = fmt.Sprintf("after epoch %d, step %d of %d", e.Epoch, e.Step, e.Steps)
	}
	if e.Path == "" {
		return fmt.Sprintf("training was stopped %s and not saved, for it has no output folder", where)
	}
	return fmt.Sprintf("training was stopped %s and saved in %s; the same command with --resume continues exactly there", where, e.Path)
}

// Unwrap returns the context's error.
func (e *InterruptedError) Unwrap() error { return e.Err }

// prepare checks a job and fills in what follows from the rest.
func (j *Job) prepare() error {
	if j.Data == nil {
		return errors.New("there are no data to train on")
	}
	if j.Resume && j.Dir == "" {
		return errors.New("resume: there is no output folder to resume from")
	}
	classes := j.Data.Classes
	if err := j.prepareInit(classes); err != nil {
		return err
	}
	if j.Net == nil {
		return errors.New("there is no net to train")
	}
	if n := j.Net.Classes(); n != len(classes) {
		return fmt.Errorf("the model has %d classes, the data %s %d; give the model %d", n, j.Data.Name, len(classes), len(classes))
	}
	for _, c := range j.teachers() {
		if err := c.CheckDataset(j.Data); err != nil {
			return fmt.Errorf("teacher: %w", err)
		}
		if _, integers := c.Net.Quantized(); j.KD.Precision == distill.Int8 && !integers {
			return fmt.Errorf("teacher: %s has no ranges of its activations, and cannot compute in integers; quantize it first with potstill quantize --scheme int8", nameOf(c))
		}
	}
	if j.Teacher != nil {
		if err := j.KD.Validate(); err != nil {
			return err
		}
		j.KD = j.KD.Normalized()
		if loss, err := j.KD.Loss(); err != nil {
			return err
		} else if err := loss.CheckTeachers(len(j.teachers())); err != nil {
			return err
		}
	}
	for _, c := range append(j.teachers(), j.Init) {
		if c == nil || c == j.Init && j.Resume { // then Init is not used
			continue
		}
		if err := c.CheckFinite(); err != nil {
			return err
		}
	}
	if err := j.Sparsity.Validate(); err != nil {
		return err
	}
	if err := j.checkChannels(); err != nil {
		return err
	}
	if err := j.agree(); err != nil {
		return err
	}
	if err := j.checkSize(); err != nil {
		return err
	}
	return j.prepareReuse()
}

// teachers returns all of them, none without a first.
func (j *Job) teachers() []*checkpoint.Checkpoint {
	if j.Teacher == nil {
		return nil
	}
	return append([]*checkpoint.Checkpoint{j.Teacher}, j.Others...)
}

// Check reports what is known to be wrong with the job before it is run, beside
// the state of its folder. It serves those who have to train a teacher first.
func (j Job) Check() error {
	err := j.prepare()
	if err == nil {
		s := &session{j: &j}
		s.model, err = s.build()
		if err == nil {
			err = j.KD.Validate()
		}
		if err == nil {
			err = j.Config.Validate()
		}
		if err == nil {
			err = train.CheckLastBatch(s.model, j.Data, j.Config)
		}
	}
	if err != nil && j.Name != "" {
		err = fmt.Errorf("%s: %w", j.Name, err)
	}
	return err
}

// checkChannels refuses nets for other pictures than those there are.
func (j *Job) checkChannels() error {
	const hint = "pictures are read in 3 (RGB) or made gray, so that only nets for 3 channels or for 1 can be used"
	if n := j.Net.Input.Channels; n != channels && n != 1 {
		name := j.Net.String()
		if j.Init != nil && j.Init.Path != "" {
			name = j.Init.Path
		}
		return fmt.Errorf("%s takes images of %d channels; %s", name, n, hint)
	}
	for _, t := range j.teachers() {
		if n := t.Net.Input.Channels; n != channels && n != 1 {
			return fmt.Errorf("%s: the teacher takes images of %d channels; %s", nameOf(t), n, hint)
		}
	}
	return nil
}

// channels are those of every picture that package data reads.
const channels = 3

// checkSize compares the size of the images with that which the net takes.
func (j *Job) checkSize() error {
	in := j.Net.Input
	h, w := j.Preprocess.Transform().OutSize(0, 0)
	if in.Height == 0 || h == 0 || in.Height == h && in.Width == w {
		return nil
	}
	return fmt.Errorf("%s takes images of %dx%d pixels and would get %dx%d; set the size to what it takes", j.Net, in.Height, in.Width, h, w)
}

// prepareInit makes the net that of Init, with the last layer that the data need.
func (j *Job) prepareInit(classes []string) error {
	if j.Init == nil && j.NewHead {
		return errors.New("a new last layer needs weights for the others; name a file to start from")
	}
	if j.Init == nil {
		return nil
	}
	j.Net = j.Init.Net
	j.NewHead = j.NewHead || len(j.Init.Classes) == 0 && j.Net.Classes() != len(classes)
	if j.NewHead {
		n, _, err := layers.ReplaceHead(len(classes), j.Config.Seed)(j.Net, nil)
		j.Net = n
		return err
	}
	if err := j.Init.CheckDataset(j.Data); err != nil {
		return fmt.Errorf("%w, or replace its last layer with --new-head", err)
	}
	return nil
}

// agree makes Preprocess and Config.Eval say the same.
func (j *Job) agree() error {
	eval := &j.Config.Eval
	gray := j.Net.Input.Channels == 1 // then the images are made gray, whoever has said so
	j.Preprocess.Gray, eval.Gray, j.Config.Train.Gray = gray, gray, gray
	derived := checkpoint.Preprocess{Size: eval.Size, Width: eval.Width, Gray: gray, Resize: eval.Resize, Mean: eval.Mean, Std: eval.Std}
	switch { // but for gray, either may be left out
	case reflect.DeepEqual(*eval, data.Transform{Gray: gray}):
		*eval = j.Preprocess.Transform()
	case reflect.DeepEqual(j.Preprocess, checkpoint.Preprocess{Gray: gray}):
		j.Preprocess = derived
	case !reflect.DeepEqual(j.Preprocess.Transform(), derived.Transform()):
		return fmt.Errorf("the preprocessing %+v differs from the evaluation transform %+v; leave one of them out", j.Preprocess, derived)
	}
	return nil
}

// history returns the model's history with this run added. It holds no time,
// so that equal runs make equal files.
func (j *Job) history() ([]checkpoint.Event, error) {
	c := j.Config
	kind := c.Optimizer.Kind
	if kind == "" {
		kind = train.AdamW
	}
	e := checkpoint.Event{Kind: "train", Data: j.Data.Fingerprint, Recipe: j.Recipe}
	e.Detail = fmt.Sprintf("%s, %d epochs in batches of %d, %s, learning rate %g, seed %d",
		j.Net, c.Epochs, c.Batch, kind, c.Optimizer.LR, c.Seed)
	if j.Teacher != nil {
		e.Kind = "distill"
		e.Detail += "; teacher " + j.Teacher.Net.String()
		for _, t := range j.Others {
			e.Detail += " and " + t.Net.String()
		}
		e.Detail += ", " + j.KD.String()
	}
	if len(j.Freeze) > 0 {
		e.Detail += "; frozen: " + strings.Join(j.Freeze, ", ")
	}
	for _, s := range j.LRScales {
		e.Detail += fmt.Sprintf("; learning rate of %s times %g", s.Pattern, s.Factor)
	}
	if j.NewHead {
		e.Detail += fmt.Sprintf("; a new last layer for %d classes in place of one for %d", j.Net.Classes(), j.Init.Net.Classes())
	}
	var err error
	if e.Parent, err = fingerprint(j.Init); err != nil {
		return nil, err
	}
	if e.Teacher, err = fingerprint(j.Teacher); err != nil {
		return nil, err
	}
	h := j.History
	if h == nil && j.Init != nil {
		h = j.Init.History
	}
	return append(append([]checkpoint.Event(nil), h...), e), nil
}

// fingerprint returns that of the model's file, or "" where there is none.
func fingerprint(c *checkpoint.Checkpoint) (string, error) {
	if c == nil || c.Path == "" {
		return "", nil
	}
	return checkpoint.Fingerprint(c.Path)
}
