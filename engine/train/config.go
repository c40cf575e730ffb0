package train

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A Net is what can be trained: something that writes its forward pass into a
// graph and names its variables. Their names must be distinct, for snapshots
// tell them apart by name.
type Net interface {
	// Build writes the forward pass of the images x [N,H,W,C]: logits
	// [N, classes], and the outputs of modules that an objective may tap. Train
	// selects BatchNorm's mode and dropout.
	Build(b *engine.Builder, x *engine.Value, train bool) *engine.Outputs
	// Variables returns parameters (Trainable) and buffers.
	Variables() []*engine.Variable
}

// A Tracker is a Net that knows more of its variables than whether they are
// Trainable.
type Tracker interface {
	Net
	// Counters returns the variables, scalars of int64, that the trainer is to
	// advance by one a batch: those of batch norms in training.
	Counters() []*engine.Variable
	// Moves reports whether a step of training changes the variable. What it
	// does not change, frozen weights and statistics, is not averaged.
	Moves(v *engine.Variable) bool
}

// Config says how to train.
type Config struct {
	// Epochs is the number of passes over the training images.
	Epochs int
	// Batch is the number of images that go through the net at a time; all, if
	// there are fewer.
	Batch int
	// Seed decides the order of the images and every random choice.
	Seed uint64

	// Objective is what is minimized; nil means CrossEntropy with LabelSmoothing.
	Objective Objective `json:"-"`
	Optimizer OptimizerConfig
	Schedule  ScheduleConfig

	// ClipNorm bounds the Euclidean norm of the whole gradient, as
	// torch.nn.utils.clip_grad_norm_ does; 0 leaves it alone.
	ClipNorm float32
	// Accumulate is the number of batches whose gradients make one step; 0 means 1.
	// The "stale" optimizer, which has no gradients, always takes 1.
	Accumulate int
	// EMA is the decay of the average of the weights, as in 0.999; 0 keeps none.
	EMA float32
	// LabelSmoothing is the ε of [engine.CrossEntropy]. It has no effect on an
	// Objective of the caller's own or on evaluation.
	LabelSmoothing float32
	// Precision is how activations and their gradients are stored in training
	// steps: Float32 (or ""), or BFloat16, which the backend must have
	// (engine.MixedPrecision). Weights, statistics, losses and evaluation are
	// float32 always.
	Precision string
	// Patience stops the run after so many epochs without a better validation
	// accuracy; 0 never stops early.
	Patience int

	// Train and Eval are what the images go through.
	Train, Eval data.Transform
	// MixupAlpha is the α of mixup's Beta(α, α) distribution; 0 mixes nothing.
	MixupAlpha float64
	// CutMixAlpha is that of CutMix; where both are given, each batch gets one of
	// the two.
	CutMixAlpha float64 `json:",omitempty"`
	// ClassWeights multiply the classes' parts of the cross-entropy, one each:
	//
	//	-1/N · Σ_n Σ_k w_k·target[n,k]·log softmax(x[n])[k]
	//
	// the mean over the images, as PyTorch has it for targets that are
	// probabilities. BalancedWeights computes them from the training images, see
	// data.Split.BalancedWeights. Evaluation and the teacher's part of a
	// distillation loss have no weights.
	ClassWeights    []float32 `json:",omitempty"`
	BalancedWeights bool      `json:",omitempty"`
	// BalancedSampling draws every class as often in an epoch, with replacement,
	// instead of each image once. It takes the place of Shuffle.
	BalancedSampling bool `json:",omitempty"`
	// Shuffle draws a new order for every epoch.
	Shuffle bool
	// DropLast leaves out an epoch's last batch if it is smaller.
	DropLast bool
	// Workers is the number of goroutines that prepare images; 0 leaves it to
	// the data package.
	Workers int
	// HostAugment has the training images made on the host even where the device
	// could: where it has engine.Augment, all images have one size, Train is
	// OnDevice, nothing is mixed, and they take no more than a quarter of its free
	// memory. It changes no result.
	HostAugment bool

	// SyncBatchNorm has batch norms in training take their statistics from the batches of all
	// Peers together (see [engine.SyncBatchNorm]), where each rank would take them from its own.
	SyncBatchNorm bool `json:",omitempty"`

	// Peers, if not nil, are the processes that train together, each with a trainer
	// of the same settings and of the same data: see "Several ranks" in the package's
	// documentation. Batch and Accumulate are those of each rank.
	Peers engine.Peers `json:"-"`
	// Facts are settings by name that the trainer cannot know and that must be the same
	// at every rank.
	Facts map[string]string `json:"-"`

	// SaveEvery takes a "last" snapshot every so many steps, besides those
	// after each epoch; 0 takes only these.
	SaveEvery int
}

