package prune

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
)

// A member is a part of a tensor that goes with the channels of a group.
type member struct {
	use   *layers.Use
	face  face
	norm  bool // of a BatchNorm2d
	entry *layers.Entry
	// shared says that one column stands for the channels of all groups of a
	// grouped convolution.
	shared bool
}

// members returns those of a group in the order of execution: weights and scales.
// Biases and statistics go too, but do not count.
func members(n *layers.Net, s layers.StateDict, g *layers.Group) []member {
	var list []member
	for i := range g.Uses {
		u := &g.Uses[i]
		if u.Role != "weight" {
			continue
		}
		m := member{use: u, entry: s.Find(u.Tensor)}
		switch k := n.Module(u.Module).Kind.(type) {
		case layers.Conv2d:
			switch {
			case k.Groups > 1 && k.Groups == k.InChannels:
				m.face = depthwise
			case u.Axis == 1:
				m.face, m.shared = in, k.Groups > 1
			}
		case layers.Linear:
			if u.Axis == 1 {
				m.face = in
			}
		case layers.BatchNorm2d:
			m.face, m.norm = scale, true
		case layers.LayerNorm2d, layers.GroupNorm, layers.InstanceNorm2d, layers.ScaleShift:
			m.face = scale
		default:
			continue // a slope says nothing of a channel's weight
		}
		list = append(list, m)
	}
	return list
}

// statistics are what data tell of a net, by the names of its tensors.
type statistics struct {
	// of are values of the shape of a tensor: gradients, or mean squares of them.
	of map[string][]float32
	// read is the mean size of each channel, or feature, that a module reads.
	read map[string][]float64
}

// A scorer tells how much the units of a group matter.
type scorer struct {
	net       *layers.Net
	state     layers.StateDict
	criterion Criterion
	reduce    string
	normalize string
	stats     *statistics
	seed      uint64
	compat    bool
}

// score returns the importance of each unit of a group, the i-th of the net; nil
// where the criterion says nothing of it.
func (s *scorer) score(i int, g *layers.Group) ([]float64, error) {
	if s.criterion.Name == "random" {
		r := random.New(s.seed, i, 0, random.UseOther)
		scores := make([]float64, g.Size)
		for k := range scores {
			scores[k] = r.Float64()
		}
		return scores, nil
	}
	all, err := s.channels(g)
	if err != nil || all == nil {
		return nil, err
	}
	scores := make([]float64, g.Size)
	for c, v := range all {
		scores[c%g.Size] += v / float64(g.Width)
	}
	for u, v := range scores {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("the importance of unit %d of %s is %g; choose another criterion or normalization", u, g.Name, v)
		}
	}
	return scores, nil
}

// channels returns the importance of each channel of a group, normalized: of
// channel l of unit u at l·Size+u. It is nil where the criterion says nothing.
func (s *scorer) channels(g *layers.Group) ([]float64, error) {
	var parts [][]float64
	for _, m := range members(s.net, s.state, g) {
		if !s.criterion.counts(m.face, m.norm) || s.compat && !compatCounts(s.criterion, m, s.net) {
			continue
		}
		along, err := s.along(&m)
		if err != nil {
			return nil, err
		}
		parts = append(parts, m.spread(g, along))
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return normalize(reduce(parts, s.reduce), s.normalize), nil
}

// spread adds what is said of the indices of a member's axis to the channels that
// lie there.
func (m *member) spread(g *layers.Group, along []float64) []float64 {
	part := make([]float64, g.Size*g.Width)
	for at, unit := range m.use.At {
		switch {
		case unit < 0:
		case m.shared:
			for lane := range g.Width {
				part[lane*g.Size+int(unit)] += along[at]
			}
		case m.use.Lane != nil:
			part[int(m.use.Lane[at])*g.Size+int(unit)] += along[at]
		default:
			part[unit] += along[at]
		}
	}
	return part
}

// along returns what the criterion says of each index of a member's axis.
func (s *scorer) along(m *member) ([]float64, error) {
	switch s.criterion.Name {
	case "fpgm":
		return distances(m, s.compat), nil
	case "activation":
		read := s.stats.read[m.use.Module]
		if m.face == depthwise { // an output channel reads one input channel
			each := len(m.use.At) / len(read)
			along := make([]float64, len(m.use.At))
			for i := range along {
				along[i] = read[i/each]
			}
			return along, nil
		}
		if m.shared { // the mean over the groups
			along := make([]float64, len(m.use.At))
			for i, v := range read {
				along[i%len(along)] += v * float64(len(along)) / float64(len(read))
			}
			return along, nil
		}
		return read, nil
	}
	along := make([]float64, len(m.use.At))
	if err := s.addTo(along, m.entry, m.use.Axis); err != nil {
		return nil, err
	}
	// A scale's shift moves with it, and first and second order see it.
	if m.face == scale && s.criterion.need != nothing && !s.compat {
		if bias := s.state.Find(m.use.Module + ".bias"); bias != nil && len(bias.Data) == len(along) {
			if err := s.addTo(along, bias, 0); err != nil {
				return nil, err
			}
		}
	}
	return along, nil
}

// addTo adds what the elements of a tensor contribute to the indices of an axis.
func (s *scorer) addTo(along []float64, e *layers.Entry, axis int) error {
	var g []float32
	if s.criterion.need != nothing {
		if g = s.stats.of[e.Name]; len(g) != len(e.Data) {
			return fmt.Errorf("%s has no gradient, by which %s ranks", e.Name, s.criterion.Name)
		}
	}
	inner := 1
	for _, d := range e.Shape[axis+1:] {
		inner *= d
	}
	n, each := e.Shape[axis], s.criterion.each
	for at := 0; at < len(e.Data); at += inner {
		sum := 0.0
		for k := at; k < at+inner; k++ {
			d := 0.0
			if g != nil {
				d = float64(g[k])
			}
			sum += each(float64(e.Data[k]), d)
		}
		along[at/inner%n] += sum
	}
	return nil
}

// distances returns, of every row or column of a member that is of the group, the
// sum of its Euclidean distances to the others: filters near the geometric median
// can be replaced by the rest (He et al., "Filter Pruning via Geometric Median",
// arXiv:1811.00250). With squares, as Torch-Pruning has it, the elements are squared
// first.
func distances(m *member, squares bool) []float64 {
	var rows [][]float32
	var index []int
	for i, unit := range m.use.At {
		if unit >= 0 {
			rows = append(rows, vector(m.entry, m.use.Axis, i, squares))
			index = append(index, i)
		}
	}
	along := make([]float64, len(m.use.At))
	for i, a := range rows {
		for k := range i {
			d := distance(a, rows[k])
			along[index[i]] += d
			along[index[k]] += d
		}
	}
	return along
}

func distance(a, b []float32) float64 {
	sum := 0.0
	for len(a) > 0 {
		n := min(len(a), 256) // sums of float32 stay short
		part := float32(0)
		for i, v := range a[:n] {
			d := v - b[i]
			part += d * d
		}
		sum += float64(part)
		a, b = a[n:], b[n:]
	}
	return math.Sqrt(sum)
}

// vector returns the elements of one index of an axis.
func vector(e *layers.Entry, axis, index int, squares bool) []float32 {
	inner := 1
	for _, d := range e.Shape[axis+1:] {
		inner *= d
	}
	row := e.Shape[axis] * inner
	var v []float32
	for at := index * inner; at < len(e.Data); at += row {
		v = append(v, e.Data[at:at+inner]...)
	}
	if squares {
		for i, x := range v {
			v[i] = x * x
		}
	}
	return v
}
