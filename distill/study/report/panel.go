package report

import (
	"image/color"
	"maps"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panel is one of the small multiples: loss at the left and accuracy at the
// right, over the epochs of one step.
type panel struct {
	history  History
	accuracy [2]float64 // range of the accuracy axis in %, shared by all panels
}

// newPanels makes a panel of every step that trained, all with the same
// accuracy axis, so that their heights can be compared.
func newPanels(r *Results) []panel {
	lo, hi := math.Inf(1), math.Inf(-1)
	var panels []panel
	for _, h := range r.Training {
		if len(h.Epochs) == 0 {
			continue
		}
		for _, e := range h.Epochs {
			for _, a := range []*float64{e.TrainAccuracy, e.ValAccuracy} {
				if a != nil {
					lo, hi = min(lo, 100**a), max(hi, 100**a)
				}
			}
		}
		panels = append(panels, panel{history: h})
	}
	if lo > hi {
		lo, hi = 0, 100
	}
	lo, hi = between(lo, hi, 0.06, 0, 100)
	for i := range panels {
		panels[i].accuracy = [2]float64{lo, hi}
	}
	return panels
}

// terms returns the names of the loss's terms, in order.
func (p panel) terms() []string { return slices.Sorted(maps.Keys(p.history.Epochs[0].Terms)) }

// What a panel is high, and its row of the loss's terms.
const (
	panelHeight vg.Length = 168
	termsHeight vg.Length = 132
)

func (p panel) size() (w, h vg.Length) {
	if len(p.terms()) > 1 {
		return 440, panelHeight + termsHeight
	}
	return 440, panelHeight
}

// draw draws training in the first color, dashed, and validation in the
// second, solid.
func (p panel) draw(c draw.Canvas) {
	if len(p.terms()) > 1 {
		p.drawTerms(draw.Crop(c, 0, 0, 2, -(panelHeight + 2)))
		c = draw.Crop(c, 0, 0, termsHeight, 0)
	}
	var loss, accuracy [2]plotter.XYs
	add := func(to *plotter.XYs, epoch int, y *float64, scale float64) {
		if y != nil {
			*to = append(*to, plotter.XY{X: float64(epoch), Y: scale * *y})
		}
	}
	for _, e := range p.history.Epochs {
		add(&loss[0], e.Epoch, &e.TrainLoss, 1)
		add(&loss[1], e.Epoch, e.ValLoss, 1)
		add(&accuracy[0], e.Epoch, e.TrainAccuracy, 100)
		add(&accuracy[1], e.Epoch, e.ValAccuracy, 100)
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, xys := range loss {
		for _, xy := range xys {
			lo, hi = min(lo, xy.Y), max(hi, xy.Y)
		}
	}
	lo, hi = between(lo, hi, 0.06, math.Inf(-1), math.Inf(1))
	half := (c.Max.X - c.Min.X) / 2
	p.drawHalf(draw.Crop(c, 0, -half-6, 2, -2), "loss", loss, lo, hi)
	p.drawHalf(draw.Crop(c, half+6, 0, 2, -2), "accuracy, %", accuracy, p.accuracy[0], p.accuracy[1])
}

// drawTerms draws each term of the loss relative to its largest size, so that terms of
// different sizes show how far they fall.
func (p panel) drawTerms(c draw.Canvas) {
	x := c.Min.X
	write := func(text string, color color.Color) {
		style := textStyle(9.5, color, false)
		c.FillText(style, vg.Point{X: x, Y: c.Max.Y}, text)
		x += style.Width(text) + 10
	}
	write("terms of the loss, of their largest:", muted)
	q := p.newHalf(0, 1)
	for k, name := range p.terms() {
		var xys plotter.XYs
		largest := 0.0
		for _, e := range p.history.Epochs {
			largest = max(largest, math.Abs(e.Terms[name]))
		}
		for _, e := range p.history.Epochs {
			if v, ok := e.Terms[name]; ok && largest > 0 {
				xys = append(xys, plotter.XY{X: float64(e.Epoch), Y: v / largest})
				q.Y.Min = min(q.Y.Min, v/largest)
			}
		}
		color := series[k%len(series)]
		write(name, color)
		if len(xys) > 0 {
			q.Add(&plotter.Line{XYs: xys, LineStyle: draw.LineStyle{Color: color, Width: 1.6}})
		}
	}
	c.Max.Y -= 16
	q.Add(frame{})
	q.Draw(c)
}

func (p panel) drawHalf(c draw.Canvas, name string, xys [2]plotter.XYs, lo, hi float64) {
	c.FillText(textStyle(9.5, muted, false), vg.Point{X: c.Min.X, Y: c.Max.Y}, name)
	c.Max.Y -= 16
	q := p.newHalf(lo, hi)
	for i, pts := range xys {
		if len(pts) == 0 {
			continue
		}
		style := draw.LineStyle{Color: series[i], Width: 1.6}
		if i == 0 {
			style.Dashes = []vg.Length{4, 2.5}
		}
		q.Add(&plotter.Line{XYs: pts, LineStyle: style})
		if len(pts) <= 12 {
			q.Add(&plotter.Scatter{XYs: pts, GlyphStyle: draw.GlyphStyle{Color: series[i], Radius: 2, Shape: glyphs[0]}})
		}
	}
	q.Add(frame{})
	q.Draw(c)
}

// newHalf is an empty plot over the epochs, with a range of the y axis.
func (p panel) newHalf(lo, hi float64) *plot.Plot {
	q := newPlot(9.5)
	first, last := p.history.Epochs[0].Epoch, p.history.Epochs[len(p.history.Epochs)-1].Epoch
	q.X.Min, q.X.Max = float64(min(first, last)), float64(max(first, last))
	if q.X.Min == q.X.Max {
		q.X.Min, q.X.Max = q.X.Min-1, q.X.Max+1
		q.X.Tick.Marker = plot.ConstantTicks{{Value: float64(first), Label: short(float64(first))}}
	} else {
		q.X.Tick.Marker = ticks(q.X.Min, q.X.Max, 5, 1, short)
	}
	q.X.Tick.Length = 3
	q.Y.Min, q.Y.Max = lo, hi
	q.Y.Tick.Marker = ticks(lo, hi, 4, 0, short)
	return q
}

// frame reserves room for half a point at the rim of a plot, so that points on
// it are not cut.
type frame struct{}

// Plot implements plot.Plotter; a frame draws nothing.
func (frame) Plot(draw.Canvas, *plot.Plot) {}

// GlyphBoxes implements plot.GlyphBoxer.
func (frame) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	box := vg.Rectangle{Min: vg.Point{X: -2.5, Y: -2.5}, Max: vg.Point{X: 2.5, Y: 2.5}}
	return []plot.GlyphBox{{X: 0, Y: 0, Rectangle: box}, {X: 1, Y: 1, Rectangle: box}}
}

// bestEpoch is the epoch of the highest validation accuracy, nil if there is
// none.
func bestEpoch(h History) *Epoch {
	var best *Epoch
	for i, e := range h.Epochs {
		if e.ValAccuracy != nil && (best == nil || *e.ValAccuracy > *best.ValAccuracy) {
			best = &h.Epochs[i]
		}
	}
	return best
}
