package report

import (
	"bytes"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"strconv"

	"github.com/potstill/potstill/engine/metrics"
	"golang.org/x/image/draw"
)

//go:embed templates
var templates embed.FS

var pageTemplate = template.Must(template.ParseFS(templates, "templates/*.tmpl"))

// page is what the template shows.
type page struct {
	Title, Study, Summary string
	CSS                   template.CSS
	Checks                []Check
	ChecksPassed          string
	Tables                []tableView
	AccuracyNote          string
	PublishedNote         string
	More                  []tableView
	Links                 []rowLinks
	Chart                 template.HTML
	ChartNote             string
	Differences           []differenceView
	Panels                []panelView
	FirstSeed             string
	Confusions            []confusionView
	Mistakes              []mistakeView
	Facts                 []fact
	Command, Recipe       string
}

type tableView struct {
	Table
	Spans   []span
	Grouped bool
}

type panelView struct {
	Name, Caption string
	SVG           template.HTML
}

type confusionView struct {
	Name, Caption string
	Classes       []string
	Rows          []confusionRow
}

type confusionRow struct {
	Class, Recall, Precision, F1 string
	Cells                        []confusionCell
}

type confusionCell struct {
	Count    string
	Hint     string
	Share    string // of the row, 0 to 1, for the shade
	Dark     bool   // so dark that the text on it must be light
	Diagonal bool
}

// A differenceView is the chart of a table's rows beside its first.
type differenceView struct {
	Label string
	SVG   template.HTML
}

type mistakeView struct {
	Step, File, True, Predicted, Prob string
	Image                             template.URL // data URI, or "" without pixels
	Alt                               string
	Pixelated                         bool
}

// renderHTML returns report.html.
func renderHTML(r *Results) ([]byte, error) {
	css, err := templates.ReadFile("templates/report.css")
	if err != nil {
		return nil, err
	}
	chart := newSizeChart(r, false)
	svg, err := inlineSVG(chart, "Chart of model size against "+r.part()+" accuracy. The tables hold the same figures.")
	if err != nil {
		return nil, err
	}
	p := page{
		Title: clean(r.title()), Study: clean(r.Study), Summary: r.summary(), CSS: template.CSS(css),
		Checks: r.Checks, ChecksPassed: fmt.Sprintf("%d of %d passed", r.passed(), len(r.Checks)),
		AccuracyNote: r.AccuracyNote(), Chart: template.HTML(svg), ChartNote: chart.note, Links: r.links(), FirstSeed: r.firstSeed(),
		Facts: r.facts(), Command: r.Command, Recipe: r.Recipe,
	}
	if r.samePublished() {
		p.PublishedNote = r.publishedNote()
	}
	for _, t := range r.Tables() {
		p.Tables = append(p.Tables, viewOf(t))
	}
	for _, t := range r.moreTables() {
		p.More = append(p.More, viewOf(t))
	}
	for _, d := range newDifferenceCharts(r) {
		svg, err := inlineSVG(d, d.label())
		if err != nil {
			return nil, err
		}
		p.Differences = append(p.Differences, differenceView{clean(d.label()), template.HTML(svg)})
	}
	for _, n := range newPanels(r) {
		v := panelView{Name: r.nameOf(n.history.Step), Caption: trainingCaption(n.history)}
		svg, err := inlineSVG(n, "Loss and accuracy by epoch of "+v.Name+": "+v.Caption)
		if err != nil {
			return nil, err
		}
		v.SVG = template.HTML(svg)
		p.Panels = append(p.Panels, v)
	}
	for _, c := range r.Confusions {
		p.Confusions = append(p.Confusions, r.confusionView(c))
	}
	for _, m := range r.Mistakes {
		v, err := r.mistakeView(m)
		if err != nil {
			return nil, err
		}
		p.Mistakes = append(p.Mistakes, v)
	}
	var b bytes.Buffer
	err = pageTemplate.ExecuteTemplate(&b, "report.html.tmpl", p)
	return b.Bytes(), err
}

