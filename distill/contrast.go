package distill

import (
	"errors"
	"math"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
)

// crdMethod is contrastive representation distillation. Pooled features of student
// and teacher go through a linear layer each to vectors v and u of norm 1 and dim numbers. Of each
// net a memory [M,dim] has the vectors of all M training images, as they were met. With
// the student's vector of an image beside the teacher's memory m, x(i) = e^(⟨v, m_i⟩/T)/Z
// and c = K/M,
//
//	-log(x(own)/(x(own) + c + 1e-7)) - Σ over negatives of log(c/(x(i) + c + 1e-7))
//
// and the same with the teacher's vector beside the student's memory; mean over the images.
// The K negatives are images of other classes, drawn anew in each step. Z is the mean of
// the first step's e^(…), times M. After that the image's row becomes (m·momentum + v·(1-momentum)) of
// norm 1. The layers are trained with the student; they and the memories are no part of it.
//
// All M products are computed, and each is counted as often as it was drawn: no rows
// are gathered, and K costs nothing.
var crdMethod = Method{
	Name:    "crd",
	Formula: "-log(x(own)/(x(own) + K/M)) - Σ of K images of other classes log(K/M/(x(i) + K/M)), x(i) = e^(⟨v, m_i⟩/T)/Z, both ways",
	Source:  "Tian, Krishnan and Isola, arXiv:1910.10699; RepDistiller",
	Keys: append([]Key{
		positive("T", "0.07", "temperature"), {Name: "K", Default: "16384", Help: "negatives of an image", least: 1, most: 1 << 20},
		{Name: "dim", Default: "128", Help: "length of the vectors", least: 1, most: 4096},
		{Name: "momentum", Default: "0.5", Help: "the old row's share when the memory is brought up to date", most: 1},
	}, lastPair...),
	Features: true,
	Single:   "the memory is that of one",
	weight:   func(Item) float64 { return 0.8 },
	prepare:  func(i Item, f *features) (term, error) { return f.contrast(i) },
}

// useNegatives keeps the draws of negatives apart from other random numbers.
const useNegatives = random.UseOther + 32

// A contrast is the term, with its memories.
type contrast struct {
	paired
	embed    [2]*layers.Model // of the student and of the teacher
	memory   [2]*engine.Variable
	scale    [2]*engine.Variable // Z
	t        float32
	k        int
	momentum float32
	seed     uint64

	byClass []int   // the training images, class by class
	from    []int   // where each class begins in it, and the end
	class   []int32 // of each training image
	first   []float32
	batches []*drawing
	draw    func(b *data.Batch, batch, n int, times []float32) // the negatives of image n of a batch; nil: at random
}

// A drawing is the data of a batch of a size: its images' rows in the memory, how often each row is drawn as a
// negative of each image [N,M], and which images are the last of their number.
type drawing struct {
	n                int
	own, times, last []float32
}

