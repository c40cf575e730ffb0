package onnxnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// An input is the graph's: images, whose sizes may be open (0).
type input struct {
	name       string
	n, c, h, w int
	nhwc       bool
	other      error // that Options name another size than the file
}

const fixInput = "give the size of its images, as in --input 3x224x224"

// image returns the graph's only input.
func (g *graph) image() (input, error) {
	ins := g.model.Inputs
	switch {
	case len(ins) == 0:
		return input{}, named.Refused("export the classifier with its image as input", "it has no input")
	case len(ins) > 1:
		return input{}, named.Refused("export the classifier alone, with one input", "it has %d inputs (%s); a classifier has one, the image", len(ins), outputNames(ins))
	}
	in := input{name: ins[0].Name}
	if t := ins[0].DType; t != "" && t != "float32" && t != "float16" && t != "bfloat16" && t != "float64" {
		return in, named.Refused("export it with an input of float32", "its input %s is of type %s; images are floats", named.Plain(in.name), t)
	}
	d := ins[0].Dims
	if !ins[0].HasShape {
		return in, nil
	}
	if len(d) != 4 {
		return in, named.Refused("export a classifier of images [N,C,H,W]", "its input %s has the shape %v, which is no batch of images", named.Plain(in.name), d)
	}
	size := func(i int) int { return max(d[i], 0) }
	in.n, in.c, in.h, in.w = size(0), size(1), size(2), size(3)
	// Exporters of TensorFlow keep channels last: few channels there, and no few before.
	if few := func(c int) bool { return c >= 1 && c <= 4 }; few(d[3]) && !few(d[1]) {
		in.nhwc = true
		in.h, in.w, in.c = size(1), size(2), size(3)
	}
	return in, nil
}

// with returns the sizes of the images as the file and the options tell them.
func (in input) with(o Options) (input, error) {
	for _, p := range []struct {
		what        string
		file        *int
		given, most int
	}{{"channels", &in.c, o.Channels, 1 << 14}, {"pixels of height", &in.h, o.Height, 1 << 14}, {"pixels of width", &in.w, o.Width, 1 << 14}} {
		switch {
		case *p.file == 0:
			*p.file = p.given
		case p.given != 0 && p.given != *p.file:
			in.other = named.Refused("leave --input out, or export it for another size", "its images have %d %s, not %d", *p.file, p.what, p.given)
			if p.file == &in.c {
				return in, in.other
			}
		}
		if *p.file > p.most {
			return in, named.Refused(fixSimplify, "its images have %d %s; at most %d are taken", *p.file, p.what, p.most)
		}
	}
	if in.n > 1<<16 {
		return in, named.Refused("export it with an open batch", "its batch is of %d images", in.n)
	}
	if in.c == 0 {
		return in, named.Refused(fixInput, "it does not say how many channels its images have")
	}
	return in, nil
}

// A draft is a translation for images of one size.
type draft struct {
	t   *translator
	out *act
	net *layers.Net
}

// Sizes on which a graph of open sizes is tried: of other remainders by two, so
// that pads which depend on the size differ.
var trials = [2][2]int{{224, 224}, {257, 241}}

// anySize translates the graph. The net takes images of any size if it is the
// same for two of them, and those of its size only if not.
func (g *graph) anySize(in, size input, left map[*onnxread.Node]bool) (*draft, error) {
	open := size.h == 0 || size.w == 0
	one, two := size, size
	if open {
		one.h, one.w = trials[0][0], trials[0][1]
		two.h, two.w = trials[1][0], trials[1][1]
	} else {
		two.h, two.w = size.h+33, size.w+17
	}
	first, err := g.draft(one, left)
	if err != nil {
		var f *named.FormatError
		if open && errors.As(err, &f) {
			return nil, &named.FormatError{Reason: f.Reason, Fix: f.Fix + "; its height and width are open: " + fixInput}
		}
		return nil, err
	}
	second, err := g.draft(two, left)
	if err == nil && first.same(second) {
		n := *first.net
		n.Input.Height, n.Input.Width = 0, 0
		if n.Validate() == nil {
			first.net = &n
			return first, nil
		}
	}
	if open {
		return nil, named.Refused(fixInput, "its height and width are open, and the net depends on them")
	}
	return first, nil
}

