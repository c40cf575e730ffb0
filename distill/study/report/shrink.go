package report

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"

	"github.com/potstill/potstill/engine/metrics"
)

// Shrink is the result of a search for the most accurate net under a budget.
type Shrink struct {
	Model   string `json:"model"` // the start net's file or family
	Teacher string `json:"teacher,omitempty"`
	Data    string `json:"data"`
	Budget  string `json:"budget"` // as it was given
	Device  string `json:"device,omitempty"`
	Seed    uint64 `json:"seed"`
	Command string `json:"command,omitempty"`
	File    string `json:"file,omitempty"` // the final net's
	// Recipe is what repeats the result without the search.
	Recipe  string  `json:"recipe,omitempty"`
	Seconds float64 `json:"seconds"` // that the search and the last training took
	// Limits are the budget's parts, each with what the written file comes to.
	Limits []ShrinkLimit `json:"limits"`
	// Candidates are all nets that were trained and measured on the validation
	// images, in the order of the search.
	Candidates []ShrinkCandidate `json:"candidates"`
	// Layers are those of the final net.
	Layers []ShrinkLayer `json:"layers"`
	// Nets are the final net, first, and what it is compared with: the start net, the
	// plain recipe at equal bytes.
	Nets []ShrinkNet `json:"nets"`
	// TestImages is the number of test images, 0 where there are none.
	TestImages int      `json:"test_images,omitempty"`
	ValImages  int      `json:"val_images"`
	Notes      []string `json:"notes,omitempty"`
}

// A ShrinkLimit is a part of the budget.
type ShrinkLimit struct {
	Name  string  `json:"name"` // "bytes", "ms of a batch of 1", …
	Limit float64 `json:"limit"`
	Got   float64 `json:"got"` // of the file as written, of the program as timed
}

// A ShrinkCost is what a net costs; a zero was not measured.
type ShrinkCost struct {
	Bytes  int64   `json:"bytes,omitempty"`
	Params int64   `json:"params,omitempty"`
	MACs   int64   `json:"macs,omitempty"`
	RAM    int64   `json:"ram,omitempty"`
	MS     float64 `json:"ms,omitempty"`
}

// A ShrinkCandidate is a net that the search has tried.
type ShrinkCandidate struct {
	Round int    `json:"round"`
	Move  string `json:"move"` // what was done to the net before it
	ShrinkCost
	Accuracy float64 `json:"val_accuracy"`
	Accepted bool    `json:"accepted"` // the search went on from it
	Fits     bool    `json:"fits"`     // it is within the budget
}

// A ShrinkLayer is a layer of the final net.
type ShrinkLayer struct {
	Name   string  `json:"name"`
	Kind   string  `json:"kind"`
	Before int     `json:"before,omitempty"` // output channels of the start net; 0: it had none of that name
	After  int     `json:"after,omitempty"`  // output channels; 0: the layer is gone
	Bits   int     `json:"bits,omitempty"`   // of the weight
	Bytes  int64   `json:"bytes,omitempty"`  // of its tensors in the file
	MACs   int64   `json:"macs,omitempty"`
	MS     float64 `json:"ms,omitempty"` // of the step that begins with it; what that takes in has none
}

// A ShrinkNet is a trained net with its figures.
type ShrinkNet struct {
	Name string `json:"name"`
	ShrinkCost
	ValAccuracy  *float64 `json:"val_accuracy,omitempty"`
	TestAccuracy *float64 `json:"test_accuracy,omitempty"`
	// Beside compares the final net with this one, image by image, on the test images
	// or else on the validation images; nil for the final net.
	Beside *metrics.Paired `json:"final_beside_it,omitempty"`
}

// WriteShrink renders a search into results.json and report.html in dir, as WriteAll
// does for a study.
func WriteShrink(dir string, s *Shrink) (Paths, error) {
	if err := finite(reflect.ValueOf(s).Elem(), ""); err != nil {
		return Paths{}, fmt.Errorf("report: %w", err)
	}
	p := Paths{JSON: filepath.Join(dir, "results.json"), HTML: filepath.Join(dir, "report.html")}
	c := *s
	c.Limits, c.Candidates, c.Layers, c.Nets = listed(c.Limits), listed(c.Candidates), listed(c.Layers), listed(c.Nets)
	text, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return Paths{}, fmt.Errorf("report: rendering %s: %w", p.JSON, err)
	}
	page, err := renderShrink(s)
	if err != nil {
		return Paths{}, fmt.Errorf("report: rendering %s: %w", p.HTML, err)
	}
	return p, writeFiles(dir, []*output{{path: p.HTML, content: page}, {path: p.JSON, content: append(text, '\n')}})
}

// Tables are the final net beside others, its differences to them, and the path of the
// search.
func (s *Shrink) Tables() []Table { return []Table{s.nets(), s.differences(), s.path()} }

// Checks tell for each part of the budget whether it is met.
func (s *Shrink) Checks() (all []Check) {
	for _, l := range s.Limits {
		all = append(all, Check{
			Name: clean(l.Name), Want: "at most " + figure6(l.Limit), Got: figure6(l.Got), Pass: l.Got <= l.Limit,
		})
	}
	return all
}

