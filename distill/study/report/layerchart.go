package report

import (
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// layerChart draws a net layer by layer, a row each in the order of execution: its
// channels before (pale) and after, the bytes of its tensors with the bits of its
// weight, and its time, or where that was not measured its multiply-adds.
type layerChart struct {
	layers []ShrinkLayer
	timed  bool
}

func newLayerChart(s *Shrink) *layerChart {
	c := &layerChart{layers: s.Layers}
	for _, l := range s.Layers {
		c.timed = c.timed || l.MS > 0
	}
	return c
}

const layerRow vg.Length = 15

func (c *layerChart) size() (w, h vg.Length) { return 760, 26 + layerRow*vg.Length(len(c.layers)) }

// cost is what the last column shows.
func (c *layerChart) cost(l ShrinkLayer) float64 {
	if c.timed {
		return l.MS
	}
	return float64(l.MACs)
}

func (c *layerChart) draw(d draw.Canvas) {
	const name, column, gap = 175, 135, 58
	head, text, pale := textStyle(10, muted, false), textStyle(9.5, ink, false), textStyle(9, muted, false)
	at := func(k int) vg.Length { return d.Min.X + name + vg.Length(k)*(column+gap) }
	last := "multiply-adds"
	if c.timed {
		last = "time, ms"
	}
	for k, title := range []string{"channels, before and after", "bytes, and bits a weight", last} {
		d.FillText(head, vg.Point{X: at(k), Y: d.Max.Y - 2}, title)
	}
	var widest, largest, dearest float64
	for _, l := range c.layers {
		widest = max(widest, float64(l.Before), float64(l.After))
		largest, dearest = max(largest, float64(l.Bytes)), max(dearest, c.cost(l))
	}
	y := d.Max.Y - 22
	bar := func(k int, share float64, style int) {
		x := at(k)
		box := []vg.Point{{X: x, Y: y - 10}, {X: x + column*vg.Length(share), Y: y - 10}, {X: x + column*vg.Length(share), Y: y - 2}, {X: x, Y: y - 2}}
		if share <= 0 {
			return
		}
		if style < 0 {
			d.FillPolygon(grid, box)
			return
		}
		d.FillPolygon(series[style], box)
	}
	label := func(k int, share float64, s string) {
		d.FillText(pale, vg.Point{X: at(k) + column*vg.Length(share) + 3, Y: y - 1}, s)
	}
	share := func(v, of float64) float64 {
		if of == 0 {
			return 0
		}
		return v / of
	}
	for _, l := range c.layers {
		d.FillText(text, vg.Point{X: d.Min.X, Y: y - 1}, shorten(clean(l.Name), 32))
		before, after := share(float64(l.Before), widest), share(float64(l.After), widest)
		bar(0, before, -1)
		bar(0, after, 0)
		widths := strconv.Itoa(l.After)
		if l.Before > 0 && l.Before != l.After {
			widths = strconv.Itoa(l.Before) + "→" + widths
		}
		label(0, max(before, after), widths)
		bytes := share(float64(l.Bytes), largest)
		bar(1, bytes, 1)
		if l.Bits > 0 {
			label(1, bytes, plural(l.Bits, "bit", "bits"))
		}
		bar(2, share(c.cost(l), dearest), 2)
		y -= layerRow
	}
}