// draft translates the graph for images of a size: for batches of two where the
// file leaves that open, so that axes are not mistaken for the batch, or of one.
func (g *graph) draft(in input, left map[*onnxread.Node]bool) (*draft, error) {
	if in.n > 0 {
		return g.draftOf(in, left)
	}
	in.n = 2
	d, err := g.draftOf(in, left)
	if err != nil {
		in.n = 1
		if d, err := g.draftOf(in, left); err == nil {
			return d, nil
		}
	}
	return d, err
}

func (g *graph) draftOf(in input, left map[*onnxread.Node]bool) (*draft, error) {
	g.fold.left = maxFolded // what the last draft took is free again
	t := &translator{graph: g, values: make(map[string]value), left: left}
	a := image(nil, in.n, in.h, in.w, in.c)
	if in.nhwc {
		x := a.axes
		a.axes = []axis{x[0], x[2], x[3], x[1]}
	}
	t.values[in.name] = value{a: a}
	if err := t.run(); err != nil {
		return nil, err
	}
	out, err := t.logits(g.model.Outputs[0].Name)
	if err != nil {
		return nil, err
	}
	t.tidy([]*act{out})
	n, err := t.net(layers.Input{Channels: in.c, Height: in.h, Width: in.w}, out.from)
	if err != nil {
		var f *named.FormatError
		if errors.As(err, &f) {
			return nil, err
		}
		return nil, named.Refused(fixSimplify, "it becomes no net: %v", err)
	}
	return &draft{t, out, n}, nil
}

// logits returns the graph's output as [N,classes].
func (t *translator) logits(name string) (*act, error) {
	a := t.values[name].a
	if a == nil {
		return nil, named.Refused(fixSimplify, "its output %s does not depend on the image", named.Plain(name))
	}
	n := &onnxread.Node{Op: "Flatten", Out: []string{name}}
	shape := a.shape()
	if n := t.maker[name]; n != nil && a.from == nil {
		return nil, named.Refused(fixSimplify, "its output %s is the image itself", named.Plain(name))
	}
	bad := named.Refused("export a classifier, whose output is [N,classes]", "its output %s of %v is not logits of [N,classes]", named.Plain(name), shape)
	if len(shape) < 2 || a.h*a.w > 1 || shape[0] != a.n || volume(shape[1:]) != a.c {
		return nil, bad
	}
	a, err := t.settled(n, a)
	if err != nil || !a.is(0, batch) || !slices.Equal(atoms(a.axes[1:]), whole(channel, a.c)) {
		return nil, bad
	}
	return t.flatten(n, a), nil
}

// same reports whether two drafts are the same net with the same weights.
func (d *draft) same(e *draft) bool {
	other := *e.net
	other.Input = d.net.Input
	x, err1 := json.Marshal(d.net)
	y, err2 := json.Marshal(&other)
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) || len(d.t.mods) != len(e.t.mods) {
		return false
	}
	for i, m := range d.t.mods {
		if !slices.EqualFunc(m.data, e.t.mods[i].data, func(a, b weight) bool {
			return a.role == b.role && slices.Equal(a.shape, b.shape) && slices.Equal(a.data, b.data)
		}) {
			return false
		}
	}
	return true
}

// result returns the draft's net and weights.
func (d *draft) result(*graph) (*Result, error) {
	s, err := d.t.state(d.net)
	if err != nil {
		return nil, named.Refused(fixSimplify, "it becomes no net: %v", fmt.Sprint(err))
	}
	return &Result{Net: d.net, State: s}, nil
}
