package distill

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// fitnetMethod takes hints: the student's features go through a projector to the
// width of the teacher's,
//
//	mean (P(f_s) - f_t)²,  P = ReLU(BatchNorm(Conv(f_s)))
//
// The convolution is of one pixel where the sizes are equal, 3x3 with stride 2 where the student's are
// twice the teacher's, and else as large as takes one to the other. Where the teacher's features are
// larger, they are averaged to the student's size. The projector is trained with the student, and
// is no part of it.
var fitnetMethod = Method{
	Name:     "fitnet",
	Formula:  "Σ over pairs of mean (P(f_s) - f_t)², P = ReLU(BatchNorm(Conv))",
	Source:   "Romero et al., arXiv:1412.6550; mdistiller",
	Keys:     append([]Key{word("stages", "middle", "which of the pairs, counted from 1, as in 2-4 or 1/3; middle")}, tapKeys[1:]...),
	Features: true,
	weight:   func(Item) float64 { return 100 },
	prepare: func(i Item, f *features) (term, error) {
		p, err := f.pair(i)
		if err != nil {
			return nil, err
		}
		h := &hints{paired: p}
		for k, list := range p {
			var models []*layers.Model
			for at, q := range list {
				m, err := f.projector(fmt.Sprintf("fitnet.%d.%d", k+1, at+1), f.student.At(q.student).Shape, f.teachers[k].At(q.teacher).Shape)
				if err != nil {
					return nil, err
				}
				models = append(models, m)
			}
			h.projectors = append(h.projectors, models)
		}
		return h, nil
	},
}

type hints struct {
	paired
	projectors [][]*layers.Model
}

func (h *hints) build(c *call) *engine.Value {
	return c.compare(h.paired, func(k, at int, s, t *engine.Value) *engine.Value {
		s = h.projectors[k][at].Build(c.Builder, s, true).Logits
		_, t = c.level(s, t)
		return c.One(engine.MSE{}, s, t)
	})
}

func (h *hints) state() (vars []*engine.Variable) {
	for _, list := range h.projectors {
		for _, m := range list {
			vars = append(vars, trained(m)...)
		}
	}
	return vars
}

// trained returns the variables of a projector that a step changes: all but the
// counters of its batch norms.
func trained(m *layers.Model) (vars []*engine.Variable) {
	for _, v := range m.Variables() {
		if v.DType == engine.Float32 {
			vars = append(vars, v)
		}
	}
	return vars
}

// projector makes one for features of the shapes [1,H,W,C]. Its first weights are
// PyTorch's, drawn from the run's seed and its name.
func (f *features) projector(name string, s, t []int) (*layers.Model, error) {
	conv := layers.Conv(s[3], t[3], 1)
	switch {
	case s[1] == 2*t[1] && s[2] == 2*t[2]:
		conv.KernelSize, conv.Stride, conv.Padding = layers.Both(3), layers.Both(2), layers.Around(1)
	case s[1] > t[1] && s[2] > t[2]:
		conv.KernelSize = layers.Pair{1 + s[1] - t[1], 1 + s[2] - t[2]}
	}
	b := layers.NewNetBuilder("projector", layers.Input{Channels: s[3]})
	x := b.Add("distillation."+name+".conv", conv, layers.Image)
	x = b.Add("distillation."+name+".bn", layers.BatchNorm(t[3]), x)
	return f.model(b, b.Add("distillation."+name+".relu", layers.ReLU{}, x))
}

// model makes a projector of a net and sets its first weights.
func (f *features) model(b *layers.NetBuilder, output string) (*layers.Model, error) {
	m, err := b.Function(output).Function()
	if err != nil {
		return nil, err
	}
	return m, m.Init(f.store, f.seed)
}
