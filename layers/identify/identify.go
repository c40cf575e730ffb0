package identify

import (
	"cmp"
	"fmt"
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
