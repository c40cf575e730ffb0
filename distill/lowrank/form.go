package lowrank

import (
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
)

// forms are the ways to take a layer apart.
var forms = []string{"auto", "svd", "spatial", "channel", "tucker"}

// A layer is one that can be taken apart: a Linear, or a Conv2d in one group.
type layer struct {
	name   string
	conv   layers.Conv2d // of a Linear the 1×1 convolution that it is
	linear bool
	weight []float32 // [O,I,KH,KW]
	bias   []float32
	hi, wi int // pixels that it reads, and makes
	ho, wo int

	spectra map[string]*spectrum
}

// A spectrum is a layer's weight as a form sees it.
type spectrum struct {
	d *decomposition
	// of tucker, d is that of the outputs and in that of the inputs
	in *decomposition
}

// A split is a form with its ranks.
type split struct {
	form string
	r    int // of tucker the rank of the outputs
	in   int // of tucker the rank of the inputs
}

func (l *layer) kernel() (kh, kw int) { return l.conv.KernelSize[0], l.conv.KernelSize[1] }

// forms returns those that a layer can take.
func (l *layer) forms(want string) []string {
	kh, kw := l.kernel()
	var can []string
	switch {
	case kh == 1 && kw == 1:
		can = []string{"svd"}
	case kh > 1 && kw > 1:
		can = []string{"spatial", "tucker", "channel"}
	default:
		can = []string{"tucker", "channel"}
	}
	if want == "auto" {
		return can
	}
	if slices.Contains(can, want) {
		return []string{want}
	}
	return nil
}

// unfolded returns the layer's weight as a matrix: with the outputs as rows (svd,
// channel, and tucker), the inputs as rows, or, spatial, (i,y) against (o,x).
func (l *layer) unfolded(how string) matrix {
	o, i := l.conv.OutChannels, l.conv.InChannels
	kh, kw := l.kernel()
	switch how {
	case "in":
		m := newMatrix(i, o*kh*kw)
		for at, v := range l.weight {
			k, p := at/(kh*kw), at%(kh*kw)
			m.at[(k%i)*m.cols+(k/i)*kh*kw+p] = float64(v)
		}
		return m
	case "spatial":
		m := newMatrix(i*kh, o*kw)
		for at, v := range l.weight {
			x, y, c, f := at%kw, at/kw%kh, at/(kw*kh)%i, at/(kw*kh*i)
			m.at[(c*kh+y)*m.cols+f*kw+x] = float64(v)
		}
		return m
	}
	m := newMatrix(o, i*kh*kw)
	for at, v := range l.weight {
		m.at[at] = float64(v)
	}
	return m
}

// spectrum returns the decomposition that a form needs, which is made once.
func (l *layer) spectrum(form string) (*spectrum, error) {
	if s := l.spectra[form]; s != nil {
		return s, nil
	}
	how := form
	if form == "svd" || form == "channel" || form == "tucker" {
		how = "out"
	}
	d, err := decompose(l.unfolded(how))
	if err != nil {
		return nil, err
	}
	s := &spectrum{d: d}
	if form == "tucker" {
		if s.in, err = decompose(l.unfolded("in")); err != nil {
			return nil, err
		}
	}
	if l.spectra == nil {
		l.spectra = make(map[string]*spectrum)
	}
	l.spectra[form] = s
	return s, nil
}

// macs returns the multiply-adds of an image; of the zero split those of the layer
// as it is.
func (l *layer) macs(s split) int64 {
	o, i := l.conv.OutChannels, l.conv.InChannels
	kh, kw := l.kernel()
	out := l.ho * l.wo
	switch s.form {
	case "svd":
		return int64(s.r * (i + o) * out)
	case "spatial":
		return int64(s.r*i*kh*l.ho*l.wi + s.r*o*kw*out)
	case "channel":
		return int64(s.r*i*kh*kw*out + s.r*o*out)
	case "tucker":
		return int64(i*s.in*l.hi*l.wi + s.in*s.r*kh*kw*out + s.r*o*out)
	}
	return int64(o * i * kh * kw * out)
}

// params returns the parameters.
func (l *layer) params(s split) int {
	o, i := l.conv.OutChannels, l.conv.InChannels
	kh, kw := l.kernel()
	n := o * i * kh * kw
	switch s.form {
	case "svd":
		n = s.r * (i + o)
	case "spatial":
		n = s.r * (i*kh + o*kw)
	case "channel":
		n = s.r * (i*kh*kw + o)
	case "tucker":
		n = i*s.in + s.in*s.r*kh*kw + s.r*o
	}
	return n + len(l.bias)
}

// lost returns the share of the squared weights that a split does not keep; of
// tucker an upper bound (De Lathauwer et al., "A multilinear singular value
// decomposition", 2000).
func (l *layer) lost(s split) (float64, error) {
	x, err := l.spectrum(s.form)
	if err != nil {
		return 0, err
	}
	lost := tail(x.d.sigma, s.r)
	if x.in != nil {
		lost += tail(x.in.sigma, s.in)
	}
	return lost, nil
}

