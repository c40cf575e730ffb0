package shrink

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/engine/train"
)

// Options say what a search may spend, and how its nets are trained.
type Options struct {
	// Under are the limits.
	Under budget.Limits `json:"under"`
	// Bits are those that weights may have, the most first; none leave the net in
	// float32. Activations then have 8.
	Bits []int `json:"bits,omitempty"`
	// Rounds is the number of steps in which the limits are approached, each the same
	// factor below the one before; 0 means 3.
	Rounds int `json:"rounds"`
	// Images are the training images by which moves are compared, 0 meaning 256; Tune
	// those that a proposal is trained on for one epoch, 0 meaning 10,000.
	Images int `json:"images"`
	Tune   int `json:"tune"`
	// Nearest rounds weights to the nearest code where a net is judged, in place of
	// AdaRound, which is better and takes longer.
	Nearest bool `json:"nearest,omitempty"`
	// Least is the share of each group's units that stays in any case; 0 means an eighth.
	Least float64 `json:"least"`
	// Fall is the validation accuracy that a round may cost, in [0, 1], before it is
	// taken back and made in two smaller ones; 0 means 0.02.
	Fall float64 `json:"fall"`
	// Train is how the net is trained: the last training has its epochs, and those of
	// proposals its batch, images and optimizer with a tenth of its learning rate.
	Train train.Config `json:"train"`
	// KD is the loss under the teachers.
	KD distill.Settings `json:"kd"`
	// QAT are the epochs of quantization-aware training, 0 for none, and QATRate its
	// learning rate, with AdamW; 0 means 3e-4.
	QAT     int     `json:"qat_epochs"`
	QATRate float64 `json:"qat_lr"`
	// Origin goes into the history of the net: a study's recipe and step, where there is
	// one.
	Origin string `json:"origin,omitempty"`

	// Time bounds the rounds, 0 for no bound: when another round like the last would
	// take longer, the budget is met in one, and of that at least one proposal is made.
	// The last training is not counted.
	Time time.Duration `json:"-"`
	// Progress is told how far a training is: its name, steps done and in all, and a
	// few words. It may be nil.
	Progress func(stage string, done, of int, text string) `json:"-"`
}

// steps returns what tells Progress of a training's steps; nil if nobody is told.
func (o *Options) steps(stage string, images int, c train.Config) func(train.StepInfo) {
	if o.Progress == nil {
		return nil
	}
	all := (images + c.Batch - 1) / c.Batch * c.Epochs
	return func(i train.StepInfo) {
		o.Progress(stage, i.Update, all, fmt.Sprintf("epoch %d of %d, loss %.3f, %.0f images/s", i.Epoch, c.Epochs, i.Loss, i.ImagesPerSecond))
	}
}

// Validate reports settings that make no sense.
func (o *Options) Validate() error {
	switch {
	case !o.Under.Any():
		return fmt.Errorf("shrink: %w", errNoBudget)
	case o.Rounds < 0 || o.Images < 0 || o.Tune < 0 || o.QAT < 0 || o.Time < 0:
		return fmt.Errorf("shrink: %d rounds, %d and %d images, %d epochs; give no negative numbers", o.Rounds, o.Images, o.Tune, o.QAT)
	case !(o.Least >= 0 && o.Least < 1) || !(o.Fall >= 0 && o.Fall < 1) || !(o.QATRate >= 0):
		return fmt.Errorf("shrink: shares lie from 0 up to but without 1, not %v and %v; the learning rate %v must not be negative", o.Least, o.Fall, o.QATRate)
	case !slices.IsSortedFunc(o.Bits, func(a, b int) int { return b - a }):
		return fmt.Errorf("shrink: bits %d; name the most first", o.Bits)
	case len(o.Bits) == 0 && o.QAT > 0:
		return errors.New("shrink: there are no bits to train for; leave out the epochs of quantization-aware training")
	}
	for _, b := range o.Bits {
		if b < 2 || b > 8 {
			return fmt.Errorf("shrink: weights of %d bits; give numbers from 8 to 2", b)
		}
	}
	if err := o.KD.Validate(); err != nil {
		return err
	}
	return o.Train.Validate()
}

func (o Options) withDefaults() Options {
	or := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	or(&o.Rounds, 3)
	or(&o.Images, 256)
	or(&o.Tune, 10000)
	if o.Least == 0 {
		o.Least = 0.125
	}
	if o.Fall == 0 {
		o.Fall = 0.02
	}
	if o.QATRate == 0 {
		o.QATRate = 3e-4
	}
	return o
}
