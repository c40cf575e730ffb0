package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"math"
	"strconv"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The colors of every figure. The series are those of Okabe and Ito (Color
// Universal Design, 2008), which people of every kind of color vision tell
// apart. Each color has one role only, so that an inline SVG can trade it for
// a CSS variable that follows the reader's color scheme.
var (
	paper = color.NRGBA{0xFF, 0xFF, 0xFF, 0xFF}
	ink   = color.NRGBA{0x1F, 0x23, 0x28, 0xFF}
	muted = color.NRGBA{0x5B, 0x65, 0x70, 0xFF}
	axis  = color.NRGBA{0x9A, 0xA3, 0xAD, 0xFF}
	grid  = color.NRGBA{0xE3, 0xE6, 0xEA, 0xFF}

	series = []color.NRGBA{
		{0x00, 0x72, 0xB2, 0xFF}, // blue
		{0xD5, 0x5E, 0x00, 0xFF}, // vermilion
		{0x00, 0x9E, 0x73, 0xFF}, // green
		{0xCC, 0x79, 0xA7, 0xFF}, // purple
		{0xE6, 0x9F, 0x00, 0xFF}, // orange
		{0x56, 0xB4, 0xE9, 0xFF}, // sky
	}
	glyphs = []draw.GlyphDrawer{
		draw.CircleGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}, diamond{},
	}
	dashes = [][]vg.Length{nil, {6, 3}, {2, 2.5}, {8, 3, 2, 3}}
)

// figure draws itself onto a canvas of its own choice of size.
type figure interface {
	size() (w, h vg.Length)
	draw(c draw.Canvas)
}

// renderPNG rasterises f at 192 dpi on white.
func renderPNG(f figure) ([]byte, error) {
	w, h := f.size()
	c := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(192), vgimg.UseBackgroundColor(paper))
	f.draw(draw.New(c))
	var b bytes.Buffer
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(&b)
	return b.Bytes(), err
}

// fontFamily replaces the name of the font that the text was measured with by
// a list that begins with it and continues with fonts of the same metrics.
const fontFamily = `font-family:'Liberation Sans',Arimo,Arial,Helvetica,sans-serif`

// renderSVG returns f as an SVG document on white.
func renderSVG(f figure) ([]byte, error) {
	w, h := f.size()
	c := vgsvg.New(w, h)
	d := draw.New(c)
	d.SetColor(paper)
	d.Fill(d.Path())
	f.draw(d)
	var b bytes.Buffer
	_, err := c.WriteTo(&b)
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans"), []byte(fontFamily)), err
}

// inlineSVG returns f as an svg element for an HTML page: transparent, as wide
// as its container, with label for those who cannot see it, and with colors
// that are CSS variables of the page.
func inlineSVG(f figure, label string) (string, error) {
	w, h := f.size()
	c := vgsvg.New(w, h)
	f.draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	_, body, ok := strings.Cut(b.String(), "<svg")
	if ok {
		_, body, ok = strings.Cut(body, ">")
	}
	if !ok {
		return "", fmt.Errorf("drawing %q gave no svg element", label)
	}
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;font-variant:normal;", "")
	body = strings.ReplaceAll(body, "font-weight:normal;font-style:normal;", "")
	head := fmt.Sprintf(`<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`,
		w.Points(), h.Points(), html.EscapeString(clean(label)))
	return head + themed(body), nil
}

// themed trades the colors of a figure, inside the style attributes of its
// elements, for CSS variables.
func themed(svg string) string {
	pairs := []string{}
	add := func(c color.NRGBA, name string) {
		hex := fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B)
		for _, property := range []string{"fill:", "stroke:"} {
			pairs = append(pairs, property+hex, property+"var(--"+name+")")
		}
	}
	add(paper, "card")
	add(ink, "ink")
	add(muted, "muted")
	add(axis, "axis")
	add(grid, "rule")
	for i, c := range series {
		add(c, "s"+strconv.Itoa(i))
	}
	// Text is escaped but may spell a color; it stands outside any tag.
	replace := strings.NewReplacer(pairs...)
	var b strings.Builder
	for svg != "" {
		text, rest, _ := strings.Cut(svg, "<")
		b.WriteString(text)
		if rest == "" {
			break
		}
		tag, after, _ := strings.Cut(rest, ">")
		b.WriteString("<" + replace.Replace(tag) + ">")
		svg = after
	}
	return b.String()
}

// textStyle is Liberation Sans at size points.
func textStyle(size vg.Length, c color.Color, bold bool) draw.TextStyle {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return draw.TextStyle{Color: c, Font: f, XAlign: draw.XLeft, YAlign: draw.YTop, Handler: plot.DefaultTextHandler}
}

// newPlot is an empty plot in the house style: a thin x axis, no y axis, and
// horizontal grid lines at the y ticks.
func newPlot(size vg.Length) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Tick.Label.Font = textStyle(size, muted, false).Font
		a.Tick.Label.Color = muted
		a.Label.TextStyle.Font = textStyle(size, muted, false).Font
		a.Label.TextStyle.Color = muted
		a.LineStyle = draw.LineStyle{Color: axis, Width: 0.75}
		a.Tick.LineStyle = draw.LineStyle{Color: axis, Width: 0.75}
		a.Tick.Length = 4
		a.Padding = 6
	}
	p.X.Label.Padding = 4
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width, p.Y.Tick.Length, p.Y.Padding = 0, 0, 0, 4
	g := plotter.NewGrid()
	g.Vertical.Color = nil
	g.Horizontal = draw.LineStyle{Color: grid, Width: 0.75}
	p.Add(g)
	return p
}

// between widens [lo, hi] by the share margin at both ends, within [least, most].
func between(lo, hi, margin, least, most float64) (float64, float64) {
	d := (hi - lo) * margin
	if d == 0 {
		d = max(math.Abs(lo)*margin, 1)
	}
	return max(lo-d, least), min(hi+d, most)
}

// ticks places about n round marks (1, 2 or 5 times a power of ten) in
// [lo, hi], no nearer than step.
func ticks(lo, hi float64, n int, step float64, label func(float64) string) plot.ConstantTicks {
	raw := max((hi-lo)/float64(n), step)
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, f := range []float64{1, 2, 5, 10} {
		step = f * unit
		if step >= raw*0.999 {
			break
		}
	}
	var t plot.ConstantTicks
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9; i++ {
		v := i*step + 0 // never -0
		t = append(t, plot.Tick{Value: v, Label: label(v)})
	}
	return t
}

// logTicks marks 1, 2 and 5 times every power of ten in [lo, hi], lo > 0.
func logTicks(lo, hi float64, label func(float64) string) plot.ConstantTicks {
	var t plot.ConstantTicks
	for d := math.Pow(10, math.Floor(math.Log10(lo))); d <= hi; d *= 10 {
		for _, f := range []float64{1, 2, 5} {
			if v := f * d; v >= lo && v <= hi {
				t = append(t, plot.Tick{Value: v, Label: label(v)})
			}
		}
	}
	return t
}

// short writes a tick of round value without needless digits.
func short(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }

// diamond is a filled square on its corner.
type diamond struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (diamond) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, p vg.Point) {
	r := sty.Radius * 1.2
	c.FillPolygon(sty.Color, []vg.Point{
		{X: p.X - r, Y: p.Y}, {X: p.X, Y: p.Y + r}, {X: p.X + r, Y: p.Y}, {X: p.X, Y: p.Y - r},
	})
}
