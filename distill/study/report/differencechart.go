package report

import (
	"fmt"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A differenceChart shows the rows of a table beside its first: for each a line with
// the difference of every seed, their mean, and the mean's interval.
type differenceChart struct {
	table, less, part string
	rows              []Difference
}

// newDifferenceCharts makes a chart of every table whose rows were measured with several
// seeds.
func newDifferenceCharts(r *Results) (charts []differenceChart) {
	at := make(map[string]int)
	for _, d := range r.Differences {
		k, ok := at[d.Table]
		if !ok {
			k = len(charts)
			at[d.Table] = k
			charts = append(charts, differenceChart{table: d.Table, less: d.LessOf, part: d.Part})
		}
		charts[k].rows = append(charts[k].rows, d)
	}
	return charts
}

// label says what the chart shows.
func (d differenceChart) label() string {
	return fmt.Sprintf("%s: %s accuracy less that of %s, in points. Each dot is a seed, the bar the 95 %% interval of the mean.", d.table, d.part, d.less)
}

// What a chart is high: its axis, and each row.
const (
	differenceRow  vg.Length = 26
	differenceAxis vg.Length = 40
	differenceName vg.Length = 190 // width of the rows' names
)

func (d differenceChart) size() (w, h vg.Length) {
	return 640, differenceAxis + vg.Length(len(d.rows))*differenceRow
}

func (d differenceChart) draw(c draw.Canvas) {
	lo, hi := 0.0, 0.0
	for _, row := range d.rows {
		lo, hi = min(lo, 100*row.Interval.Low, 100*row.Min), max(hi, 100*row.Interval.High, 100*row.Max)
	}
	lo, hi = between(lo, hi, 0.05, -100, 100)
	q := newPlot(9.5)
	q.X.Min, q.X.Max, q.Y.Min, q.Y.Max = lo, hi, -0.6, float64(len(d.rows))-0.4
	q.X.Tick.Marker = ticks(lo, hi, 8, 0, short)
	q.Y.Tick.Marker = plot.ConstantTicks{}
	q.Add(&plotter.Line{XYs: plotter.XYs{{X: 0, Y: q.Y.Min}, {X: 0, Y: q.Y.Max}}, LineStyle: draw.LineStyle{Color: axis, Width: 1}})
	for k, row := range d.rows {
		y := float64(len(d.rows) - 1 - k)
		var seeds plotter.XYs
		for _, v := range row.Values {
			seeds = append(seeds, plotter.XY{X: 100 * v, Y: y})
		}
		bar := plotter.XYs{{X: 100 * row.Interval.Low, Y: y}, {X: 100 * row.Interval.High, Y: y}}
		q.Add(&plotter.Line{XYs: bar, LineStyle: draw.LineStyle{Color: series[0], Width: 1.6}})
		q.Add(&plotter.Scatter{XYs: seeds, GlyphStyle: draw.GlyphStyle{Color: series[1], Radius: 2, Shape: glyphs[0]}})
		q.Add(&plotter.Scatter{XYs: plotter.XYs{{X: 100 * row.Mean, Y: y}}, GlyphStyle: draw.GlyphStyle{Color: series[0], Radius: 4, Shape: glyphs[3]}})
	}
	plotted := draw.Crop(c, differenceName, -8, 2, 0)
	q.Draw(plotted)
	// The rows' names stand at the height of their dots.
	area := q.DataCanvas(plotted)
	for k, row := range d.rows {
		share := (float64(len(d.rows)-1-k) - q.Y.Min) / (q.Y.Max - q.Y.Min)
		style := textStyle(10, ink, false)
		style.YAlign = draw.YCenter
		c.FillText(style, vg.Point{X: c.Min.X, Y: area.Y(share)}, shorter(clean(row.Name), 34))
	}
}

// shorter cuts a text that is too long.
func shorter(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
