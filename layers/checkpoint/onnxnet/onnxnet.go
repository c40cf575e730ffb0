package onnxnet

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// Options say what a file does not.
type Options struct {
	// Channels, Height and Width are those of the images, where the file leaves
	// them open. Zeros leave them open here, too.
	Channels, Height, Width int
}

// UnmarshalText reads channels, height and width, as in 3x224x224.
func (o *Options) UnmarshalText(text []byte) error {
	var n [3]int
	parts := strings.Split(string(text), "x")
	ok := len(parts) == len(n)
	for i := 0; ok && i < len(n); i++ {
		v, err := strconv.Atoi(parts[i])
		n[i], ok = v, err == nil && v > 0 && v <= 1<<14
	}
	if !ok {
		return fmt.Errorf("%q is no size of an image: give channels, height and width, as in 3x256x256", text)
	}
	*o = Options{Channels: n[0], Height: n[1], Width: n[2]}
	return nil
}

// A Result is the net that a file holds.
type Result struct {
	Net   *layers.Net
	State layers.StateDict
	// Height and Width are those of the images that the file names, 0 where it
	// leaves them open. The net may take others, too: see layers.Net.Input.
	Height, Width int
	// Notes say, a line each, what was recognized, folded and left off.
	Notes []string
}

// noNode is a node without attributes.
var noNode = &onnxread.Node{}

// Import translates a model into a net with its weights. What is not understood
// is a [named.FormatError] that names the node and its operator.
func Import(m *onnxread.Model, o Options) (*Result, error) {
	g, err := newGraph(m)
	if err != nil {
		return nil, err
	}
	in, err := g.image()
	if err != nil {
		return nil, err
	}
	if len(m.Outputs) != 1 {
		return nil, named.Refused("keep the logits alone (onnx.utils.extract_model)", "it has %d outputs (%s), not one", len(m.Outputs), outputNames(m.Outputs))
	}
	size, err := in.with(o)
	if err != nil {
		return nil, err
	}
	left := g.tail()
	d, err := g.anySize(in, size, left)
	if err != nil {
		return nil, err
	}
	if size.other != nil && d.net.Input.Height != 0 {
		return nil, size.other
	}
	r, err := d.result(g)
	if err != nil {
		return nil, err
	}
	r.Height, r.Width = size.h, size.w
	r.Notes = g.notes(r, in, left)
	return r, nil
}

// NoBatchNorms is the note of a file with convolutions and no normalization, unless it
// has quantizers, with which batch norms stay folded.
const NoBatchNorms = "it has no batch norms, which exporters fold away"

// notes tell what became of the file.
func (g *graph) notes(r *Result, in input, left map[*onnxread.Node]bool) []string {
	var notes []string
	for n := range left {
		notes = append(notes, fmt.Sprintf("%s at the end is left off: the net's output are its logits", n.Op))
	}
	total := len(g.model.Nodes)
	notes = append(notes, fmt.Sprintf("%d nodes became %d modules; %d of them were constants and are folded", total, len(r.Net.Modules), g.folded))
	var found []string
	for _, name := range slices.Sorted(maps.Keys(g.found)) {
		found = append(found, fmt.Sprintf("%s (%d)", name, g.found[name]))
	}
	if len(found) > 0 {
		notes = append(notes, "written out in the file, and recognized: "+strings.Join(found, ", "))
	}
	if bare(r.Net) {
		notes = append(notes, NoBatchNorms)
	}
	if in.nhwc {
		notes = append(notes, "its images are [N,H,W,C]: the transposes between the layouts are gone")
	}
	return notes
}

// bare reports whether a net in float32 has convolutions and no normalization.
func bare(n *layers.Net) bool {
	if quantized, _ := n.Quantized(); quantized {
		return false
	}
	convs := 0
	for i := range n.Modules {
		switch n.Modules[i].Kind.(type) {
		case layers.Conv2d:
			convs++
		case layers.BatchNorm2d, layers.LayerNorm2d, layers.GroupNorm:
			return false
		}
	}
	return convs > 0
}

