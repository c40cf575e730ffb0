package identify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// A Match is the net that tensors were found to be.
type Match struct {
	Net *layers.Net // with the file's widths, classes and channels
	// State holds the tensors under PyTorch's names of the net, in the order of
	// its state_dict. Data may share memory with the tensors.
	State layers.StateDict
	// Sources holds for each entry of State the tensor that it was taken from,
	// nil for a counter that the file lacks.
	Sources []*named.Tensor
	// Renamed lists the tensors whose names differ, in the order of State.
	Renamed []Renaming
	// Notes say, a line each, what else was done.
	Notes []string
	// LeftOut is the one of the Notes that tells of tensors which were left out;
	// "" if none were.
	LeftOut string
}

// A Renaming is a tensor's name in the file, and the family's.
type Renaming struct{ From, To string }

// An Error says why tensors are not a net of a family.
type Error struct {
	// Nearest is the family that comes nearest; "" where none is near.
	Nearest string
	// Tensor is the name, in the file, of the tensor that does not fit; ""
	// where one is missing.
	Tensor string
	Reason string
	// Hint is what to do about it, known to work; "" where nothing is known.
	Hint string
}

// Error implements error.
func (e *Error) Error() string { return e.Reason }

// maxTensors is more than any file of a known family holds, with an
// optimizer's state beside it.
const maxTensors = 1 << 14

// Identify returns the net that the tensors are. Beside it there may be what is
// no part of a net's arithmetic: see harmless. The error is an [*Error] that
// names the tensor that does not fit and the family that comes nearest, or the
// nets if there are several.
func Identify(tensors []named.Tensor) (*Match, error) {
	if err := tooMany(tensors); err != nil {
		return nil, err
	}
	fs, err := families()
	if err != nil {
		return nil, err
	}
	file := newContent(tensors)
	a, others, err := whole(fs, file)
	switch {
	case err != nil:
		return nil, err
	case a != nil:
		return a.matchBeside(others)
	}
	if m, err := identifyPart(tensors, fs); m != nil || err != nil {
		return m, err
	}
	return nil, explain(fs, file)
}

// explain says why a file is of no family, and which comes nearest.
func explain(fs []*family, file *content) error {
	const few = 3 // outlines that look alike are looked at more closely
	var best *attempt
	for _, f := range nearest(fs, file, few) {
		t, err := f.template()
		if err != nil {
			return err
		}
		for _, way := range ways {
			if a := t.try(file, way, nil); best == nil || a.score() > best.score() {
				best = a
			}
		}
	}
	return best.explain(file.tensors)
}

// IdentifyAs returns the tensors as the net of a.Family. Widths, classes and
// channels that a gives must be the file's; those that it leaves open follow
// from the shapes. Unlike Identify it leaves out tensors that the family does
// not have, and notes them.
func IdentifyAs(a layers.Arch, tensors []named.Tensor) (*Match, error) {
	full := a
	full.Classes = cmp.Or(a.Classes, 2)
	n, err := full.Net()
	if err != nil {
		return nil, err
	}
	groups, err := n.Groups()
	if err != nil {
		return nil, err
	}
	want := make(map[string]int)
	for _, g := range groups {
		switch {
		case g.Name == layers.Image && a.InChannels != 0, g.Name == n.Head().Name && a.Classes != 0,
			g.Fixed == "" && (a.Widths != nil || a.Base != 0):
			want[g.Name] = g.Size
		}
	}
	m, err := identifyAs(n, want, tensors)
	if err == nil && m.LeftOut != "" {
		err = otherFamily(a.Family, tensors)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// otherFamily is the complaint about tensors that all are those of a family's
// net, of which another family has a part: those of a deeper net.
func otherFamily(name string, tensors []named.Tensor) error {
	fs, err := families()
	if err != nil {
		return err
	}
	a, _, err := whole(fs, newContent(tensors))
	if err != nil || a == nil || a.net.Family == name {
		return err
	}
	return &Error{Nearest: a.net.Family, Hint: "leave --arch out",
		Reason: fmt.Sprintf("it is not a %s: its tensors are those of a %s, and all of them", name, a.net.Family)}
}

// IdentifyNet returns the tensors as those of a net whose sizes may be other
// than n's, as those of a pruned net are. Tensors that n does not have are left
// out, and noted.
func IdentifyNet(n *layers.Net, tensors []named.Tensor) (*Match, error) {
	return identifyAs(n, nil, tensors)
}

func identifyAs(n *layers.Net, want map[string]int, tensors []named.Tensor) (*Match, error) {
	if err := tooMany(tensors); err != nil {
		return nil, err
	}
	t, err := newTemplate(n)
	if err != nil {
		return nil, err
	}
	best := t.lenient(newContent(tensors), ways[:], want)
	if best.problem() == nil && len(best.left) == 0 {
		return best.match()
	}
	nets := findNets(tensors, func(c *content) *attempt { return t.lenient(c, ways[:byNames], want) })
	if len(nets) == 0 && best.problem() == nil {
		nets = []found{{at: best, left: best.left}}
	}
	switch {
	case len(nets) > 1:
		return nil, several(nets)
	case len(nets) == 1:
		return nets[0].alone(t, want)
	}
	e := best.problem()
	return nil, &Error{Nearest: n.String(), Tensor: e.Tensor, Reason: fmt.Sprintf("it is not a %s: %s", n, e.Reason)}
}

func tooMany(tensors []named.Tensor) error {
	switch n := len(tensors); {
	case n == 0:
		return &Error{Reason: "it holds no tensors", Hint: "name others with --weights, or leave it out"}
	case n > maxTensors:
		return &Error{Reason: fmt.Sprintf("it holds %d tensors, more than any known family", n)}
	}
	return nil
}

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

// natural compares names with their numbers as numbers.
func natural(a, b string) int {
	for a != "" && b != "" {
		n, m := digits(a), digits(b)
		if n > 0 && m > 0 {
			x, y := strings.TrimLeft(a[:n], "0"), strings.TrimLeft(b[:m], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[n:], b[m:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

// digits returns how many digits s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
