package report

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/potstill/potstill/engine/metrics"
)

// Results is everything a finished study has to tell.
type Results struct {
	Study   string    `json:"study"`   // short name of the recipe, e.g. "hw7"
	Title   string    `json:"title"`   // heading of the report; the study's name if empty
	Data    Data      `json:"data"`    // what was trained and validated on
	Device  string    `json:"device"`  // backend, e.g. "cpu/avx512"
	Threads int       `json:"threads"` // worker threads of a CPU backend
	Seed    uint64    `json:"seed"`    // key of every random choice; of several, the first
	Seeds   []uint64  `json:"seeds"`   // those that were run; empty means Seed alone
	Version string    `json:"version"` // version of the program
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // wall-clock time of the whole study
	Command string    `json:"command"` // command line that repeats the study
	Recipe  string    `json:"recipe"`  // text of the recipe (YAML)

	// PublishedData names the data set that the published figures were
	// measured on; empty: it is not said.
	PublishedData string `json:"published_data"`

	Rows        []Row        `json:"rows"`
	Differences []Difference `json:"differences"` // of rows, where several seeds pair them
	Curves      []Curve      `json:"curves"`
	Training    []History    `json:"training"`   // of the first seed
	Confusions  []Confusion  `json:"confusions"` // of the first seed
	Mistakes    []Mistake    `json:"mistakes"`   // of the first seed
	Checks      []Check      `json:"checks"`
}

// Data describes the data set of a study.
type Data struct {
	Name        string   `json:"name"`
	Fingerprint string   `json:"fingerprint"` // hex digest of the content
	Classes     []string `json:"classes"`
	Train       int      `json:"train"`           // pictures trained on
	Val         int      `json:"val"`             // pictures validated on: by them the best epoch is chosen
	Test        int      `json:"test"`            // pictures tested on; 0: none
	Size        int      `json:"size"`            // height and width the network sees, in pixels
	Width       int      `json:"width,omitempty"` // width, where it is not Size
}

// Row is one model, one line of a table; under several seeds, what they have
// made of it, where each figure is their mean.
type Row struct {
	Table        string   `json:"table"`         // heading of the table it belongs to
	Step         string   `json:"step"`          // step of the recipe that made it
	Name         string   `json:"name"`          // what the table calls it
	Method       string   `json:"method"`        // how it was made, e.g. "distilled"
	Parent       string   `json:"parent"`        // step it was made from, or its teachers, if any
	Params       int64    `json:"params"`        // parameters; 0: not known
	MACs         int64    `json:"macs"`          // multiply-adds for one picture, as torchinfo counts them; 0: not known
	Bytes        int64    `json:"bytes"`         // size of its file; 0: not written
	ValAccuracy  *float64 `json:"val_accuracy"`  // in [0, 1]; nil: not measured
	ValLoss      *float64 `json:"val_loss"`      // mean loss in nats; nil: not measured
	TestAccuracy *float64 `json:"test_accuracy"` // in [0, 1]; nil: not measured
	TestLoss     *float64 `json:"test_loss"`     // mean loss in nats; nil: not measured

	// All figures of the validation and of the test pictures; nil: not measured.
	Validation *metrics.Figures `json:"validation"`
	Test       *metrics.Figures `json:"test"`
	// How the accuracies are spread over the seeds; nil for one.
	ValSpread  *metrics.Summary `json:"val_spread"`
	TestSpread *metrics.Summary `json:"test_spread"`
	Runs       []Run            `json:"runs"` // one for each seed, or one in all where the step names its own

	ImagesPerSecond float64  `json:"images_per_second"` // in evaluation; 0: not measured
	Latency         *Latency `json:"latency"`           // nil: not measured
	MemoryBytes     int64    `json:"memory_bytes"`      // that the planner gives inference on one picture; 0: not known

	Published *Published `json:"published"` // nil: no published counterpart
	Notes     string     `json:"notes"`
}

