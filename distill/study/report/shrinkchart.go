package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// frontChart draws every candidate of a search by its cost and its validation
// accuracy, the best of each cost as a line, and the path of what was accepted.
type frontChart struct {
	xlabel              string
	limit               float64 // 0: none
	tried, path, front  plotter.XYs
	final               plotter.XYs // one point or none
	lo, hi, least, most float64     // of x, of y
	log                 bool
}

// newFrontChart draws over time where the budget is one of time, else over bytes.
func newFrontChart(s *Shrink) *frontChart {
	f := &frontChart{xlabel: "size of the file, kB (1 kB = 1,000 bytes)"}
	cost := func(c ShrinkCost) float64 { return float64(c.Bytes) / 1000 }
	for _, l := range s.Limits {
		if l.Name == "bytes" {
			f.limit = l.Limit / 1000
		}
	}
	timed := !slices.ContainsFunc(s.Candidates, func(c ShrinkCandidate) bool { return c.MS == 0 })
	for _, l := range s.Limits {
		if timed && f.limit == 0 && len(l.Name) > 1 && l.Name[:2] == "ms" {
			f.xlabel, f.limit = l.Name, l.Limit
			cost = func(c ShrinkCost) float64 { return c.MS }
		}
	}
	for _, c := range s.Candidates {
		at := plotter.XY{X: cost(c.ShrinkCost), Y: 100 * c.Accuracy}
		f.tried = append(f.tried, at)
		if c.Accepted {
			f.path = append(f.path, at)
		}
	}
	f.front = frontOf(f.tried)
	if len(s.Nets) > 0 && s.Nets[0].ValAccuracy != nil {
		f.final = plotter.XYs{{X: cost(s.Nets[0].ShrinkCost), Y: 100 * *s.Nets[0].ValAccuracy}}
	}
	f.scale()
	return f
}

// frontOf returns the points that no other beats in both: in the order of x, each
// higher than those before.
func frontOf(all plotter.XYs) (front plotter.XYs) {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b plotter.XY) int {
		if a.X != b.X {
			return int(math.Copysign(1, a.X-b.X))
		}
		return int(math.Copysign(1, b.Y-a.Y))
	})
	best := math.Inf(-1)
	for _, p := range sorted {
		if p.Y > best {
			front, best = append(front, p), p.Y
		}
	}
	return front
}

func (f *frontChart) scale() {
	f.lo, f.least = math.Inf(1), math.Inf(1)
	f.hi, f.most = math.Inf(-1), math.Inf(-1)
	for _, p := range slices.Concat(f.tried, f.final) {
		f.lo, f.hi = min(f.lo, p.X), max(f.hi, p.X)
		f.least, f.most = min(f.least, p.Y), max(f.most, p.Y)
	}
	if f.lo > f.hi {
		f.lo, f.hi, f.least, f.most = 0, 1, 0, 100
	}
	if f.limit > 0 {
		f.lo, f.hi = min(f.lo, f.limit), max(f.hi, f.limit)
	}
	if f.log = f.lo > 0 && f.hi/f.lo > 24; f.log {
		f.lo, f.hi = f.lo/1.3, f.hi*1.3
		f.xlabel += ", logarithmic"
	} else {
		f.lo, f.hi = between(f.lo, f.hi, 0.08, 0, math.Inf(1))
	}
	f.least, f.most = between(f.least, f.most, 0.1, 0, 100)
}

func (f *frontChart) size() (w, h vg.Length) { return 760, 430 }

func (f *frontChart) draw(c draw.Canvas) {
	c = draw.Crop(c, 2, -8, 4, -2)
	c.FillText(textStyle(11, muted, false), vg.Point{X: c.Min.X, Y: c.Max.Y}, "validation accuracy, % (top-1)")
	c.Max.Y -= 19
	f.legend(c)
	c.Max.Y -= 23
	p := newPlot(11)
	p.X.Label.Text = f.xlabel
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = f.lo, f.hi, f.least, f.most
	if f.log {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks(f.lo, f.hi, short)
	} else {
		p.X.Tick.Marker = ticks(f.lo, f.hi, 8, 0, short)
	}
	p.Y.Tick.Marker = ticks(f.least, f.most, 6, 0, short)
	if f.limit > 0 {
		p.Add(&plotter.Line{XYs: plotter.XYs{{X: f.limit, Y: f.least}, {X: f.limit, Y: f.most}}, LineStyle: draw.LineStyle{Color: muted, Width: 1.2, Dashes: dashes[1]}})
	}
	if len(f.front) > 0 {
		p.Add(&plotter.Line{XYs: f.front, LineStyle: f.line(0)})
	}
	if len(f.path) > 0 {
		p.Add(&plotter.Line{XYs: f.path, LineStyle: f.line(1)})
	}
	if len(f.tried) > 0 {
		p.Add(&plotter.Scatter{XYs: f.tried, GlyphStyle: f.glyph(0)})
	}
	if len(f.path) > 0 {
		p.Add(halo(f.path, f.glyph(1))...)
	}
	if len(f.final) > 0 {
		p.Add(halo(f.final, f.glyph(2))...)
	}
	p.Draw(c)
}

func (f *frontChart) line(i int) draw.LineStyle {
	s := draw.LineStyle{Color: series[i], Width: 1.8}
	if i == 1 {
		s.Width, s.Dashes = 1.2, dashes[2]
	}
	return s
}

// glyph is that of the tried, the accepted, or the final net.
func (f *frontChart) glyph(i int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: series[i], Radius: []vg.Length{2.2, 3.2, 5}[i], Shape: []draw.GlyphDrawer{glyphs[0], glyphs[2], glyphs[3]}[i]}
}

func (f *frontChart) legend(c draw.Canvas) {
	sty := textStyle(11, ink, false)
	x, y := c.Min.X, c.Max.Y
	write := func(name string, sample func()) {
		sample()
		c.FillText(sty, vg.Point{X: x + 28, Y: y}, name)
		x += 28 + sty.Width(name) + 20
	}
	both := func(i int) func() {
		return func() {
			c.StrokeLine2(f.line(i), x, y-7, x+22, y-7)
			c.DrawGlyphNoClip(f.glyph(i), vg.Point{X: x + 11, Y: y - 7})
		}
	}
	write("tried; line: the best up to that cost", both(0))
	write("accepted", both(1))
	if len(f.final) > 0 {
		write("final net", func() { c.DrawGlyphNoClip(f.glyph(2), vg.Point{X: x + 11, Y: y - 7}) })
	}
	if f.limit > 0 {
		write("budget", func() {
			c.StrokeLine2(draw.LineStyle{Color: muted, Width: 1.2, Dashes: dashes[1]}, x, y-7, x+22, y-7)
		})
	}
}
