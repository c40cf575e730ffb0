package report

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// labels writes the names of the marks of a chart next to them, each where it
// hides the least: it tries eight directions at growing distances and takes the
// first of the cheapest places.
type labels struct{ chart *sizeChart }

// Plot implements plot.Plotter.
func (l labels) Plot(c draw.Canvas, p *plot.Plot) {
	trX, trY := p.Transforms(&c)
	taken := l.obstacles(trX, trY)
	sty := textStyle(10.5, ink, false)
	sty.YAlign = draw.YCenter
	for _, m := range l.chart.marks {
		at := vg.Point{X: trX(m.at.X), Y: trY(m.at.Y)}
		w, h := sty.Width(m.label), vg.Length(11)
		best, cost := vg.Rectangle{}, math.Inf(1)
		for _, box := range places(at, w, h) {
			if k := crowding(box, taken, c.Rectangle); k < cost {
				best, cost = box, k
			}
		}
		taken = append(taken, best)
		if gap := reach(at, best); gap > 9 { // too far to read without a leader
			c.StrokeLine2(draw.LineStyle{Color: axis, Width: 0.6}, at.X, at.Y,
				min(max(at.X, best.Min.X), best.Max.X), min(max(at.Y, best.Min.Y), best.Max.Y))
			c.DrawGlyphNoClip(l.chart.glyphOfGroup(m.group), at)
		}
		c.FillText(sty, vg.Point{X: best.Min.X, Y: (best.Min.Y+best.Max.Y)/2 + 1}, m.label)
	}
}

// obstacles are small boxes over every mark, point, error bar and stretch of line.
func (l labels) obstacles(trX, trY func(float64) vg.Length) []vg.Rectangle {
	var taken []vg.Rectangle
	add := func(x, y, r vg.Length) {
		taken = append(taken, vg.Rectangle{Min: vg.Point{X: x - r, Y: y - r}, Max: vg.Point{X: x + r, Y: y + r}})
	}
	bars := func(bars ...bar) {
		for _, b := range bars {
			low, high := trY(b.at.Y-b.half), trY(b.at.Y+b.half)
			for y := low; y < high; y += 4 {
				add(trX(b.at.X), y, 1.5)
			}
		}
	}
	for _, m := range l.chart.marks {
		add(trX(m.at.X), trY(m.at.Y), 4.5)
		bars(bar{m.at, m.half})
	}
	for _, line := range l.chart.lines {
		bars(line.bars...)
		for i, b := range line.pts {
			bx, by := trX(b.X), trY(b.Y)
			add(bx, by, 4)
			if i == 0 {
				continue
			}
			ax, ay := trX(line.pts[i-1].X), trY(line.pts[i-1].Y)
			n := math.Ceil(math.Hypot(float64(bx-ax), float64(by-ay)) / 5)
			for k := 1.0; k < n; k++ {
				t := vg.Length(k / n)
				add(ax+t*(bx-ax), ay+t*(by-ay), 1.5)
			}
		}
	}
	return taken
}

// places lists the boxes of w by h points that may hold the label of at, the
// most natural first.
func places(at vg.Point, w, h vg.Length) []vg.Rectangle {
	var boxes []vg.Rectangle
	for _, d := range []vg.Length{7, 13, 22, 34} {
		for _, x := range []struct{ x, y vg.Length }{
			{d, -h / 2}, {-w - d, -h / 2}, {-w / 2, d}, {-w / 2, -h - d},
			{d * 0.7, d * 0.7}, {d * 0.7, -h - d*0.7}, {-w - d*0.7, d * 0.7}, {-w - d*0.7, -h - d*0.7},
		} {
			lo := vg.Point{X: at.X + x.x, Y: at.Y + x.y}
			boxes = append(boxes, vg.Rectangle{Min: lo, Max: vg.Point{X: lo.X + w, Y: lo.Y + h}})
		}
	}
	return boxes
}

// crowding is how much box covers of what is already drawn; leaving the canvas
// weighs more than anything.
func crowding(box vg.Rectangle, taken []vg.Rectangle, canvas vg.Rectangle) float64 {
	cost := 0.0
	if box.Min.X < canvas.Min.X || box.Max.X > canvas.Max.X || box.Min.Y < canvas.Min.Y || box.Max.Y > canvas.Max.Y+8 {
		cost = 1e6
	}
	for _, t := range taken {
		w := min(box.Max.X, t.Max.X) - max(box.Min.X, t.Min.X)
		h := min(box.Max.Y, t.Max.Y) - max(box.Min.Y, t.Min.Y)
		if w > 0 && h > 0 {
			cost += float64(w * h)
		}
	}
	return cost
}

// reach is the distance from a point to a box.
func reach(p vg.Point, box vg.Rectangle) float64 {
	dx := max(box.Min.X-p.X, 0, p.X-box.Max.X)
	dy := max(box.Min.Y-p.Y, 0, p.Y-box.Max.Y)
	return math.Hypot(float64(dx), float64(dy))
}