// The values of Config.Precision.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
)

// Hooks are the trainer's ways to its surroundings. All may be left zero.
type Hooks struct {
	// Logger gets a line where the trainer has something to say.
	Logger *slog.Logger
	// Step is called after every step. It must be quick.
	Step func(StepInfo)
	// Epoch is called after every epoch, once it has been saved.
	Epoch func(EpochInfo)
	// Save keeps a snapshot of kind "last" (all that Resume needs) or "best"
	// (the net alone, as it was evaluated). The snapshot is the callee's to
	// keep. "best" comes before the "last" of the same epoch, so that a run
	// killed between them makes the same "best" again. Of several ranks, those above 0 are
	// given the "best" alone.
	Save func(kind string, s *Snapshot) error
}

// The kinds of snapshot that Hooks.Save is called with.
const (
	KindLast = "last"
	KindBest = "best"
)

// StepInfo tells of one step.
type StepInfo struct {
	Epoch           int        // from 1
	Step, Steps     int        // within the epoch, from 1; steps an epoch
	Update          int        // steps since the beginning of the run, from 1
	Loss            float64    // the training loss, averaged over the step's images
	Terms           []TermLoss // its terms before they are weighted, likewise; nil if it has one. Valid during the call.
	LR              float64    // the learning rate that the step used
	GradNorm        float64    // the gradient's norm before clipping; 0 without
	ImagesPerSecond float64    // since the beginning of the epoch
}

// A TermLoss is the value of a term of the loss.
type TermLoss struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
}

// EpochInfo holds the figures of one epoch. Its JSON form is a line of the
// metrics file, see [MetricsWriter].
type EpochInfo struct {
	Epoch     int     `json:"epoch"`      // from 1
	Step      int     `json:"step"`       // steps since the beginning of the run
	TrainLoss float64 `json:"train_loss"` // mean of the training loss over the epoch's images, as they were met
	// Terms are those of the training loss by name, before they are weighted,
	// where it has several.
	Terms           map[string]float64 `json:"terms,omitempty"`
	TrainAccuracy   float64            `json:"train_accuracy"`      // share of these images classified right, in [0, 1]
	ValLoss         float64            `json:"val_loss"`            // mean cross-entropy over the validation images
	ValAccuracy     float64            `json:"val_accuracy"`        // share of the validation images classified right, in [0, 1]
	LR              float64            `json:"lr"`                  // learning rate of the epoch's last step
	ImagesPerSecond float64            `json:"images_per_second"`   // training images a second, evaluation not counted
	Seconds         float64            `json:"seconds"`             // of training in this epoch, evaluation not counted
	GradNorm        float64            `json:"grad_norm,omitempty"` // mean norm of the gradient before clipping; only with clipping
	Best            bool               `json:"best"`                // the best validation accuracy so far

	// Confusion is that of the validation images. It is nil in the history.
	Confusion Confusion `json:"-"`
}

// A Result sums up a run.
type Result struct {
	History []EpochInfo // one entry an epoch
	Best    EpochInfo   // the one with the best validation accuracy
	Last    EpochInfo
	Stopped bool // by Patience, before the last epoch
}

