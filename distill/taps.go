package distill

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// features are the outputs of modules that can be compared: what a method on
// features is prepared with.
type features struct {
	store    *engine.Store
	seed     uint64
	labels   []int32         // of the training images
	student  *engine.Outputs // of one image
	teachers []*engine.Outputs
	nets     []*layers.Net // of the teachers
	graph    *engine.Graph // of them all
	trunk    map[*engine.Value]bool
}

// The keys by which the modules are named.
var tapKeys = []Key{
	word("stages", "all", "which of the pairs, counted from 1, as in 2-4 or 1/3"),
	word("student", "auto", "modules of the student, as in layer2/layer3; auto: the last activation of each resolution"),
	word("teacher", "auto", "modules of the teacher, one for each of the student's"),
}

// A pair names a module of each net.
type pair struct{ student, teacher string }

// Attach prepares what compares features: it finds the modules in the student and
// in the teachers, pairs them, and makes projectors, whose first values go to the
// store. Height and width are those of the student's images.
func (l *Loss) Attach(store *engine.Store, student *layers.Model, height, width int) error {
	if !slices.ContainsFunc(l.spec.Items, func(i Item) bool { return i.Method.Features }) {
		return nil
	}
	b := engine.NewBuilder(engine.NewGraph())
	f := &features{store: store, seed: l.o.Seed, labels: l.o.Labels, graph: b.Graph()}
	image := func(name string, m *layers.Model, h, w int) *engine.Outputs {
		if in := m.Net().Input; in.Height != 0 {
			h, w = in.Height, in.Width
		}
		return m.Build(b, b.Input(name, engine.F32(1, h, w, m.Net().Input.Channels)), false)
	}
	f.student = image("student", student, height, width)
	for k, t := range l.teachers {
		h, w := height, width
		if t.view != nil {
			h, w = t.view.OutSize(height, width)
		}
		f.teachers, f.nets = append(f.teachers, image(fmt.Sprintf("teacher.%d", k), t.model, h, w)), append(f.nets, t.model.Net())
	}
	if err := b.Err(); err != nil {
		return err
	}
	for k, i := range l.spec.Items {
		if !i.Method.Features {
			continue
		}
		t, err := i.Method.prepare(i, f)
		if err != nil {
			return fmt.Errorf("distillation: %s: %w", i.Method.Name, err)
		}
		l.terms[k] = t
	}
	return nil
}

// trunk returns the values through which every path of their net leads: those over
// which no later node reaches back. Nil, without a graph, stands for all.
func trunk(g *engine.Graph) map[*engine.Value]bool {
	if g == nil {
		return nil
	}
	made, last := make(map[*engine.Value]int), make(map[*engine.Value]int) // the nodes that make a value, and read it last
	for at, n := range g.Nodes() {
		for _, v := range n.In {
			if _, known := made[v]; !known { // an image, from its first reader on
				made[v] = at - 1
			}
			if v.Variable() == nil {
				last[v] = at
			}
		}
		for _, v := range n.Out {
			made[v] = at
		}
	}
	open := make([]int, len(g.Nodes())+1) // changes of the number of values that reach over a node
	for v, end := range last {
		if made[v]+1 < end {
			open[made[v]+1]++
			open[end]--
		}
	}
	cut, over := make(map[*engine.Value]bool), 0
	for at, n := range g.Nodes() {
		if over += open[at]; over == 0 {
			for _, v := range n.Out {
				cut[v] = true
			}
		}
	}
	return cut
}

// stages lists the last activation of each resolution, of the outputs through which
// every path of the net leads, or the last such output where none is an activation.
// Outputs of one pixel are left out.
func (f *features) stages(o *engine.Outputs) (names []string) {
	if f.trunk == nil {
		f.trunk = trunk(f.graph)
	}
	at, act := make(map[[2]int]int), make(map[[2]int]bool)
	for _, name := range o.Modules() {
		v := o.At(name)
		_, h, w, _, ok := v.NHWC()
		if !ok || h*w <= 1 || f.trunk != nil && !f.trunk[v] {
			continue
		}
		size, active := [2]int{h, w}, false
		if n := v.Node(); n != nil {
			_, active = n.Op.(engine.Activation)
		}
		k, known := at[size]
		switch {
		case !known:
			at[size], act[size] = len(names), active
			names = append(names, name)
		case active || !act[size]:
			names[k], act[size] = name, active
		}
	}
	return names
}