// outputNames joins the names of a graph's inputs or outputs.
func outputNames(infos []onnxread.Info) string {
	const most = 8
	var names []string
	for i, info := range infos {
		if i == most {
			names = append(names, "…")
			break
		}
		names = append(names, named.Plain(info.Name))
	}
	return strings.Join(names, ", ")
}

// tail finds the Softmax from which the output follows without any arithmetic:
// classifiers are trained on the logits before it.
func (g *graph) tail() map[*onnxread.Node]bool {
	readers := g.readers()
	left := make(map[*onnxread.Node]bool)
	for name := g.model.Outputs[0].Name; readers[name] == 1; {
		n := g.maker[name]
		if n == nil || len(n.In) == 0 {
			break
		}
		switch n.Op {
		case "Softmax", "LogSoftmax":
			left[n] = true
			return left
		case "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast":
			name = n.In[0]
			continue
		}
		break
	}
	return left
}

// net makes a net of the modules, whose output is that of out.
func (t *translator) net(in layers.Input, out *mod) (*layers.Net, error) {
	b, err := t.builder(in)
	if err != nil {
		return nil, err
	}
	return b.Net(out.String())
}

// builder writes the modules down.
func (t *translator) builder(in layers.Input) (*layers.NetBuilder, error) {
	nameAll(t.mods)
	b := layers.NewNetBuilder("", in)
	shared := make(map[*float32]string)
	for _, m := range t.mods {
		kind, err := m.layer()
		if err != nil {
			return nil, refused(m.node, err)
		}
		from := make([]string, len(m.in))
		for i, f := range m.in {
			from[i] = f.String()
		}
		b.Add(m.name, kind, from...)
		for role, k := range m.fakes {
			b.Fake(role, k.fake())
		}
		for _, w := range m.data {
			if len(w.shape) < 2 || len(w.data) == 0 {
				continue // vectors are often one constant where they are equal by chance
			}
			if first, ok := shared[&w.data[0]]; ok {
				b.Share(w.role, first)
			} else {
				shared[&w.data[0]] = m.name + "." + w.role
			}
		}
	}
	return b, nil
}

// String returns the name of a module, and that of the image for none.
func (m *mod) String() string {
	if m == nil {
		return layers.Image
	}
	return m.name
}

// layer returns the kind of a module with its settings.
func (m *mod) layer() (layers.Kind, error) {
	settings, err := json.Marshal(m.set)
	if err != nil {
		return nil, err
	}
	if m.set == nil {
		settings = []byte("{}")
	}
	return layers.DecodeKind(m.kind, settings)
}

// state returns the modules' tensors in the net's order.
func (t *translator) state(n *layers.Net) (layers.StateDict, error) {
	var s layers.StateDict
	done := make(map[string]bool)
	for i := range n.Modules {
		m, made := &n.Modules[i], t.mods[i]
		for _, p := range m.Params() {
			name := m.Tensor(p.Role)
			if done[name] {
				continue // shared
			}
			done[name] = true
			e := layers.Entry{Name: name}
			k := slices.IndexFunc(made.data, func(w weight) bool { return w.role == p.Role })
			switch {
			case k >= 0:
				e.Shape, e.Data = made.data[k].shape, made.data[k].data
			case made.quantizer(p.Role) != nil:
				e.Data = made.quantizer(p.Role)
				e.Shape = []int{len(e.Data)}
			case p.Role == "num_batches_tracked":
				e.Shape, e.Int = []int{}, []int64{0}
			}
			// A scale [C] may be [C,1,1] in PyTorch.
			if want := p.Layout.Torch(p.Spec.Shape); k >= 0 && volume(want) == len(e.Data) {
				e.Shape = want
			}
			s = append(s, e)
		}
	}
	return s, n.CheckState(s)
}

// quantizer returns the scales or the zero points of a module's quantizer, by the role
// of their tensor.
func (m *mod) quantizer(role string) []float32 {
	for of, k := range m.fakes {
		switch role {
		case layers.ScaleRole(of):
			return k.scale
		case layers.ZeroRole(of):
			return k.zero
		}
	}
	return nil
}