// A Run is what one seed has made of a row.
type Run struct {
	Seed         uint64   `json:"seed"`
	ValAccuracy  *float64 `json:"val_accuracy"`
	TestAccuracy *float64 `json:"test_accuracy"`
	Params       int64    `json:"params"`
	Bytes        int64    `json:"bytes"`
	File         string   `json:"file"`    // the model's, relative to the report; "" if there is none
	Metrics      string   `json:"metrics"` // the figures of its epochs, relative to the report; "" if there are none
}

// Latency is the time that a net takes for one batch, from prepared pictures in
// memory to logits, in seconds.
type Latency struct {
	Batch  int     `json:"batch"`
	Warm   int     `json:"warm_up"` // runs before those that count
	Runs   int     `json:"runs"`
	Median float64 `json:"median"`
	P10    float64 `json:"p10"` // a tenth of the runs took less
	P90    float64 `json:"p90"`
}

// A Difference is that of a row's accuracy and another's of the same table, seed
// by seed. Both runs of a seed meet the same pictures in the same order.
type Difference struct {
	Table  string    `json:"table"`
	Step   string    `json:"step"`
	Name   string    `json:"name"`
	Less   string    `json:"less"`      // the step whose accuracy is subtracted
	LessOf string    `json:"less_name"` // what the table calls it
	Part   string    `json:"part"`      // "test" or "validation"
	Values []float64 `json:"values"`    // in the order of the seeds
	metrics.Summary
	// Interval is that of the mean, 95 %, by Student's t.
	Interval metrics.Interval `json:"interval"`
}

// Published holds the published figures of a row's counterpart.
type Published struct {
	Bytes       int64    `json:"bytes"`        // 0: not published
	ValAccuracy *float64 `json:"val_accuracy"` // in [0, 1]; nil: not published
	Notes       string   `json:"notes"`
}

// Curve is a series of ever smaller models pruned at one rate.
type Curve struct {
	Rate      float64 `json:"rate"`      // share of the channels that a round keeps
	Published string  `json:"published"` // one line on what the published curve looks like
	Points    []Point `json:"points"`
}

// Point is one model of a [Curve].
type Point struct {
	Params       int64            `json:"params"`
	Bytes        int64            `json:"bytes"`
	ValAccuracy  float64          `json:"val_accuracy"`  // in [0, 1]
	TestAccuracy *float64         `json:"test_accuracy"` // in [0, 1]; nil: not measured
	ValSpread    *metrics.Summary `json:"val_spread"`    // over the seeds; nil for one
	TestSpread   *metrics.Summary `json:"test_spread"`
	Round        int              `json:"round"`  // rounds of pruning so far; 0: unpruned
	Widths       []int            `json:"widths"` // output channels of every block
}

// History is what one step of training measured, epoch by epoch.
type History struct {
	Step   string  `json:"step"`
	Epochs []Epoch `json:"epochs"`
}

// Epoch holds the measurements of one pass over the training data. A nil field
// was not measured in that epoch.
type Epoch struct {
	Epoch           int      `json:"epoch"` // counted from 1
	TrainLoss       float64  `json:"train_loss"`
	TrainAccuracy   *float64 `json:"train_accuracy"`
	ValLoss         *float64 `json:"val_loss"`
	ValAccuracy     *float64 `json:"val_accuracy"`
	LR              float64  `json:"lr"` // learning rate at the end of the epoch
	ImagesPerSecond float64  `json:"images_per_second"`
	// Terms are those of the training loss by name, before they are weighted, where it
	// has several.
	Terms map[string]float64 `json:"terms,omitempty"`
}

// Confusion counts the pictures of each class by predicted class.
type Confusion struct {
	Step   string  `json:"step"`
	Part   string  `json:"part"`   // "test" or "validation", which "" means too
	Matrix [][]int `json:"matrix"` // [true][predicted]
}

// Mistake is a validation picture that a model got wrong. Its pixels appear in
// the HTML report only.
type Mistake struct {
	Step      string  `json:"step"` // the model that was wrong
	File      string  `json:"file"`
	True      string  `json:"true"`      // name of the class it belongs to
	Predicted string  `json:"predicted"` // name of the class it was taken for
	Prob      float64 `json:"prob"`      // probability given to Predicted, in [0, 1]
	H         int     `json:"-"`
	W         int     `json:"-"`
	Pix       []uint8 `json:"-"` // RGB, layout [H][W][3]; may be nil
}

