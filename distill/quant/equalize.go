package quant

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
)

// A segment is a set of modules whose outputs hold the same channels, with nothing
// between them that could not be scaled channel by channel: what is divided by s
// where it is made can be multiplied by s where it is read.
type segment struct {
	group *layers.Group
	// makers and takers are the uses of the group by layers that make what is in the
	// segment, along the axis of their outputs, and by those that read it.
	makers, takers []layers.Use
	// tops are the largest magnitudes of the units' values, and top that of all at
	// the start; nil where nothing is known of them.
	tops []float32
	top  float32
}

// homogeneous reports whether f(x/s) = f(x)/s for every s > 0 a channel.
func homogeneous(k layers.Kind) bool {
	switch k.(type) {
	case layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.Add, layers.Concat, layers.MaxPool2d, layers.AvgPool2d,
		layers.AdaptiveAvgPool2d, layers.AdaptiveMaxPool2d, layers.Flatten, layers.Dropout, layers.ChannelShuffle, layers.Slice, layers.StochasticDepth:
		return true
	}
	return false
}

// segments returns the parts of a net's channel groups whose channels can be
// scaled. A group is what pruning cuts together; a depthwise convolution, whose
// inputs and outputs are one group, parts it, for its weight can take what differs.
func segments(n *layers.Net) ([]segment, error) {
	groups, err := n.Groups()
	if err != nil {
		return nil, err
	}
	shared := sharedTensors(n)
	var out []segment
	for i := range groups {
		g := &groups[i]
		for _, names := range partsOf(n, g) {
			if s, ok := segmentOf(n, g, names, shared); ok {
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// sharedTensors are the names of those that several modules have.
func sharedTensors(n *layers.Net) map[string]bool {
	met, shared := map[string]bool{}, map[string]bool{}
	for i := range n.Modules {
		for _, p := range n.Modules[i].Params() {
			name := n.Modules[i].Tensor(p.Role)
			shared[name] = met[name]
			met[name] = true
		}
	}
	return shared
}

// partsOf returns the modules that hold a group's channels, in parts that are
// connected by other modules than layers with weights.
func partsOf(n *layers.Net, g *layers.Group) [][]string {
	part := make(map[string]int)
	var parts [][]string
	for _, name := range g.Through {
		m := n.Module(name)
		at := -1
		if m != nil && roleOf(m.Kind) != weighted {
			for _, from := range m.In {
				old, ok := part[from]
				switch {
				case !ok || old == at:
				case at < 0:
					at = old
				default: // it joins two
					for _, x := range parts[old] {
						part[x] = at
					}
					parts[at], parts[old] = append(parts[at], parts[old]...), nil
				}
			}
		}
		if at < 0 {
			at = len(parts)
			parts = append(parts, nil)
		}
		part[name] = at
		parts[at] = append(parts[at], name)
	}
	return slices.DeleteFunc(parts, func(p []string) bool { return p == nil })
}

// segmentOf returns the segment of these modules, if their channels can be scaled.
func segmentOf(n *layers.Net, g *layers.Group, names []string, shared map[string]bool) (segment, bool) {
	s := segment{group: g}
	uses := func(module string, axis int) []layers.Use {
		var out []layers.Use
		for _, u := range g.Uses {
			if u.Module == module && u.Axis == axis {
				out = append(out, u)
			}
		}
		return out
	}
	for _, name := range names {
		m := n.Module(name)
		if m == nil || name == n.Output {
			return s, false // the image, or the logits
		}
		if roleOf(m.Kind) == weighted {
			s.makers = append(s.makers, uses(name, 0)...)
		} else if !homogeneous(m.Kind) {
			return s, false
		}
	}
	for i := range n.Modules {
		m := &n.Modules[i]
		reads := slices.ContainsFunc(m.In, func(from string) bool { return slices.Contains(names, from) })
		if !reads {
			continue
		}
		switch {
		case depthwise(m.Kind):
			for _, u := range uses(m.Name, 0) {
				if u.Role == "weight" {
					s.takers = append(s.takers, u)
				}
			}
		case roleOf(m.Kind) == weighted:
			s.takers = append(s.takers, uses(m.Name, 1)...)
		case !slices.Contains(names, m.Name) && slices.Contains(g.Through, m.Name), !homogeneous(m.Kind):
			return s, false
		}
	}
	for _, u := range append(slices.Clone(s.makers), s.takers...) {
		if shared[u.Tensor] {
			return s, false
		}
	}
	return s, len(s.makers) > 0 && len(s.takers) > 0
}

// depthwise reports whether each input channel of a convolution has outputs of its own.
func depthwise(k layers.Kind) bool {
	c, ok := k.(layers.Conv2d)
	return ok && c.Groups == c.InChannels && c.Groups > 1
}

// along calls each for every number of a tensor that belongs to a unit of a use.
func along(e *layers.Entry, u *layers.Use, each func(unit int, v *float32)) {
	inner := 1
	for _, d := range e.Shape[u.Axis+1:] {
		inner *= d
	}
	for i := range e.Data {
		if unit := u.At[i/inner%e.Shape[u.Axis]]; unit >= 0 {
			each(int(unit), &e.Data[i])
		}
	}
}

// ranges returns the largest magnitude of a unit's weights over some uses.
func (s *segment) ranges(state layers.StateDict, uses []layers.Use) []float32 {
	out := make([]float32, s.group.Size)
	for i := range uses {
		if uses[i].Role == "weight" {
			along(state.Find(uses[i].Tensor), &uses[i], func(u int, v *float32) { out[u] = max(out[u], *v, -*v) })
		}
	}
	return out
}

// balance scales the units of a segment by s = √(r1/r2), r1 being the largest weight
// that makes the unit and r2 the largest that reads it: both become √(r1·r2). A unit
// of which either is 0 stays. No unit's values become larger than the largest were at
// the start, because all of them share a range. It returns the largest |log s|.
func (s *segment) balance(state layers.StateDict) float64 {
	made, read := s.ranges(state, s.makers), s.ranges(state, s.takers)
	scale := make([]float64, s.group.Size)
	most := 0.0
	for u := range scale {
		scale[u] = 1
		if made[u] > 0 && read[u] > 0 && (s.tops == nil || s.tops[u] > 0) {
			scale[u] = math.Sqrt(float64(made[u]) / float64(read[u]))
			if s.tops != nil {
				scale[u] = max(scale[u], float64(s.tops[u])/float64(s.top))
				s.tops[u] = float32(float64(s.tops[u]) / scale[u])
			}
			most = max(most, math.Abs(math.Log(scale[u])))
		}
	}
	for i := range s.makers {
		along(state.Find(s.makers[i].Tensor), &s.makers[i], func(u int, v *float32) { *v = float32(float64(*v) / scale[u]) })
	}
	for i := range s.takers {
		along(state.Find(s.takers[i].Tensor), &s.takers[i], func(u int, v *float32) { *v = float32(float64(*v) * scale[u]) })
	}
	return most
}

// Equalize returns a state with which a net whose batch norms are folded computes
// the same, and in which the weights of a channel have the same range where the
// channel is made and where it is read: cross-layer equalization (Nagel et al.,
// "Data-Free Quantization Through Weight Equalization and Bias Correction",
// arXiv:1906.04721). It goes over all channel groups again and again, until no
// channel is scaled by more than a thousandth. It returns the number of segments.
//
// Values, where they are given, are the largest magnitudes of the outputs of layers,
// by layer and channel. Then a channel is scaled up at most until its values are as
// large as the largest of its segment: without that, a channel of tiny weights and a
// large bias would take the range of all. One whose values are all 0 stays.
func Equalize(n *layers.Net, state layers.StateDict, values map[string][]float32) (layers.StateDict, int, error) {
	list, err := segments(n)
	if err != nil {
		return nil, 0, err
	}
	out := cloneState(state)
	if values != nil {
		for i := range list {
			list[i].bound(values)
		}
	}
	const sweeps = 40
	for range sweeps {
		most := 0.0
		for i := range list {
			most = max(most, list[i].balance(out))
		}
		if most < 1e-3 {
			break
		}
	}
	return out, len(list), nil
}

// bound notes how large the units' values are.
func (s *segment) bound(values map[string][]float32) {
	s.tops = make([]float32, s.group.Size)
	for i := range s.makers {
		u := &s.makers[i]
		if v := values[u.Module]; u.Role == "weight" && len(v) == len(u.At) {
			for c, unit := range u.At {
				if unit >= 0 {
					s.tops[unit] = max(s.tops[unit], v[c])
				}
			}
		}
	}
	s.top = slices.Max(s.tops)
}

// largest returns the largest magnitudes of the outputs of layers with weights on the
// pictures, by channel; behind a ReLU that alone reads a layer, where there is one.
func (w *work) largest() (map[string][]float32, error) {
	behind := make(map[string]string) // the value that counts for a layer
	var names []string
	for i := range w.net.Modules {
		m := &w.net.Modules[i]
		if roleOf(m.Kind) != weighted {
			continue
		}
		at, readers := m.Name, 0
		for k := range w.net.Modules {
			if r := &w.net.Modules[k]; slices.Contains(r.In, m.Name) {
				if readers++; roleOf(r.Kind) == clips {
					at = r.Name
				}
			}
		}
		if readers > 1 {
			at = m.Name
		}
		behind[m.Name], names = at, append(names, at)
	}
	tops := make(map[string][]float32)
	err := w.observeFloat(names, func(got map[string]seen) {
		for name, v := range got {
			c := v.channels()
			if tops[name] == nil {
				tops[name] = make([]float32, c)
			}
			for i, x := range v.data {
				tops[name][i%c] = max(tops[name][i%c], x, -x)
			}
		}
	})
	out := make(map[string][]float32)
	for name, at := range behind {
		out[name] = tops[at]
	}
	return out, err
}

// equalize is the step of a quantization. ReLU6 cannot be scaled; where hardly
// anything reaches 6 it becomes a ReLU first, as its effect is then that of the
// range alone.
func (w *work) equalize() error {
	if err := w.openReLU6(); err != nil {
		return err
	}
	values, err := w.largest()
	if err != nil {
		return err
	}
	state, n, err := Equalize(w.net, w.state, values)
	if err != nil {
		return err
	}
	if w.state = state; n == 0 {
		w.report.Notes = append(w.report.Notes, "there are no channels between layers that could be equalized")
	}
	return nil
}

// mostClipped is the share of a ReLU6's values that may lie at 6 for it to become a
// ReLU.
const mostClipped = 0.001

// openReLU6 replaces ReLU6 by ReLU where few values are cut off.
func (w *work) openReLU6() error {
	var names []string
	for i := range w.net.Modules {
		if _, ok := w.net.Modules[i].Kind.(layers.ReLU6); ok {
			names = append(names, w.net.Modules[i].Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	cut, all := make(map[string]int), make(map[string]int)
	err := w.observeFloat(names, func(got map[string]seen) {
		for name, v := range got {
			for _, x := range v.data {
				if x >= 6 {
					cut[name]++
				}
			}
			all[name] += len(v.data)
		}
	})
	if err != nil {
		return err
	}
	opened := 0
	modules := slices.Clone(w.net.Modules)
	for i := range modules {
		name := modules[i].Name
		if n := all[name]; n > 0 && float64(cut[name]) <= mostClipped*float64(n) {
			modules[i].Kind = layers.ReLU{}
			opened++
		}
	}
	net := *w.net
	net.Modules = modules
	w.net = &net
	w.report.Notes = append(w.report.Notes, fmt.Sprintf("%d of %d ReLU6 became ReLU; %g of the values of the others, or more, lie at 6", opened, len(names), mostClipped))
	return nil
}