// figure6 writes a number in six digits, and a whole one in all of its own.
func figure6(v float64) string {
	if v == float64(int64(v)) {
		return commas(int64(v))
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func msOf(ms float64) string {
	if ms == 0 {
		return dash
	}
	return strconv.FormatFloat(ms, 'g', 4, 64) + " ms"
}

// tableOf makes a table of cells, without the columns that nobody has.
func tableOf(title string, columns []Column, rows [][]string) Table {
	t := Table{Title: title, Rows: make([][]string, len(rows))}
	for i, c := range columns {
		if i > 0 && !slices.ContainsFunc(rows, func(r []string) bool { return r[i] != dash && r[i] != "" }) {
			continue
		}
		t.Columns = append(t.Columns, c)
		for k, r := range rows {
			t.Rows[k] = append(t.Rows[k], clean(r[i]))
		}
	}
	return t
}

func (c ShrinkCost) cells() []string {
	return []string{count(c.Bytes), count(c.Params), count(c.MACs), count(c.RAM), msOf(c.MS)}
}

var costColumns = []Column{
	{Name: "bytes", Right: true}, {Name: "parameters", Right: true}, {Name: "multiply-adds", Right: true},
	{Name: "memory, bytes", Right: true}, {Name: "time", Right: true},
}

// nets is the table of the final net and others.
func (s *Shrink) nets() Table {
	columns := append([]Column{{Name: "net"}}, costColumns...)
	columns = append(columns, Column{Name: "validation", Right: true}, Column{Name: "test", Right: true})
	var rows [][]string
	for _, n := range s.Nets {
		row := append([]string{n.Name}, n.cells()...)
		rows = append(rows, append(row, percentOf(n.ValAccuracy), percentOf(n.TestAccuracy)))
	}
	t := tableOf("Final net and others", columns, rows)
	t.Caption = fmt.Sprintf("Accuracies are those on the %s validation images, by which the net was chosen and which flatter it", commas(int64(s.ValImages)))
	if s.TestImages > 0 {
		t.Caption += fmt.Sprintf(", and on the %s test images, by which nothing was chosen", commas(int64(s.TestImages)))
	}
	t.Caption += "."
	return t
}

// differences is the table of the final net against each of the others.
func (s *Shrink) differences() Table {
	columns := []Column{{Name: "final net less"}, {Name: "difference", Right: true}, {Name: "95 % interval", Right: true},
		{Name: "images won", Right: true}, {Name: "lost", Right: true}, {Name: "McNemar's p", Right: true}}
	var rows [][]string
	for _, n := range s.Nets {
		if p := n.Beside; p != nil {
			rows = append(rows, []string{n.Name, points(p.Difference), points(p.Interval.Low) + " to " + points(p.Interval.High),
				commas(int64(p.Won)), commas(int64(p.Lost)), strconv.FormatFloat(p.P, 'g', 2, 64)})
		}
	}
	t := tableOf("Final net against others, image by image", columns, rows)
	t.Caption = fmt.Sprintf("In points, on the %s test images; won are those that the final net alone gets right.", commas(int64(s.TestImages)))
	if s.TestImages == 0 {
		t.Caption = "There are no test images: differences are in points on the validation images, by which the final net was chosen, and flatter it; won are those that it alone gets right."
	}
	return t
}

// timed reports whether candidates have times.
func (s *Shrink) timed() bool {
	return slices.ContainsFunc(s.Candidates, func(c ShrinkCandidate) bool { return c.MS > 0 })
}

// wholeTimes says what times of candidates are.
const wholeTimes = "Times are those of whole programs, as each net was judged; those of the nets above were taken again at the end."

// path is the table of the search: what it went on from.
func (s *Shrink) path() Table {
	columns := append([]Column{{Name: "round"}, {Name: "move"}}, costColumns...)
	columns = append(columns, Column{Name: "validation", Right: true}, Column{Name: "within the budget"})
	var rows [][]string
	for _, c := range s.Candidates {
		if !c.Accepted {
			continue
		}
		fits := "no"
		if c.Fits {
			fits = "yes"
		}
		row := append([]string{strconv.Itoa(c.Round), c.Move}, c.cells()...)
		rows = append(rows, append(row, percent(c.Accuracy), fits))
	}
	t := tableOf("Path of the search", columns, rows)
	if s.timed() {
		t.Caption = wholeTimes
	}
	return t
}

// layers is the table of the final net.
func (s *Shrink) layers() Table {
	columns := []Column{
		{Name: "layer"}, {Name: "kind"}, {Name: "channels before", Right: true}, {Name: "after", Right: true}, {Name: "bits", Right: true},
		{Name: "bytes", Right: true}, {Name: "multiply-adds", Right: true}, {Name: "time", Right: true},
	}
	var rows [][]string
	for _, l := range s.Layers {
		after := count(int64(l.After))
		if l.After == 0 && l.Before > 0 {
			after = "gone"
		}
		rows = append(rows, []string{l.Name, l.Kind, count(int64(l.Before)), after, count(int64(l.Bits)), count(l.Bytes), count(l.MACs), msOf(l.MS)})
	}
	t := tableOf("Final net, layer by layer", columns, rows)
	if slices.ContainsFunc(s.Layers, func(l ShrinkLayer) bool { return l.MS > 0 }) {
		t.Caption = "A time is that of the step that begins with the layer, timed by itself; what a step takes in behind it has none of its own."
	}
	return t
}
