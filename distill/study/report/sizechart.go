package report

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine/metrics"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// sizeChart is the chart of the study: model size against accuracy, a line for
// every pruning rate and a labeled mark for every model of the tables. Over
// several seeds each has a bar of a standard deviation to both sides.
type sizeChart struct {
	title, note  string
	part         string // whose accuracy it is: "test" or "validation"
	seeds        int
	xlabel       string
	unit         func(float64) string
	lines        []chartLine
	groups       []string // table titles, one marker each
	marks        []mark
	log          bool
	framed       bool // with title and note, for a file of its own
	xs, ys       []float64
	lower, upper float64 // range of x
}

type chartLine struct {
	name string
	pts  plotter.XYs
	bars []bar
}

// bar is an error bar: half its height, in the unit of y, about a point.
type bar struct {
	at   plotter.XY
	half float64
}

// mark is one labeled model.
type mark struct {
	label string
	group int
	at    plotter.XY
	half  float64 // of the error bar; 0: none
}

// newSizeChart gathers what there is to draw. The x axis shows bytes, or
// parameters where a point of a curve has no file. A model far larger than any
// of the curves, or far less accurate, would squash them: it is named in the
// note instead.
func newSizeChart(r *Results, framed bool) *sizeChart {
	s := &sizeChart{title: clean(r.title()), framed: framed, part: r.part(), seeds: len(r.seeds())}
	byBytes := true
	for _, c := range r.Curves {
		byBytes = byBytes && !slices.ContainsFunc(c.Points, func(p Point) bool { return p.Bytes == 0 })
	}
	pick := func(params, bytes int64) float64 {
		if byBytes {
			return float64(bytes)
		}
		return float64(params)
	}
	var notes []string
	for _, c := range r.Curves {
		l := chartLine{name: "pruned at rate " + short(c.Rate)}
		for _, p := range c.Points {
			if x := pick(p.Params, p.Bytes); x > 0 {
				accuracy, spread := r.pointAccuracy(p)
				l.pts = append(l.pts, plotter.XY{X: x, Y: 100 * accuracy})
				l.bars = append(l.bars, bar{l.pts[len(l.pts)-1], deviation(spread)})
			}
		}
		slices.SortFunc(l.pts, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		if len(l.pts) > 0 {
			s.lines = append(s.lines, l)
		}
		if n := sentence(c.Published); r.samePublished() && n != "" && !slices.Contains(notes, n) {
			notes = append(notes, n)
		}
	}
	if r.several() {
		notes = append(notes, fmt.Sprintf("Bars: one standard deviation to both sides, over %d seeds.", len(r.Seeds)))
	} else if len(r.Rows) > 0 {
		notes = append(notes, "One seed.")
	}
	if off := s.addMarks(r, pick); len(off) > 0 {
		notes = append(notes, "Off the scale: "+strings.Join(off, "; ")+".")
	}
	s.note = strings.Join(notes, " ")
	s.scale(byBytes)
	return s
}

// addMarks adds the models of the tables, and returns those that lie far to
// the right of every curve or far below.
func (s *sizeChart) addMarks(r *Results, pick func(params, bytes int64) float64) (off []string) {
	right, floor := s.reach()
	onCurve := map[plotter.XY]bool{}
	for _, l := range s.lines {
		for _, p := range l.pts[:len(l.pts)-1] {
			onCurve[p] = true
		}
	}
	seen := map[plotter.XY]bool{}
	for _, w := range r.Rows {
		x := pick(w.Params, w.Bytes)
		accuracy := r.accuracy(w)
		if accuracy == nil || x == 0 {
			continue
		}
		name := shorten(clean(textOr(w.Name, w.Step)), 32)
		at := plotter.XY{X: x, Y: 100 * *accuracy}
		switch {
		case seen[at] || onCurve[at]:
		case x > right || at.Y < floor:
			off = append(off, fmt.Sprintf("%s (%s, %s)", name, s.sizeOf(w), percent(*accuracy)))
		default:
			table := clean(textOr(w.Table, "Results"))
			g := slices.Index(s.groups, table)
			if g < 0 {
				g, s.groups = len(s.groups), append(s.groups, table)
			}
			s.marks = append(s.marks, mark{name, g, at, deviation(r.spread(w))})
		}
		seen[at] = true
	}
	return off
}

// deviation is half the height of the error bar of a spread, in %.
func deviation(s *metrics.Summary) float64 {
	if s == nil {
		return 0
	}
	return 100 * s.SD
}

// reach is how far right and how far down of the curves a mark may lie: at 1.6
// times their largest size, and below their lowest accuracy by 20 points or by
// what they span, whichever is more. Without curves there is no bound.
func (s *sizeChart) reach() (right, floor float64) {
	if len(s.lines) == 0 {
		return math.Inf(1), math.Inf(-1)
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, l := range s.lines {
		for _, p := range l.pts {
			right, lo, hi = max(right, 1.6*p.X), min(lo, p.Y), max(hi, p.Y)
		}
	}
	return right, lo - max(20, hi-lo)
}

func (*sizeChart) sizeOf(w Row) string {
	if w.Bytes > 0 {
		return size(w.Bytes)
	}
	return commas(w.Params) + " parameters"
}

// scale settles the axes: their ranges, their unit, and whether x is
// logarithmic.
func (s *sizeChart) scale(byBytes bool) {
	for _, l := range s.lines {
		for _, p := range l.pts {
			s.xs, s.ys = append(s.xs, p.X), append(s.ys, p.Y)
		}
		for _, b := range l.bars {
			s.ys = append(s.ys, b.at.Y-b.half, b.at.Y+b.half)
		}
	}
	for _, m := range s.marks {
		s.xs, s.ys = append(s.xs, m.at.X), append(s.ys, m.at.Y-m.half, m.at.Y+m.half)
	}
	if len(s.xs) == 0 {
		s.xs, s.ys = []float64{0, 1e6}, []float64{0, 100}
	}
	s.lower, s.upper = slices.Min(s.xs), slices.Max(s.xs)
	s.log = s.lower > 0 && s.upper/s.lower > 24
	if s.log {
		s.lower, s.upper = s.lower/1.3, s.upper*1.3
	} else {
		s.lower, s.upper = between(s.lower, s.upper, 0.08, 0, math.Inf(1))
	}
	div, name := 1e3, "size of the model's file, kB (1 kB = 1,000 bytes)"
	switch {
	case byBytes && s.upper > 2e7:
		div, name = 1e6, "size of the model's file, MB (1 MB = 1,000,000 bytes)"
	case !byBytes:
		name = "parameters, thousands"
	}
	if s.log {
		name += ", logarithmic"
	}
	s.xlabel = name
	s.unit = func(v float64) string {
		if v /= div; v >= 1 && v == math.Trunc(v) {
			return commas(int64(v))
		}
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
}

func (s *sizeChart) size() (w, h vg.Length) {
	if s.framed {
		return 760, 500
	}
	return 760, 430
}

// draw lays the chart out from top to bottom: title, legend, plot, note.
func (s *sizeChart) draw(c draw.Canvas) {
	if s.framed {
		c = draw.Crop(c, 26, -26, 20, -22)
		title := textStyle(16, ink, true)
		c.FillText(title, vg.Point{X: c.Min.X, Y: c.Max.Y}, shorten(s.title, 80))
		c.Max.Y -= 24
	} else {
		c = draw.Crop(c, 2, -8, 4, -2)
	}
	sub := textStyle(11, muted, false)
	c.FillText(sub, vg.Point{X: c.Min.X, Y: c.Max.Y}, s.part+" accuracy, % (top-1)")
	c.Max.Y -= 19
	c.Max.Y -= s.drawLegend(c) + 6
	if s.framed && s.note != "" {
		c.Min.Y += drawNote(c, s.note) + 10
	}
	s.plot().Draw(c)
}

func (s *sizeChart) plot() *plot.Plot {
	p := newPlot(11)
	p.X.Label.Text = s.xlabel
	p.X.Min, p.X.Max = s.lower, s.upper
	if s.log {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, logTicks(s.lower, s.upper, s.unit)
	} else {
		p.X.Tick.Marker = ticks(s.lower, s.upper, 8, 0, s.unit)
	}
	p.Y.Min, p.Y.Max = between(slices.Min(s.ys), slices.Max(s.ys), 0.10, 0, 100)
	p.Y.Tick.Marker = ticks(p.Y.Min, p.Y.Max, 6, 0, short)
	for i, l := range s.lines {
		p.Add(&plotter.Line{XYs: l.pts, LineStyle: s.lineStyle(i)})
	}
	for i, l := range s.lines {
		p.Add(whiskers{l.bars, s.lineStyle(i).Color})
	}
	for _, m := range s.marks {
		p.Add(whiskers{[]bar{{m.at, m.half}}, s.glyphOfGroup(m.group).Color})
	}
	for i, l := range s.lines {
		p.Add(halo(l.pts, s.glyphOfLine(i))...)
	}
	for _, m := range s.marks {
		p.Add(halo(plotter.XYs{m.at}, s.glyphOfGroup(m.group))...)
	}
	p.Add(labels{s})
	return p
}

// whiskers draws error bars.
type whiskers struct {
	bars  []bar
	color color.Color
}

// Plot implements plot.Plotter.
func (w whiskers) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	style := draw.LineStyle{Color: w.color, Width: 1.1}
	const cap = 2.6
	for _, b := range w.bars {
		if b.half == 0 {
			continue
		}
		x, low, high := trX(b.at.X), trY(b.at.Y-b.half), trY(b.at.Y+b.half)
		c.StrokeLine2(style, x, low, x, high)
		c.StrokeLine2(style, x-cap, low, x+cap, low)
		c.StrokeLine2(style, x-cap, high, x+cap, high)
	}
}

// halo draws points with a thin rim of paper, so that they stand out from the
// lines under them.
func halo(pts plotter.XYs, g draw.GlyphStyle) []plot.Plotter {
	rim := g
	rim.Color, rim.Radius = paper, g.Radius+1.2
	return []plot.Plotter{&plotter.Scatter{XYs: pts, GlyphStyle: rim}, &plotter.Scatter{XYs: pts, GlyphStyle: g}}
}

func (s *sizeChart) lineStyle(i int) draw.LineStyle {
	return draw.LineStyle{Color: series[i%len(series)], Width: 2, Dashes: dashes[i/len(series)%len(dashes)]}
}

func (s *sizeChart) glyphOfLine(i int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: series[i%len(series)], Radius: 3.4, Shape: glyphs[i%2]}
}

func (s *sizeChart) glyphOfGroup(g int) draw.GlyphStyle {
	i := len(s.lines) + g
	return draw.GlyphStyle{Color: series[i%len(series)], Radius: 4.2, Shape: glyphs[2+g%2]}
}

// drawLegend draws the legend in rows along the top and returns its height.
func (s *sizeChart) drawLegend(c draw.Canvas) vg.Length {
	const rowHeight, gap = 17, 20
	sty := textStyle(11, ink, false)
	x, y := c.Min.X, c.Max.Y
	entry := func(name string, thumb vg.Length, sample func(y vg.Length)) {
		w := thumb + 6 + sty.Width(name) + gap
		if x > c.Min.X && x+w-gap > c.Max.X {
			x, y = c.Min.X, y-rowHeight
		}
		sample(y - 7)
		c.FillText(sty, vg.Point{X: x + thumb + 6, Y: y}, name)
		x += w
	}
	for i, l := range s.lines {
		entry(l.name, 22, func(y vg.Length) {
			c.StrokeLine2(s.lineStyle(i), x, y, x+22, y)
			c.DrawGlyphNoClip(s.glyphOfLine(i), vg.Point{X: x + 11, Y: y})
		})
	}
	for g, name := range s.groups {
		entry(shorten(name, 40), 9, func(y vg.Length) {
			c.DrawGlyphNoClip(s.glyphOfGroup(g), vg.Point{X: x + 4.5, Y: y})
		})
	}
	if len(s.lines)+len(s.groups) == 0 {
		c.FillText(sty, vg.Point{X: x, Y: y}, "no model has been measured yet")
	}
	return c.Max.Y - y + rowHeight
}

// drawNote draws text at the foot of c, wrapped to its width, and returns its
// height.
func drawNote(c draw.Canvas, text string) vg.Length {
	sty := textStyle(10, muted, false)
	width := c.Max.X - c.Min.X
	var lines []string
	for _, word := range strings.Fields(text) {
		if n := len(lines); n > 0 && sty.Width(lines[n-1]+" "+word) <= width {
			lines[n-1] += " " + word
			continue
		}
		lines = append(lines, word)
	}
	const lead = 13.5
	if len(lines) > 4 {
		lines = append(lines[:3], lines[3]+" …")
	}
	h := vg.Length(len(lines)) * lead
	for i, l := range lines {
		c.FillText(sty, vg.Point{X: c.Min.X, Y: c.Min.Y + h - vg.Length(i)*lead}, l)
	}
	return h
}

// sentence cleans s and ends it with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(clean(s))
	if s != "" && !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}
