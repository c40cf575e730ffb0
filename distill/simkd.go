package distill

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// simkdMethod has the student take over its teacher's classifier, see [Reuse]. Of the last feature
// maps f of the two nets, and the projector P that the student keeps,
//
//	mean (P(f_s) - f_t)²
//
// over images, channels and pixels. It is meant to be the only term: the labels have no weight
// unless ce gives them one.
var simkdMethod = Method{
	Name:     "simkd",
	Formula:  "mean (P(f_s) - f_t)², P a projector that stays in the student, before the teacher's classifier",
	Source:   "Chen, Mei, Zhang, Wang, Feng and Chen, arXiv:2203.14001; SimKD",
	Keys:     []Key{{Name: "factor", Default: "2", Help: "what the projector's inner channels are the teacher's by", least: 1, most: 1024}},
	Features: true,
	Single:   "its classifier is reused",
	prepare: func(_ Item, f *features) (term, error) {
		p := pair{student: projected}
		if f.student.At(p.student) == nil {
			return nil, errors.New("the student has no projector and no classifier of its teacher; distill.Reuse gives it both")
		}
		var err error
		p.teacher, _, err = f.nets[0].Classifier()
		return &relation{paired{{p}}, func(c *call, s, t *engine.Value) *engine.Value {
			s, t = c.level(s, t)
			return c.One(engine.MSE{}, s, t)
		}}, err
	},
}

// The names of what a student takes over: containers, as PyTorch would say.
const (
	projector = "projector"
	projected = projector + ".8" // its output
	// Reused is that of the teacher's classifier, which is not trained.
	Reused = "teacher"
)

// Reuses reports whether the loss trains a student with its teacher's classifier: see [Reuse].
func (s Spec) Reuses() bool {
	return slices.ContainsFunc(s.Items, func(i Item) bool { return i.Method == &simkdMethod })
}

// Reuse returns the rewrite that makes a net the student of the method simkd: its own classifier
// (layers.Net.Classifier) goes, and in its place come a projector to the teacher's last feature map, of
// C channels and H×W pixels, and the teacher's classifier with the teacher's values. The projector is
//
//	Conv1x1(C/factor), BatchNorm, ReLU, Conv3x3(C/factor), BatchNorm, ReLU, Conv1x1(C), BatchNorm, ReLU
//
// behind an average to H×W, or to what the student has where that is less. Convolutions
// have no bias. Their weights start as they do in layers.Model.Init, drawn from the seed. Images
// of the student have the height and width of size, and those of the teacher of its own.
func (s Spec) Reuse(teacher *layers.Net, values layers.StateDict, size, own [2]int, seed uint64) layers.Rewrite {
	return func(n *layers.Net, state layers.StateDict) (*layers.Net, layers.StateDict, error) {
		modules, kept, err := s.reused(n, teacher, values, size, own)
		if err != nil {
			return nil, nil, fmt.Errorf("distillation: %s: %w", simkdMethod.Name, err)
		}
		return layers.ReplaceClassifier(modules, kept, seed)(n, state)
	}
}

// reused returns the modules of projector and classifier, with the latter's values.
func (s Spec) reused(n, teacher *layers.Net, values layers.StateDict, size, own [2]int) ([]layers.Module, layers.StateDict, error) {
	if quantized, _ := n.Quantized(); quantized {
		return nil, nil, fmt.Errorf("the student %s has quantizers; quantize it when it is trained", n)
	}
	for _, name := range []string{projector, Reused} {
		if slices.ContainsFunc(n.Modules, func(m layers.Module) bool { return layers.Fits(name, m.Name) }) {
			return nil, nil, fmt.Errorf("the student %s has modules named %s already, as after a run of this method; start from another file, or leave the method out", n, name)
		}
	}
	teacher, values, err := layers.WithoutFakes(teacher, values)
	if err != nil {
		return nil, nil, err
	}
	from, _, err := n.Classifier()
	if err != nil {
		return nil, nil, err
	}
	its, classifier, err := teacher.Classifier()
	if err != nil {
		return nil, nil, err
	}
	a, err := shapeOf(n, from, size)
	if err != nil {
		return nil, nil, err
	}
	b, err := shapeOf(teacher, its, own)
	if err != nil {
		return nil, nil, err
	}
	item := s.Items[slices.IndexFunc(s.Items, func(i Item) bool { return i.Method == &simkdMethod })]
	out := projectorModules(from, a, b, int(item.number("factor")))
	tail, kept := renamed(classifier, its, values)
	return append(out, tail...), kept, nil
}

// shapeOf returns the shape of a module's output for one image, [1,H,W,C].
func shapeOf(n *layers.Net, module string, size [2]int) ([]int, error) {
	m, err := n.Model()
	if err != nil {
		return nil, err
	}
	if in := n.Input; in.Height != 0 {
		size = [2]int{in.Height, in.Width}
	}
	b := engine.NewBuilder(engine.NewGraph())
	o := m.Build(b, b.Input("image", engine.F32(1, size[0], size[1], n.Input.Channels)), false)
	if err := b.Err(); err != nil {
		return nil, err
	}
	return o.At(module).Shape, nil
}

// projectorModules are those of the projector between feature maps of the shapes s and t.
func projectorModules(from string, s, t []int, factor int) (out []layers.Module) {
	add := func(name string, k layers.Kind) {
		out = append(out, layers.Module{Name: name, In: []string{from}, Kind: k})
		from = name
	}
	if h, w := min(s[1], t[1]), min(s[2], t[2]); h != s[1] || w != s[2] {
		add(projector+".pool", layers.AdaptiveAvgPool2d{OutputSize: layers.Pair{h, w}, KeepDims: true})
	}
	at, channels, middle := 0, s[3], max(t[3]/factor, 1)
	for _, c := range []struct{ to, kernel int }{{middle, 1}, {middle, 3}, {t[3], 1}} {
		conv := layers.Conv(channels, c.to, c.kernel)
		conv.Bias, conv.Padding = false, layers.Around(c.kernel/2)
		for _, k := range []layers.Kind{conv, layers.BatchNorm(c.to), layers.ReLU{}} {
			add(fmt.Sprintf("%s.%d", projector, at), k)
			at++
		}
		channels = c.to
	}
	return out
}

// renamed returns a classifier that reads the projector in place of the map of a name, under the name Reused, with
// its values. Without dropout: it does what it does in evaluation.
func renamed(modules []layers.Module, features string, values layers.StateDict) (out []layers.Module, kept layers.StateDict) {
	reads := map[string]string{features: projected}
	for i := range modules {
		m := modules[i]
		in := reads[m.In[0]]
		if _, dropout := m.Kind.(layers.Dropout); dropout && i < len(modules)-1 {
			reads[m.Name] = in
			continue
		}
		for _, p := range m.Params() {
			if e := values.Find(m.Tensor(p.Role)); e != nil {
				own := *e
				own.Name = Reused + "." + e.Name
				kept = append(kept, own)
			}
		}
		m.Tensors = maps.Clone(m.Tensors)
		for role, tensor := range m.Tensors {
			m.Tensors[role] = Reused + "." + tensor
		}
		name := Reused + "." + m.Name
		reads[m.Name], m.Name, m.In = name, name, []string{in}
		out = append(out, m)
	}
	return out, kept
}
