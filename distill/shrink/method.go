package shrink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func init() {
	compress.Register(compress.Kind{Name: "shrink", New: func() compress.Method { return new(Method) }, Tuned: true})
}

// A Method is a search as a compression method, "shrink", with the settings that a step
// of a recipe has. It trains by itself: Train, KD and Teachers come from whoever runs it.
type Method struct {
	Under []string `yaml:"under"` // the budget, as budget.Parse takes it
	// The others are those of Options.
	Bits    []int   `yaml:"bits"` // as DefaultBits has them if left out
	Rounds  int     `yaml:"rounds"`
	Images  int     `yaml:"images"`
	Tune    int     `yaml:"tune"`
	Nearest bool    `yaml:"nearest"`
	Time    string  `yaml:"time"` // as 90m or 2h
	Least   float64 `yaml:"least"`
	Fall    float64 `yaml:"fall"`
	QAT     *int    `yaml:"qat_epochs"` // a third of the epochs if left out
	QATRate float64 `yaml:"qat_lr"`
	// Start is a family, in place of the model that the method is given: its net is grown
	// first, see Grow, and trained for so many epochs, twice those of Train if left out.
	Start       string `yaml:"start"`
	StartEpochs *int   `yaml:"start_epochs"`
	// Plain makes the plain recipe at the same budget beside it: see the function.
	Plain bool `yaml:"plain"`

	Train    train.Config             `json:"-"`
	KD       distill.Settings         `json:"-"`
	Teachers []*checkpoint.Checkpoint `json:"-"`
	// Beside are nets that the report has beside what is found, under their Names.
	Beside []*checkpoint.Checkpoint `json:"-"`
	Names  []string                 `json:"-"`
	// The next two are those of Options.
	Origin   string                                        `json:"-"`
	Progress func(stage string, done, of int, text string) `json:"-"`
}

// DefaultBits are those of weights where none are given: 8 and 4 under a limit of bytes
// or of memory, else none, and the net stays in float32.
func DefaultBits(l budget.Limits) []int {
	if l.Bytes > 0 || l.RAM > 0 {
		return []int{8, 4}
	}
	return nil
}

// DefaultQAT returns the epochs of training with bits where none are given.
func DefaultQAT(epochs int, bits []int) int {
	if len(bits) == 0 {
		return 0
	}
	return max(epochs/3, 1)
}

// options returns those of the search.
func (m *Method) options() (Options, error) {
	o := Options{
		Bits: m.Bits, Rounds: m.Rounds, Images: m.Images, Tune: m.Tune, Least: m.Least, Fall: m.Fall, QATRate: m.QATRate,
		Nearest: m.Nearest, Train: m.Train, KD: m.KD, Origin: m.Origin, Progress: m.Progress,
	}
	var err error
	if m.Time != "" {
		if o.Time, err = time.ParseDuration(m.Time); err != nil || o.Time <= 0 {
			return o, fmt.Errorf("%q is no time; give one as 90m or 2h", m.Time)
		}
	}
	if o.Under, err = budget.Parse(m.Under...); err != nil {
		return o, err
	}
	if o.Bits == nil {
		o.Bits = DefaultBits(o.Under)
	}
	if o.QAT = DefaultQAT(m.Train.Epochs, o.Bits); m.QAT != nil {
		o.QAT = *m.QAT
	}
	return o, nil
}

// Validate implements compress.Method.
func (m *Method) Validate() error {
	switch {
	case len(m.Under) == 0:
		return errNoBudget
	case m.Start == "" && m.StartEpochs != nil:
		return errors.New("there is no start net to train; leave out start_epochs, or give start and a family")
	case m.StartEpochs != nil && *m.StartEpochs < 1:
		return errors.New("the start net is trained for at least one epoch")
	case layers.IsYAML(m.Start):
		return fmt.Errorf("%s is a net, not a family that can be grown; train it in a step of its own, and shrink from: that", m.Start)
	case m.Start != "":
		if _, err := layers.Open(layers.Arch{Family: m.Start, Classes: 2}); err != nil {
			return err
		}
	}
	x := *m
	x.Train, x.KD = train.Config{Epochs: 1, Batch: 1, Optimizer: train.OptimizerConfig{Kind: train.AdamW, LR: 1}}, distill.DefaultSettings()
	o, err := x.options()
	if err != nil {
		return err
	}
	return o.Validate()
}

// Timed reports whether the search has a limit of time: its result then depends on the
// machine.
func (m *Method) Timed() bool {
	l, err := budget.Parse(m.Under...)
	return err == nil && l.MS > 0
}

// Apply implements compress.Method. It needs a backend, training and validation images,
// and a folder, where an earlier search is resumed; it writes the report there. With
// Start, of the model that it is given only the preprocessing counts.
func (m *Method) Apply(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, compress.Report, error) {
	o, err := m.options()
	if err != nil {
		return nil, nil, err
	}
	if m.Start != "" {
		epochs := 2 * o.Train.Epochs
		if m.StartEpochs != nil {
			epochs = *m.StartEpochs
		}
		if c, err = Grow(ctx, env, m.Start, c.Preprocess, m.Teachers, epochs, o); err != nil {
			return nil, nil, err
		}
	}
	out, err := Run(ctx, env, c, m.Teachers, o)
	over := err
	if err != nil && !errors.Is(err, ErrOver) { // the report tells of a net over its budget, too
		return nil, nil, err
	}
	a, err := NewAccount(ctx, env, c, m.Teachers, o, out)
	if err != nil {
		return nil, nil, err
	}
	if m.Plain {
		if err := a.BesidePlain(ctx, c, m.Teachers); err != nil {
			return nil, nil, err
		}
	}
	for i, b := range m.Beside {
		if err := a.Beside(ctx, m.Names[i], b); err != nil {
			return nil, nil, err
		}
	}
	page, err := a.Report("")
	if err != nil {
		return nil, nil, err
	}
	if _, err = report.WriteShrink(env.Dir, page); err != nil || over != nil {
		return nil, nil, errors.Join(err, over)
	}
	return out.Best, (*Found)(page), nil
}

// Found is what a search has come to, as the report of a method.
type Found report.Shrink

// Lines implements compress.Report.
func (f *Found) Lines() [][]string {
	page := (*report.Shrink)(f)
	var rows [][]string
	for _, c := range page.Checks() {
		rows = append(rows, []string{c.Name, c.Got + ", " + c.Want})
	}
	return rows
}

var errNoBudget = errors.New("what may the net cost? Give a budget, as 98496B, 0.5ms@1, 2M params, 20M macs or 96KB ram")
