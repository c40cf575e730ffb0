package report

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Results is everything a finished study has to tell.
type Results struct {
	Study   string    `json:"study"`   // short name of the recipe, e.g. "hw7"
	Title   string    `json:"title"`   // heading of the report; the study's name if empty
	Data    Data      `json:"data"`    // what was trained and validated on
	Device  string    `json:"device"`  // backend, e.g. "cpu/avx512"
	Threads int       `json:"threads"` // worker threads of a CPU backend
	Seed    uint64    `json:"seed"`    // key of every random choice
	Version string    `json:"version"` // version of the program
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // wall-clock time of the whole study
	Command string    `json:"command"` // command line that repeats the study
	Recipe  string    `json:"recipe"`  // text of the recipe (YAML)

	// PublishedData names the data set that the published figures were
	// measured on. Empty means Food-11.
	PublishedData string `json:"published_data"`

	Rows       []Row       `json:"rows"`
	Curves     []Curve     `json:"curves"`
	Training   []History   `json:"training"`
	Confusions []Confusion `json:"confusions"`
	Mistakes   []Mistake   `json:"mistakes"`
	Checks     []Check     `json:"checks"`
}

// Data describes the data set of a study.
type Data struct {
	Name        string   `json:"name"`
	Fingerprint string   `json:"fingerprint"` // hex digest of the content
	Classes     []string `json:"classes"`
	Train       int      `json:"train"` // pictures trained on
	Val         int      `json:"val"`   // pictures validated on
	Size        int      `json:"size"`  // height and width the network sees, in pixels
}

// Row is one model: one line of a table.
type Row struct {
	Table           string     `json:"table"`             // heading of the table it belongs to
	Step            string     `json:"step"`              // step of the recipe that made it
	Name            string     `json:"name"`              // what the table calls it
	Method          string     `json:"method"`            // how it was made, e.g. "distilled"
	Parent          string     `json:"parent"`            // step it was made from, if any
	Params          int64      `json:"params"`            // parameters; 0: not known
	Bytes           int64      `json:"bytes"`             // size of its file; 0: not written
	ValAccuracy     *float64   `json:"val_accuracy"`      // in [0, 1]; nil: not measured
	ValLoss         *float64   `json:"val_loss"`          // mean loss in nats; nil: not measured
	ImagesPerSecond float64    `json:"images_per_second"` // in evaluation; 0: not measured
	Published       *Published `json:"published"`         // nil: no published counterpart
	Notes           string     `json:"notes"`
}

// Published holds the published figures of a row's counterpart.
type Published struct {
	Bytes       int64    `json:"bytes"`        // 0: not published
	ValAccuracy *float64 `json:"val_accuracy"` // in [0, 1]; nil: not published
}

// Curve is a series of ever smaller models pruned at one rate.
type Curve struct {
	Rate      float64 `json:"rate"`      // share of the channels that a round keeps
	Published string  `json:"published"` // one line on what the published curve looks like
	Points    []Point `json:"points"`
}

// Point is one model of a [Curve].
type Point struct {
	Params      int64   `json:"params"`
	Bytes       int64   `json:"bytes"`
	ValAccuracy float64 `json:"val_accuracy"` // in [0, 1]
	Round       int     `json:"round"`        // rounds of pruning so far; 0: unpruned
	Widths      []int   `json:"widths"`       // output channels of every block
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
}

// Confusion counts the validation pictures of each class by predicted class.
type Confusion struct {
	Step   string  `json:"step"`
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
	fraction := strings.HasSuffix(path, "accuracy") || strings.HasSuffix(path, ".prob")
	if fraction && (x < 0 || x > 1) {
		return fmt.Errorf("%s is %v: it must be a fraction between 0 and 1", path, x)
	}
	return nil
}

// renderJSON returns results.json: indented, UTF-8, with a final newline.
func renderJSON(r *Results) ([]byte, error) {
	c := *r // lists are [] rather than null, without touching the caller's
	c.Data.Classes = listed(c.Data.Classes)
	c.Rows = listed(c.Rows)
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
	c.PublishedData = r.publishedData()
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