// pairs returns the modules to compare for a teacher: those that are named, or the
// stages whose outputs have one size.
func (f *features) pairs(i Item, teacher int) ([]pair, error) {
	named := func(key string, o *engine.Outputs) ([]string, error) {
		text := i.text(key)
		if text == "auto" {
			return nil, nil
		}
		list := strings.Split(text, "/")
		for _, name := range list {
			v := o.At(name)
			if v == nil {
				return nil, fmt.Errorf("the %s has no module %q; potstill summary lists the modules", key, name)
			}
			if len(v.Shape) != 4 {
				return nil, fmt.Errorf("the output of the %s's %s is %v and no image", key, name, v.Spec)
			}
		}
		return list, nil
	}
	t := f.teachers[teacher]
	own, err := named("student", f.student)
	if err != nil {
		return nil, err
	}
	its, err := named("teacher", t)
	if err != nil {
		return nil, err
	}
	var all []pair
	switch {
	case own != nil && its != nil:
		if len(own) != len(its) {
			return nil, fmt.Errorf("%d modules of the student and %d of the teacher are named; name as many", len(own), len(its))
		}
		for k := range own {
			all = append(all, pair{own[k], its[k]})
		}
	case own != nil || its != nil:
		return nil, errors.New("modules of one net are named; name those of both, or of neither")
	default:
		if all, err = f.match(t); err != nil {
			return nil, err
		}
	}
	return choose(all, i.text("stages"))
}

// match pairs the stages of the two nets by size.
func (f *features) match(t *engine.Outputs) (all []pair, err error) {
	own, its := f.stages(f.student), f.stages(t)
	for _, s := range own {
		for _, n := range its {
			a, b := f.student.At(s), t.At(n)
			if a.Shape[1] == b.Shape[1] && a.Shape[2] == b.Shape[2] {
				all = append(all, pair{s, n})
			}
		}
	}
	if all == nil {
		return nil, fmt.Errorf("no stage of the student (%s) has the size of one of the teacher (%s); name modules, as in student=%s,teacher=…",
			listed(f.student, own), listed(t, its), strings.Join(own, "/"))
	}
	return all, nil
}

// listed is the modules with the sizes of their outputs.
func listed(o *engine.Outputs, names []string) string {
	var all []string
	for _, n := range names {
		s := o.At(n).Shape
		all = append(all, fmt.Sprintf("%s %dx%dx%d", n, s[3], s[1], s[2]))
	}
	return strings.Join(all, ", ")
}

// choose takes the pairs of a list of numbers: all, the last, 2-4 or 1/3.
func choose(all []pair, text string) ([]pair, error) {
	switch text {
	case "all":
		return all, nil
	case "last":
		return all[len(all)-1:], nil
	case "middle":
		k := (len(all) - 1) / 2
		return all[k : k+1], nil
	}
	var out []pair
	for _, part := range strings.Split(text, "/") {
		first, last, ranged := strings.Cut(part, "-")
		a, err := strconv.Atoi(first)
		b := a
		if err == nil && ranged {
			b, err = strconv.Atoi(last)
		}
		if err != nil || a < 1 || b < a || b > len(all) {
			var have []string
			for k, p := range all {
				have = append(have, fmt.Sprintf("%d: %s and %s", k+1, p.student, p.teacher))
			}
			return nil, fmt.Errorf("stages=%s: there are %s", text, strings.Join(have, "; "))
		}
		out = append(out, all[a-1:b]...)
	}
	return out, nil
}

// A paired is the pairs of all teachers, one list each.
type paired [][]pair

// pair finds the pairs of every teacher.
func (f *features) pair(i Item) (paired, error) {
	var out paired
	for k := range f.teachers {
		p, err := f.pairs(i, k)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// pairing names the pairs.
func (p paired) pairing() string {
	var all []string
	for _, list := range p {
		for _, q := range list {
			all = append(all, q.student+" like "+q.teacher)
		}
	}
	return strings.Join(all, ", ")
}

func (paired) state() []*engine.Variable { return nil }

// compare is the mean over the teachers of the sum over their pairs.
func (c *call) compare(p paired, of func(teacher, at int, s, t *engine.Value) *engine.Value) *engine.Value {
	return c.average(func(k int) *engine.Value {
		var all []*engine.Value
		for at, q := range p[k] {
			all = append(all, of(k, at, c.wide(c.student.At(q.student)), c.wide(c.teachers[k].At(q.teacher))))
		}
		return c.One(engine.Add{}, all...)
	})
}

// level takes two maps to one size: the larger is averaged.
func (c calc) level(s, t *engine.Value) (*engine.Value, *engine.Value) {
	pool := func(x *engine.Value, h, w int) *engine.Value {
		if x.Shape[1] == h && x.Shape[2] == w {
			return x
		}
		return c.One(engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Pair{h, w}}}, x)
	}
	h, w := min(s.Shape[1], t.Shape[1]), min(s.Shape[2], t.Shape[2])
	return pool(s, h, w), pool(t, h, w)
}

// flat is a map's elements as a row, [N,H,W,C] to [N,H·W·C].
func (c calc) flat(x *engine.Value) *engine.Value {
	return c.shape(x, x.Shape[0], x.Len()/x.Shape[0])
}

// pooled is the mean of each channel, [N,H,W,C] to [N,C].
func (c calc) pooled(x *engine.Value) *engine.Value { return c.One(engine.GlobalAvgPool{}, x) }
