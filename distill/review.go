package distill

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// reviewMethod is knowledge review: the student's features, and their mean as a map of one
// pixel, are fused from the deepest to the first. With r the fused map of the level
// below, enlarged to the size of f by repeating pixels, and [a, b] = σ(Conv(x, r)) an
// attention of two channels:
//
//	x = BatchNorm(Conv1x1(f))    r ← a·x + b·r    y = BatchNorm(Conv3x3(r))
//
// y has the teacher's width. The loss of a level is the mean of (y - f_t)² and of the
// same after averaging to 4, 2 and 1 pixels, the k-th with weight 2⁻ᵏ, over the sum of
// the weights. All convolutions are trained with the student and are no part of it.
var reviewMethod = Method{
	Name:     "reviewkd",
	Formula:  "Σ over levels of the mean (y - f_t)² at the sizes h, 4, 2, 1, y fused from deep to shallow",
	Source:   "Chen, Liu, Zhao and Jia, arXiv:2104.09044; mdistiller, where the weight is 1 to 8 and rises over 20 of 240 epochs",
	Keys:     tapKeys,
	Features: true,
	Single:   "the fusion is toward one",
	prepare: func(i Item, f *features) (term, error) {
		p, err := f.pair(i)
		if err != nil {
			return nil, err
		}
		return f.review(p)
	},
}

// A level is the fusion at one resolution: three small nets.
type level struct{ in, attention, out *layers.Model }

type review struct {
	paired
	levels []level // of the pairs, and the last of the pooled features
}

// maxReview bounds the width of the fused maps.
const maxReview = 512

func (f *features) review(p paired) (term, error) {
	list := p[0]
	r := &review{paired: p}
	last := list[len(list)-1]
	middle := min(maxReview, f.student.At(last.student).Shape[3])
	for k := range len(list) + 1 {
		q := list[min(k, len(list)-1)]
		s, t := f.student.At(q.student).Shape, f.teachers[0].At(q.teacher).Shape
		l, err := f.level(fmt.Sprintf("distillation.reviewkd.%d", k+1), s[3], middle, t[3], k < len(list))
		if err != nil {
			return nil, err
		}
		r.levels = append(r.levels, l)
	}
	return r, nil
}

func (f *features) level(name string, in, middle, out int, fused bool) (l level, err error) {
	conv := func(name string, from, to, kernel int) (*layers.Model, error) {
		k := layers.Conv(from, to, kernel)
		k.Bias, k.Padding = false, layers.Around(kernel/2)
		b := layers.NewNetBuilder("projector", layers.Input{Channels: from})
		x := b.Add(name+".conv", k, layers.Image)
		m, err := f.model(b, b.Add(name+".bn", layers.BatchNorm(to), x))
		if err == nil {
			err = widen(f.store, m)
		}
		return m, err
	}
	if l.in, err = conv(name+".in", in, middle, 1); err != nil {
		return l, err
	}
	if l.out, err = conv(name+".out", middle, out, 3); err != nil || !fused {
		return l, err
	}
	b := layers.NewNetBuilder("projector", layers.Input{Channels: 2 * middle})
	x := b.Add(name+".attention.conv", layers.Conv(2*middle, 2, 1), layers.Image)
	l.attention, err = f.model(b, b.Add(name+".attention.sigmoid", layers.Sigmoid{}, x))
	return l, err
}

// widen multiplies the first weights of a convolution by √3: kaiming_uniform with
// a = 1, in place of PyTorch's default of √5.
func widen(store *engine.Store, m *layers.Model) error {
	v := m.Variables()[0]
	w := make([]float32, v.Len())
	if err := store.Get(v, engine.Bytes(w)); err != nil {
		return err
	}
	for i := range w {
		w[i] *= float32(math.Sqrt(3))
	}
	return store.Set(v, engine.Bytes(w))
}

func (r *review) build(c *call) *engine.Value {
	list := r.paired[0]
	var fused *engine.Value
	var sum []*engine.Value
	for k := len(list); k >= 0; k-- {
		q := list[min(k, len(list)-1)]
		s, t := c.wide(c.student.At(q.student)), c.wide(c.teachers[0].At(q.teacher))
		if k == len(list) {
			pool := engine.GlobalAvgPool{KeepDims: true}
			s, t = c.One(pool, s), c.One(pool, t)
		}
		x := r.levels[k].in.Build(c.Builder, s, true).Logits
		if k < len(list) {
			below := c.enlarged(fused, x.Shape[1], x.Shape[2])
			z := r.levels[k].attention.Build(c.Builder, c.One(engine.Concat{}, x, below), true).Logits
			a, b := c.One(engine.Slice{Start: 0, End: 1}, z), c.One(engine.Slice{Start: 1, End: 2}, z)
			x = c.add(c.mul(x, a), c.mul(below, b))
		}
		fused = x
		y, t := c.level(r.levels[k].out.Build(c.Builder, x, true).Logits, t)
		sum = append(sum, c.pyramid(y, t))
	}
	return c.One(engine.Add{}, sum...)
}

// enlarged repeats the pixels of a map [N,h,w,C] until it has H rows of W: pixel (i, j)
// is that at (⌊i·h/H⌋, ⌊j·w/W⌋), PyTorch's interpolation "nearest".
func (c *call) enlarged(x *engine.Value, height, width int) *engine.Value {
	n, h, w, channels, _ := x.NHWC()
	to := engine.F32(n, height, width, channels)
	switch {
	case h == height && w == width:
		return x
	case height%h == 0 && width%w == 0: // a mean's gradient, times the pixels of a window
		op := engine.AdaptiveAvgPool2DBackward{Adaptive: engine.Adaptive{Size: engine.Pair{h, w}}, X: to}
		return c.scale(c.One(op, x), float32(height/h*(width/w)))
	}
	flat := c.shape(c.One(engine.Flatten{}, x), n*channels, h*w)
	flat = c.product(flat, c.nearest(h, w, height, width))
	return c.One(engine.FlattenBackward{X: to}, c.shape(flat, n, channels*height*width))
}

// nearest is the matrix [h·w,H·W] whose columns choose a pixel each.
func (c *call) nearest(h, w, height, width int) *engine.Value {
	name := fmt.Sprintf("distillation.nearest.%dx%d.%dx%d", h, w, height, width)
	if v := c.Graph().Input(name); v != nil {
		return v
	}
	data := make([]float32, h*w*height*width)
	for i := range height {
		for j := range width {
			data[(i*h/height*w+j*w/width)*height*width+i*width+j] = 1
		}
	}
	return c.in.Bind(name, engine.F32(h*w, height*width), engine.Bytes(data))
}

// pyramid is the loss of a level.
func (c calc) pyramid(y, t *engine.Value) *engine.Value {
	values, weights, total, share := []*engine.Value{c.One(engine.MSE{}, y, t)}, []float32{1}, float32(1), float32(1)
	for _, size := range []int{4, 2, 1} {
		if size >= y.Shape[1] {
			continue
		}
		share /= 2
		total += share
		pool := engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Both(size)}}
		values, weights = append(values, c.One(engine.MSE{}, c.One(pool, y), c.One(pool, t))), append(weights, share)
	}
	return c.over(c.One(engine.Add{Weights: weights}, values...), total)
}

func (r *review) state() (vars []*engine.Variable) {
	for _, l := range r.levels {
		vars = append(append(vars, trained(l.in)...), trained(l.out)...)
		if l.attention != nil {
			vars = append(vars, trained(l.attention)...)
		}
	}
	return vars
}