func viewOf(t Table) tableView {
	v := tableView{Table: t, Spans: spans(t.Columns)}
	v.Grouped = len(v.Spans) > 1
	return v
}

// firstSeed says of which seed the curves, matrices and mistakes are.
func (r *Results) firstSeed() string {
	if !r.several() {
		return ""
	}
	return fmt.Sprintf("Of the first seed, %d.", r.Seeds[0])
}

// className is the name of class i, or its number where it has none.
func (r *Results) className(i int) string {
	if i < len(r.Data.Classes) && r.Data.Classes[i] != "" {
		return clean(r.Data.Classes[i])
	}
	return strconv.Itoa(i)
}

// totals counts the pictures of a confusion matrix and those on its diagonal.
func (c Confusion) totals() (right, all int) {
	for i, row := range c.Matrix {
		for j, n := range row {
			all += n
			if i == j {
				right += n
			}
		}
	}
	return right, all
}

func (r *Results) confusionCaption(c Confusion) string {
	right, all := c.totals()
	if all == 0 {
		return "no pictures"
	}
	s := fmt.Sprintf("%s of %s %s right (%s)", commas(int64(right)), commas(int64(all)), textOr(c.Part, "validation")+" pictures",
		percent(float64(right)/float64(all)))
	if r.several() {
		s += fmt.Sprintf(", seed %d", r.Seeds[0])
	}
	return s
}

// classes returns the figures of each class.
func (c Confusion) classes() []metrics.Class { return metrics.Classes(c.Matrix) }

func (r *Results) confusionView(c Confusion) confusionView {
	v := confusionView{Name: r.nameOf(c.Step), Caption: r.confusionCaption(c)}
	classes := c.classes()
	for i, row := range c.Matrix {
		name, sum := r.className(i), 0
		for _, n := range row {
			sum += n
		}
		k := classes[i]
		line := confusionRow{Class: name, Recall: percentOf(k.Recall), Precision: percentOf(k.Precision), F1: percentOf(k.F1)}
		for j, n := range row {
			share := 0.0
			if sum > 0 {
				share = float64(n) / float64(sum)
			}
			line.Cells = append(line.Cells, confusionCell{
				Count: commas(int64(n)), Share: strconv.FormatFloat(share, 'f', 3, 64),
				Dark: share > 0.5, Diagonal: i == j,
				Hint: fmt.Sprintf("%s taken for %s: %s of %s", name, r.className(j), commas(int64(n)), commas(int64(sum))),
			})
		}
		v.Classes = append(v.Classes, name)
		v.Rows = append(v.Rows, line)
	}
	return v
}

func (r *Results) mistakeView(m Mistake) (mistakeView, error) {
	v := mistakeView{
		Step: r.nameOf(m.Step), File: clean(m.File), True: clean(m.True), Predicted: clean(m.Predicted),
		Prob: percent(m.Prob), Pixelated: m.W < 96,
	}
	v.Alt = fmt.Sprintf("A %s that was taken for %s.", v.True, v.Predicted)
	if m.Pix == nil {
		return v, nil
	}
	var b bytes.Buffer
	if err := png.Encode(&b, thumbnail(m)); err != nil {
		return v, fmt.Errorf("picture %s: %w", m.File, err)
	}
	v.Image = template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
	return v, nil
}

// thumbnail is the picture of m, scaled down to 160 pixels at its longer side.
func thumbnail(m Mistake) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, m.W, m.H))
	for i := range m.H * m.W {
		copy(img.Pix[4*i:], m.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 0xFF
	}
	const most = 160
	long := max(m.H, m.W)
	if long <= most {
		return img
	}
	small := image.NewNRGBA(image.Rect(0, 0, max(1, m.W*most/long), max(1, m.H*most/long)))
	draw.CatmullRom.Scale(small, small.Bounds(), img, img.Bounds(), draw.Src, nil)
	return small
}