// Check is one statement that the study was to bear out.
type Check struct {
	Name string `json:"name"` // e.g. "8-bit within 0.5 points of fp32"
	Want string `json:"want"`
	Got  string `json:"got"`
	Pass bool   `json:"pass"`
}

// Validate reports the first value that cannot be rendered truthfully: a NaN or
// an infinity anywhere, an accuracy outside [0, 1], a negative count, a
// confusion matrix that does not fit the classes, or a picture whose pixels do
// not fit its size. The error names the field as it is called in results.json.
func (r *Results) Validate() error {
	if r == nil {
		return fmt.Errorf("report: no results to render")
	}
	if err := finite(reflect.ValueOf(r).Elem(), ""); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for i, m := range r.Confusions {
		if err := m.validate(len(r.Data.Classes)); err != nil {
			return fmt.Errorf("report: confusions[%d] (%s): %w", i, m.Step, err)
		}
	}
	for i, m := range r.Mistakes {
		if m.Pix == nil {
			continue
		}
		if m.H <= 0 || m.W <= 0 || len(m.Pix) != m.H*m.W*3 {
			return fmt.Errorf("report: mistakes[%d] (%s): %d bytes of pixels for a %d×%d RGB picture",
				i, m.File, len(m.Pix), m.H, m.W)
		}
	}
	return nil
}

func (c Confusion) validate(classes int) error {
	n := len(c.Matrix)
	if classes > 0 && n != classes {
		return fmt.Errorf("%d rows for %d classes", n, classes)
	}
	for i, row := range c.Matrix {
		if len(row) != n {
			return fmt.Errorf("row %d has %d columns, not %d", i, len(row), n)
		}
	}
	return nil
}

// finite walks v, which is called path in JSON, and reports the first number
// that is not finite, is a negative count, or is a fraction outside [0, 1].
func finite(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Float64:
		return checkFloat(v.Float(), path)
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return fmt.Errorf("%s is negative (%d)", path, v.Int())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return finite(v.Elem(), path)
		}
	case reflect.Slice:
		if k := v.Type().Elem().Kind(); k == reflect.Uint8 || k == reflect.String {
			return nil
		}
		for i := range v.Len() {
			if err := finite(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("json")
			if err := finite(v.Field(i), strings.TrimPrefix(path+"."+name, ".")); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkFloat(x float64, path string) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%s is %v: leave it out where there is no figure", path, x)
	}
	fraction := strings.HasSuffix(path, "accuracy") || strings.HasSuffix(path, ".top1") || strings.HasSuffix(path, ".top5") || strings.HasSuffix(path, ".prob")
	if fraction && (x < 0 || x > 1) {
		return fmt.Errorf("%s is %v: it must be a fraction between 0 and 1", path, x)
	}
	return nil
}

// renderJSON returns results.json: indented, UTF-8, with a final newline.
func renderJSON(r *Results) ([]byte, error) {
	c := *r // lists are [] rather than null, without touching the caller's
	c.Data.Classes = listed(c.Data.Classes)
	c.Seeds = listed(c.Seeds)
	c.Rows = append([]Row{}, c.Rows...)
	for i := range c.Rows {
		c.Rows[i].Runs = listed(c.Rows[i].Runs)
	}
	c.Differences = listed(c.Differences)
	c.Curves = append([]Curve{}, c.Curves...)
	for i := range c.Curves {
		c.Curves[i].Points = append([]Point{}, c.Curves[i].Points...)
		for j := range c.Curves[i].Points {
			c.Curves[i].Points[j].Widths = listed(c.Curves[i].Points[j].Widths)
		}
	}
	c.Training = append([]History{}, c.Training...)
	for i := range c.Training {
		c.Training[i].Epochs = listed(c.Training[i].Epochs)
	}
	c.Confusions = append([]Confusion{}, c.Confusions...)
	for i := range c.Confusions {
		c.Confusions[i].Matrix = listed(c.Confusions[i].Matrix)
	}
	c.Mistakes = listed(c.Mistakes)
	c.Checks = listed(c.Checks)
	b, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

func listed[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