// chain returns the modules of a split.
func (l *layer) chain(s split) ([]layers.Step, error) {
	x, err := l.spectrum(s.form)
	if err != nil {
		return nil, err
	}
	o, i := l.conv.OutChannels, l.conv.InChannels
	kh, kw := l.kernel()
	part := func(from, to, h, w int) layers.Conv2d {
		c := layers.Conv(from, to, 1)
		c.KernelSize, c.Bias = layers.Pair{h, w}, false
		return c
	}
	first, last := part(i, s.r, 1, 1), part(s.r, o, 1, 1)
	last.Bias = l.bias != nil
	switch s.form {
	case "svd":
		b, a := x.d.factors(s.r)
		first.Stride, first.Padding = l.conv.Stride, l.conv.Padding
		if l.linear {
			return []layers.Step{
				{Kind: layers.Linear{InFeatures: i, OutFeatures: s.r}, Tensors: map[string][]float32{"weight": single(a.at)}},
				{Kind: layers.Linear{InFeatures: s.r, OutFeatures: o, Bias: last.Bias}, Tensors: l.withBias(single(b.at))},
			}, nil
		}
		first.Dims, last.Dims = l.conv.Dims, l.conv.Dims
		return []layers.Step{step(first, single(a.at)), {Kind: last, Tensors: l.withBias(single(b.at))}}, nil
	case "channel":
		b, a := x.d.factors(s.r)
		first = l.conv
		first.OutChannels, first.Bias = s.r, false
		return []layers.Step{step(first, single(a.at)), {Kind: last, Tensors: l.withBias(single(b.at))}}, nil
	case "spatial":
		b, a := x.d.factors(s.r) // [(i,y),r] and [r,(o,x)]
		p := l.conv.Padding
		first, last = part(i, s.r, kh, 1), part(s.r, o, 1, kw)
		first.Stride, first.Dilation, first.Padding = layers.Pair{l.conv.Stride[0], 1}, layers.Pair{l.conv.Dilation[0], 1}, layers.Pads{p[0], 0, p[2], 0}
		last.Stride, last.Dilation, last.Padding = layers.Pair{1, l.conv.Stride[1]}, layers.Pair{1, l.conv.Dilation[1]}, layers.Pads{0, p[1], 0, p[3]}
		last.Bias = l.bias != nil
		down := make([]float32, s.r*o*kw)
		for r := range s.r {
			for f := range o {
				for c := range kw {
					down[(f*s.r+r)*kw+c] = float32(a.row(r)[f*kw+c])
				}
			}
		}
		return []layers.Step{step(first, single(b.transposed().at)), {Kind: last, Tensors: l.withBias(down)}}, nil
	}
	uo, ui, core, err := l.tucker(s.r, s.in)
	if err != nil {
		return nil, err
	}
	first = part(i, s.in, 1, 1)
	mid := l.conv
	mid.InChannels, mid.OutChannels, mid.Bias = s.in, s.r, false
	return []layers.Step{step(first, single(ui.at)), step(mid, single(core.at)), {Kind: last, Tensors: l.withBias(single(uo.transposed().at))}}, nil
}

func step(c layers.Conv2d, weight []float32) layers.Step {
	return layers.Step{Kind: c, Tensors: map[string][]float32{"weight": weight}}
}

func (l *layer) withBias(weight []float32) map[string][]float32 {
	t := map[string][]float32{"weight": weight}
	if l.bias != nil {
		t["bias"] = l.bias
	}
	return t
}

func single(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// tucker returns the factors of the outputs [r,O] and of the inputs [in,I], rows
// orthonormal, and the core [r, in·KH·KW], by higher-order orthogonal iteration
// (De Lathauwer et al., "On the best rank-1 and rank-(R1,…,RN) approximation of
// higher-order tensors", 2000): each factor in turn is the best for the other, until
// the core's norm grows by less than 1e-6 of itself.
func (l *layer) tucker(r, in int) (uo, ui, core matrix, err error) {
	x, err := l.spectrum("tucker")
	if err != nil {
		return uo, ui, core, err
	}
	kh, kw := l.kernel()
	o, i, k := l.conv.OutChannels, l.conv.InChannels, kh*kw
	if ui, err = x.in.left(in); err != nil {
		return uo, ui, core, err
	}
	w := l.unfolded("out") // [O, I·K]
	norm := 0.0
	for range 20 {
		// Y is W with its inputs seen through ui: [O, in·K].
		y := newMatrix(o, in*k)
		for f := range o {
			for q := range in {
				for c := range i {
					v := ui.at[q*i+c]
					for p := range k {
						y.at[f*in*k+q*k+p] += v * w.at[f*i*k+c*k+p]
					}
				}
			}
		}
		d, err := decompose(y)
		if err != nil {
			return uo, ui, core, err
		}
		if uo, err = d.left(r); err != nil {
			return uo, ui, core, err
		}
		core = uo.times(y)
		now := math.Sqrt(dot(core.at, core.at))
		if now-norm <= 1e-6*now || r == o && in == i {
			break
		}
		norm = now
		// Z is W with its outputs seen through uo: [I, r·K].
		seen := uo.times(w) // [r, I·K]
		z := newMatrix(i, r*k)
		for q := range r {
			for c := range i {
				copy(z.at[c*r*k+q*k:c*r*k+(q+1)*k], seen.at[q*i*k+c*k:q*i*k+(c+1)*k])
			}
		}
		if d, err = decompose(z); err != nil {
			return uo, ui, core, err
		}
		if ui, err = d.left(in); err != nil {
			return uo, ui, core, err
		}
	}
	return uo, ui, core, nil
}
