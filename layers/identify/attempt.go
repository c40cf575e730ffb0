package identify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// An attempt is one way of giving the file's tensors places in a family.
type attempt struct {
	t       *template
	net     *layers.Net
	netErr  error
	sizes   []int           // of the template's groups
	shapes  [][]int         // of the slots, with these sizes; nil where netErr
	places  []*named.Tensor // for each slot
	left    []*named.Tensor // without a place, in the file's order
	lenient bool            // tensors may be left over
}

// problem returns the first thing that does not fit, nil where all does.
func (a *attempt) problem() *Error {
	if a.netErr != nil {
		return &Error{Nearest: a.t.net.String(), Reason: a.netErr.Error()}
	}
	for i, s := range a.t.slots {
		t := a.places[i]
		if t == nil && s.counter {
			continue
		}
		if t == nil {
			return &Error{Nearest: a.t.net.String(), Reason: fmt.Sprintf("%s %v is missing", s.name, a.shapes[i])}
		}
		if why := s.refuses(t, a.shapes[i]); why != "" {
			return &Error{Nearest: a.t.net.String(), Tensor: t.Name, Reason: "tensor " + named.Quote(t.Name) + why}
		}
	}
	if len(a.left) > 0 && !a.lenient {
		t := a.left[0]
		return &Error{Nearest: a.t.net.String(), Tensor: t.Name,
			Reason: fmt.Sprintf("tensor %s %v has no place in it", named.Quote(t.Name), t.Shape)}
	}
	return nil
}

// refuses says why t, of the file, cannot be this slot's tensor of the given
// shape; "" where it can.
func (s *slot) refuses(t *named.Tensor, shape []int) string {
	as := ""
	if t.Name != s.name {
		as = " as " + s.name
	}
	switch {
	case s.counter && t.Len() == 1 && len(t.Int)+len(t.Float) > 0:
		if _, ok := count(t); !ok {
			return fmt.Sprintf(" is %g, it needs a whole number%s", t.Float[0], as)
		}
		return ""
	case s.counter:
		return fmt.Sprintf(" is %s %v, it needs one number%s", t.DType, t.Shape, as)
	case !slices.Equal(t.Shape, shape):
		return fmt.Sprintf(" is %v, it needs %v%s", t.Shape, shape, as)
	case len(t.Float) != t.Len():
		return fmt.Sprintf(" holds %s, it needs floats%s", t.DType, as)
	}
	return ""
}

// count returns the value of a counter exactly, which files of other programs
// may store as a float; false if that is no integer of 64 bits.
func count(t *named.Tensor) (int64, bool) {
	if len(t.Int) > 0 {
		return t.Int[0], true
	}
	v := float64(t.Float[0])
	switch {
	case len(t.Double) > 0:
		v = t.Double[0]
	case t.Coded && t.Min == t.Max:
		v = t.Min
	}
	if v != math.Trunc(v) || v < -1<<63 || v >= 1<<63 {
		return 0, false
	}
	return int64(v), true
}

// score is the share of tensors, the family's and the file's, that have found
// each other.
func (a *attempt) score() float64 {
	good := 0
	for i, s := range a.t.slots {
		t := a.places[i]
		switch {
		case t == nil:
		case a.shapes != nil && s.refuses(t, a.shapes[i]) == "", a.shapes == nil && a.resembles(&s, t):
			good++
		}
	}
	return float64(good) / float64(len(a.t.slots)+len(a.left))
}

// resembles reports whether t has the outputs and the kernel of a slot, in a net
// that cannot be built.
func (a *attempt) resembles(s *slot, t *named.Tensor) bool {
	switch {
	case len(t.Shape) != len(s.shape):
		return false
	case len(t.Shape) == 0:
		return true
	case len(t.Shape) == 4 && !slices.Equal(t.Shape[2:], s.shape[2:]):
		return false
	}
	return t.Shape[0] == s.length(0, a.sizes)
}

// explain says why the file is of no family, of which this attempt came nearest.
func (a *attempt) explain(tensors []named.Tensor) error {
	const near = 0.1
	if a == nil || a.score() < near {
		t := &tensors[0]
		return &Error{Tensor: t.Name, Reason: fmt.Sprintf("its %d tensors, of which the first is %s %v, are a net of no known family and near none",
			len(tensors), named.Quote(t.Name), t.Shape)}
	}
	e := a.problem()
	e.Reason = fmt.Sprintf("it is a net of no known family; it comes nearest to %s, but %s", a.t.net.String(), e.Reason)
	return e
}

// match returns the net of an attempt that has no problem.
func (a *attempt) match() (*Match, error) {
	m := &Match{Net: a.net}
	missing, wide := 0, 0
	for i, s := range a.t.slots {
		t := a.places[i]
		e := layers.Entry{Name: s.name, Shape: a.shapes[i]}
		switch {
		case t == nil:
			missing++
			e.Int = []int64{0}
		case !s.counter:
			e.Data = t.Float
		default:
			n, _ := count(t)
			e.Int = []int64{n}
		}
		if t != nil && t.Name != s.name {
			m.Renamed = append(m.Renamed, Renaming{t.Name, s.name})
		}
		if t != nil && !s.counter && slices.ContainsFunc(t.Double, func(v float64) bool { return float64(float32(v)) != v }) {
			wide++
		}
		m.State, m.Sources = append(m.State, e), append(m.Sources, t)
	}
	if n := len(m.Renamed); n > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d tensors were matched by order and shape: %s is %s, and so on", n, named.Plain(m.Renamed[0].From), m.Renamed[0].To))
	}
	if missing > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d counters of batches (num_batches_tracked) are missing and start at 0", missing))
	}
	if wide > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("%d tensors of float64 were rounded to float32", wide))
	}
	m.leftOut(a.left)
	return m, nil
}

// matchBeside is match with a note where tensors whose names tell nothing fit
// other nets as well.
func (a *attempt) matchBeside(others []*attempt) (*Match, error) {
	m, err := a.match()
	if err != nil {
		return nil, err
	}
	var as []string
	for _, o := range others {
		if !o.net.Equal(a.net) {
			as = append(as, o.net.Family)
		}
	}
	if len(as) > 0 {
		m.Notes = append(m.Notes, fmt.Sprintf("it is taken for a %s, but its tensors fit %s as well; if that is meant, name it with --arch", a.net.Family, strings.Join(as, ", ")))
	}
	return m, nil
}

// leftOut notes tensors that were left out.
func (m *Match) leftOut(left []*named.Tensor) {
	if n := len(left); n > 0 {
		what := fmt.Sprintf("%d tensors that %s does not have were", n, m.Net)
		if n == 1 {
			what = fmt.Sprintf("a tensor that %s does not have was", m.Net)
		}
		m.LeftOut = what + " left out: " + listed(left)
		m.Notes = append(m.Notes, m.LeftOut)
	}
}

// listed names the first few tensors.
func listed(ts []*named.Tensor) string {
	const few = 3
	var names []string
	for _, t := range ts[:min(few, len(ts))] {
		names = append(names, named.Plain(t.Name))
	}
	text := strings.Join(names, ", ")
	if n := len(ts) - few; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