// normalized fills in the defaults.
func (c Config) normalized() Config {
	if c.Objective == nil {
		c.Objective = CrossEntropy{LabelSmoothing: c.LabelSmoothing}
	}
	c.Accumulate = max(c.Accumulate, 1)
	if c.Precision == Float32 {
		c.Precision = ""
	}
	if c.Optimizer.Kind == "" {
		c.Optimizer.Kind = AdamW
	}
	if c.Optimizer.Kind == Stale {
		c.Accumulate = 1
	}
	c.Optimizer = c.Optimizer.normalized()
	c.Schedule = c.Schedule.normalized()
	if c.Peers != nil && c.Peers.Size() == 1 {
		c.Peers = nil
	}
	c.SyncBatchNorm = c.SyncBatchNorm && c.Peers != nil // one rank's batch is all there is
	return c
}

// ranks returns how many processes train together.
func (c Config) ranks() int {
	if c.Peers == nil {
		return 1
	}
	return c.Peers.Size()
}

// rank returns the number of this one.
func (c Config) rank() int {
	if c.Peers == nil {
		return 0
	}
	return c.Peers.Rank()
}

// perStep returns the batches of all ranks that make a step.
func (c Config) perStep() int { return c.Accumulate * c.ranks() }

// Validate reports the first setting that makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Epochs < 1:
		return fmt.Errorf("epochs must be at least 1, not %d", c.Epochs)
	case c.Batch < 1:
		return fmt.Errorf("batch must be at least 1, not %d", c.Batch)
	case c.Accumulate < 0:
		return fmt.Errorf("accumulate must not be negative: %d", c.Accumulate)
	case !(c.ClipNorm >= 0) || math.IsInf(float64(c.ClipNorm), 0):
		return fmt.Errorf("clip norm must be a number from 0 (no clipping) up, not %v", c.ClipNorm)
	case !(c.EMA >= 0 && c.EMA < 1):
		return fmt.Errorf("ema decay must be in [0, 1), not %v", c.EMA)
	case !(c.LabelSmoothing >= 0 && c.LabelSmoothing <= 1):
		return fmt.Errorf("label smoothing must be in [0, 1], not %v", c.LabelSmoothing)
	case c.Precision != "" && c.Precision != Float32 && c.Precision != BFloat16:
		return fmt.Errorf("precision is %s or %s, not %q", Float32, BFloat16, c.Precision)
	case (len(c.ClassWeights) > 0 || c.BalancedWeights) && c.LabelSmoothing > 0:
		return errors.New("class weights and label smoothing cannot be combined; leave out one of the two")
	case len(c.ClassWeights) > 0 && c.BalancedWeights:
		return errors.New("class weights are given, or computed from the training images, not both")
	case c.Optimizer.DOT != nil && (c.ClipNorm > 0 || c.Accumulate > 1):
		return errors.New("optimizer: dot's two gradients are neither clipped nor accumulated; leave out dot, clip norm and accumulate")
	case c.Optimizer.DOT != nil && c.ranks() > 1:
		return errors.New("optimizer: dot's two gradients are not added up over several ranks; leave out dot, or train in one process")
	case c.Patience < 0 || c.SaveEvery < 0:
		return fmt.Errorf("patience and save-every must not be negative: %d, %d", c.Patience, c.SaveEvery)
	}
	if err := c.Optimizer.Validate(); err != nil {
		return err
	}
	if err := c.Schedule.Validate(); err != nil {
		return err
	}
	if c.Schedule.Kind == Cosine && c.Schedule.MinLR > c.Optimizer.LR {
		return fmt.Errorf("schedule: cosine falls from the learning rate to min lr, which is above it: %v, %v", c.Optimizer.LR, c.Schedule.MinLR)
	}
	if err := c.Train.Validate(); err != nil {
		return fmt.Errorf("training transform: %w", err)
	}
	if err := c.Eval.Validate(); err != nil {
		return fmt.Errorf("evaluation transform: %w", err)
	}
	return nil
}