func (f *features) contrast(i Item) (term, error) {
	if len(f.labels) == 0 {
		return nil, errors.New("the classes of the training images are not known")
	}
	inner, err := relational(nil)(i, f)
	if err != nil {
		return nil, err
	}
	c := &contrast{paired: inner.(*relation).paired, t: i.float("T"), k: int(i.number("K")), momentum: i.float("momentum"), seed: f.seed, class: f.labels, first: []float32{1}}
	if c.sort(); slices.Contains(c.sizes(), len(f.labels)) {
		return nil, errors.New("all training images are of one class; there are no negatives")
	}
	dim := int(i.number("dim"))
	for k, name := range []string{"student", "teacher"} {
		q, o := c.paired[0][0].student, f.student
		if k == 1 {
			q, o = c.paired[0][0].teacher, f.teachers[0]
		}
		width := o.At(q).Shape[3]
		b := layers.NewNetBuilder("projector", layers.Input{Channels: width})
		x := b.Add("distillation.crd."+name+".pool", layers.AdaptiveAvgPool2d{}, layers.Image)
		if c.embed[k], err = f.model(b, b.Add("distillation.crd."+name+".linear", layers.Linear{InFeatures: width, OutFeatures: dim, Bias: true}, x)); err != nil {
			return nil, err
		}
		c.memory[k] = &engine.Variable{Name: "distillation.crd." + name + ".memory", Spec: engine.F32(len(f.labels), dim)}
		c.scale[k] = &engine.Variable{Name: "distillation.crd." + name + ".scale", Spec: engine.F32(1, 1)}
		rows := make([]float32, c.memory[k].Len())
		r, bound := random.New(f.seed, 0, k, useNegatives+1), 1/math.Sqrt(float64(dim)/3)
		for j := range rows {
			rows[j] = float32(r.Uniform(-bound, bound))
		}
		if err := f.store.Set(c.memory[k], engine.Bytes(rows)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// sort puts the images in the order of their classes.
func (c *contrast) sort() {
	classes := int(slices.Max(c.class)) + 1
	by := make([][]int, classes)
	for i, y := range c.class {
		by[y] = append(by[y], i)
	}
	for _, list := range by {
		c.from = append(c.from, len(c.byClass))
		c.byClass = append(c.byClass, list...)
	}
	c.from = append(c.from, len(c.byClass))
}

// sizes are how many images the classes have.
func (c *contrast) sizes() (n []int) {
	for y := range len(c.from) - 1 {
		n = append(n, c.from[y+1]-c.from[y])
	}
	return n
}

func (c *contrast) state() []*engine.Variable {
	return append(append(trained(c.embed[0]), trained(c.embed[1])...), c.memory[0], c.memory[1], c.scale[0], c.scale[1])
}

func (c *contrast) build(call *call) *engine.Value {
	q, n, rows := c.paired[0][0], call.in.Target.Shape[0], len(c.class)
	d := &drawing{n: n, own: make([]float32, n*rows), times: make([]float32, n*rows), last: make([]float32, n)}
	c.batches = append(c.batches, d)
	bind := func(name string, data []float32, shape ...int) *engine.Value {
		return call.in.Bind("distillation.crd."+name, engine.F32(shape...), engine.Bytes(data))
	}
	w := &contrastWriter{call: call, contrast: c, first: bind("first", c.first),
		own: bind("own", d.own, n, rows), times: bind("times", d.times, n, rows), last: bind("last", d.last, n, 1)}
	var v [2]*engine.Value
	for k, x := range []*engine.Value{call.student.At(q.student), call.teachers[0].At(q.teacher)} {
		x = c.embed[k].Build(call.Builder, call.wide(x), true).Logits
		v[k] = call.mul(x, call.of(engine.Reciprocal, call.norms(x)))
	}
	var old [2]*engine.Value
	for k := range old {
		old[k] = call.One(engine.Detach{}, call.Variable(c.memory[k]))
	}
	sum := call.add(w.term(0, v[0], old[1]), w.term(1, v[1], old[0]))
	for k := range old {
		w.remember(k, v[k], old[k])
	}
	return call.scale(call.over(sum, float32(n)), -1)
}

// A contrastWriter writes the two directions of a contrast.
type contrastWriter struct {
	*call
	*contrast
	first, own, times, last *engine.Value
}

// term is the sum over a batch of the logarithms, for vectors beside the memory of
// the other net.
func (w *contrastWriter) term(k int, v, memory *engine.Value) *engine.Value {
	n, rows, c := v.Shape[0], memory.Shape[0], float32(w.k)/float32(memory.Shape[0])
	score := w.over(w.gram(v, memory), w.t)
	drawn := w.sum(w.mul(w.call.of(engine.Exp, score), w.add(w.own, w.times)))
	z := w.shape(w.One(engine.Detach{}, w.mul(w.call.scale(w.over(drawn, float32(n*(w.k+1))), float32(rows)), w.first)), 1, 1)
	z = w.One(engine.Accumulate{K: 1, Weight: 1}, w.first, z, w.Variable(w.contrast.scale[k]))
	log := w.sub(score, w.product(w.fill(1, n, 1), w.spread(w.call.of(engine.Log, z), rows)))
	noisy := w.call.of(engine.Log, w.plus(w.plus(w.call.of(engine.Exp, log), c), 1e-7))
	positive := w.mul(w.own, w.sub(log, noisy))
	constant := w.call.of(engine.Log, w.fill(c, n, rows))
	return w.sum(w.add(positive, w.mul(w.times, w.sub(constant, noisy))))
}

// remember brings the rows of a batch up to date. Of an image that is in it twice the
// last counts.
func (w *contrastWriter) remember(k int, v, old *engine.Value) {
	before := w.product(w.own, old)
	now := w.One(engine.Add{Weights: []float32{w.momentum, 1 - w.momentum}}, before, v)
	now = w.mul(now, w.call.of(engine.Reciprocal, w.norms(now)))
	change := w.One(engine.Detach{}, w.mul(w.sub(now, before), w.last))
	w.One(engine.Accumulate{K: 1, Weight: 1}, w.fill(0), w.One(engine.LinearBackwardWeight{}, w.own, change), w.Variable(w.memory[k]))
}

// tell draws the negatives of a batch.
func (c *contrast) tell(m train.Moment, b *data.Batch) {
	c.first[0] = 0
	if m.Update == 0 {
		c.first[0] = 1
	}
	for _, d := range c.batches {
		if b == nil || b.N != d.n || len(b.Numbers) != d.n {
			continue
		}
		clear(d.own)
		clear(d.times)
		rows := len(c.class)
		for n, at := range b.Numbers {
			d.own[n*rows+int(at)] = 1
			d.last[n] = 1
			for earlier := range n {
				if b.Numbers[earlier] == at {
					d.last[earlier] = 0
				}
			}
			times := d.times[n*rows : (n+1)*rows]
			if c.draw != nil {
				c.draw(b, m.Batch, n, times)
				continue
			}
			c.negatives(m.Batch, n, int(c.class[at]), times)
		}
	}
}

// negatives counts K draws among the images of other classes: each at most once, if
// there are as many (Floyd's algorithm), else with replacement. They are a function of the seed and
// of the batch's number.
func (c *contrast) negatives(batch, n, class int, times []float32) {
	r := random.New(c.seed, batch, n, useNegatives)
	first, size := c.from[class], c.from[class+1]-c.from[class]
	image := func(i int) int {
		if i >= first {
			i += size
		}
		return c.byClass[i]
	}
	others := len(c.class) - size
	if c.k > others {
		for range c.k {
			times[image(r.IntN(others))]++
		}
		return
	}
	for i := others - c.k; i < others; i++ {
		at := image(r.IntN(i + 1))
		if times[at] != 0 {
			at = image(i)
		}
		times[at] = 1
	}
}
