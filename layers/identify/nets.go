package identify

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// A found net is one whose tensors' names begin with a prefix, among other
// tensors.
type found struct {
	prefix string // with its dot; "" where names have none
	at     *attempt
	inside []*named.Tensor // of the group, without a place in the net
	left   []*named.Tensor // of the file, without a place in the net
}

const (
	deepestPrefix = 8   // how many parts of a name may be a prefix
	mostPrefixes  = 512 // how many prefixes are looked at
	mostGroups    = 64  // how many groups of tensors are tried
)

// findNets looks for nets among the tensors whose names have a prefix in common.
// The longest prefixes come first, and a tensor belongs to one net only, so that
// a net is found once. A group of tensors is one if try gives an attempt without
// a problem; try returns nil for groups that it does not look at.
func findNets(tensors []named.Tensor, try func(*content) *attempt) []found {
	var nets []found
	taken := make([]bool, len(tensors))
	tried := 0
	for _, prefix := range prefixes(tensors) {
		var group []named.Tensor
		var from []int
		for i := range tensors {
			if t := tensors[i]; !taken[i] && strings.HasPrefix(t.Name, prefix) && t.Name != prefix {
				t.Name = t.Name[len(prefix):]
				group, from = append(group, t), append(from, i)
			}
		}
		if len(group) == 0 || tried == mostGroups && prefix != "" {
			continue
		}
		at := try(newContent(group))
		if at == nil {
			continue
		}
		tried++
		if at.problem() != nil {
			continue
		}
		f := found{prefix: prefix, at: at}
		unused := make(map[string]bool, len(at.left))
		for _, t := range at.left {
			unused[t.Name] = true
		}
		used := make([]bool, len(tensors))
		for k, i := range from {
			if unused[group[k].Name] {
				f.inside = append(f.inside, &tensors[i])
			} else {
				used[i], taken[i] = true, true
			}
		}
		for i := range tensors {
			if !used[i] {
				f.left = append(f.left, &tensors[i])
			}
		}
		nets = append(nets, f)
	}
	return nets
}

// prefixes returns all that names begin with up to a dot and that as many
// tensors have as the smallest net, the longest first, and last none.
func prefixes(tensors []named.Tensor) []string {
	const fewest = 4
	count := make(map[string]int)
	var all []string
	for i := range tensors {
		name := tensors[i].Name
		for depth, at := 0, 0; depth < deepestPrefix; depth++ {
			n := strings.IndexByte(name[at:], '.')
			if n < 0 {
				break
			}
			at += n + 1
			if count[name[:at]]++; count[name[:at]] == fewest {
				all = append(all, name[:at])
			}
		}
	}
	depth := func(p string) int { return strings.Count(p, ".") }
	slices.SortStableFunc(all, func(a, b string) int { return depth(b) - depth(a) })
	return append(all[:min(len(all), mostPrefixes)], "")
}

// lenient is the best attempt at finding a template's net among the tensors,
// which may be more.
func (t *template) lenient(c *content, ways []way, want map[string]int) *attempt {
	if len(c.tensors) < t.least {
		ways = ways[:1]
	}
	var best *attempt
	for _, way := range ways {
		at := t.try(c, way, want)
		at.lenient = true
		if at.problem() == nil {
			return at
		}
		if best == nil || at.score() > best.score() {
			best = at
		}
	}
	return best
}

// identifyPart returns the one net of a known family that is in the file among
// tensors that are harmless; nil without an error if there is none.
func identifyPart(tensors []named.Tensor, fs []*family) (*Match, error) {
	nets := findNets(tensors, func(c *content) *attempt { return partOf(fs, c) })
	switch len(nets) {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, several(nets)
	}
	n := &nets[0]
	for _, t := range n.left {
		if !n.harmless(t) {
			family := n.at.t.net.Family
			return nil, &Error{Nearest: n.at.t.net.String(), Tensor: t.Name, Hint: "if that is no part of what it computes, leave it out with --arch " + family,
				Reason: fmt.Sprintf("it holds a net of the family %s%s, and beside it tensor %s %v", family, n.under(), named.Quote(t.Name), t.Shape)}
		}
	}
	return n.match()
}

// harmless reports whether a tensor beside the net is no part of what it
// computes: one of no elements, a counter or flag, one of an auxiliary head that
// the family is trained with, or, outside of the net, the weights of the classes
// in a loss.
func (f *found) harmless(t *named.Tensor) bool {
	module, r := split(t.Name)
	alone := func(o *named.Tensor) bool {
		m, _ := split(o.Name)
		return o == t || m != module || module == ""
	}
	switch {
	case t.Len() == 0:
		return true
	case f.auxiliary(t.Name):
		return true
	case len(t.Int) == t.Len() && len(t.Shape) <= 1:
		return true
	case slices.Contains(f.inside, t) && f.prefix != "":
		return false
	case len(t.Float) == t.Len() && len(t.Shape) == 1 && t.Shape[0] == f.at.net.Classes():
		// A layer's vector has a bias or statistics beside it.
		return (r == weight || r == noRole) && !slices.ContainsFunc(f.left, func(o *named.Tensor) bool { return !alone(o) })
	}
	return false
}

// auxiliary reports whether a tensor of the file is one of an auxiliary head.
func (f *found) auxiliary(name string) bool {
	inside, ok := strings.CutPrefix(name, f.prefix)
	return ok && slices.ContainsFunc(layers.FamilyBeside(f.at.t.net.Family), func(p string) bool { return strings.HasPrefix(inside, p) })
}

// under names the prefix in an error or note.
func (f *found) under() string {
	if f.prefix == "" {
		return ""
	}
	return " under " + named.Quote(f.prefix)
}

// match returns the net, and notes what it was found under and what was left out.
func (f *found) match() (*Match, error) {
	at := *f.at
	at.left = nil
	m, err := at.match()
	if err != nil {
		return nil, err
	}
	if f.prefix != "" {
		m.Notes = append(m.Notes, fmt.Sprintf("the net was found under %s", named.Quote(f.prefix)))
	}
	m.leftOut(f.left)
	return m, nil
}

// alone is match, unless what is left is a second net of the template whose names
// have no prefix to tell it from the first.
func (f *found) alone(t *template, want map[string]int) (*Match, error) {
	rest := make([]named.Tensor, len(f.left))
	for i, x := range f.left {
		rest[i] = *x
	}
	if len(rest) >= t.least {
		if other := t.lenient(newContent(rest), ways[:byNames], want); other.problem() == nil {
			return nil, &Error{Nearest: t.net.String(), Hint: "save the state_dict of one of them alone: torch.save(model.state_dict(), path)",
				Reason: fmt.Sprintf("it holds two nets of %s, one with tensor %s and one with tensor %s", t.net, named.Quote(f.prefix+f.at.first()), named.Quote(other.first()))}
		}
	}
	return f.match()
}

// first is the name of the first tensor that has a place.
func (a *attempt) first() string {
	for _, t := range a.places {
		if t != nil {
			return t.Name
		}
	}
	return ""
}

// Root, in the place of a prefix, stands for the net whose names have none.
const Root = "."

// several says that there is more than one net, and how to choose.
func several(nets []found) error {
	const few = 4
	var under, flags []string
	for _, f := range nets[:min(few, len(nets))] {
		name := strings.TrimSuffix(f.prefix, ".")
		if name == "" {
			under, flags = append(under, "names without a prefix"), append(flags, "--weights "+Root)
			continue
		}
		under, flags = append(under, named.Quote(f.prefix)), append(flags, "--weights "+named.Word(name))
	}
	return &Error{Nearest: nets[0].at.t.net.String(), Hint: "choose one with " + strings.Join(flags, " or ") + ", or take it out with potstill convert",
		Reason: fmt.Sprintf("it holds %d nets of known families, under %s", len(nets), strings.Join(under, " and "))}
}

// WithoutPrefix returns the tensors that are not those of a net under a prefix:
// what [Root] stands for.
func WithoutPrefix(tensors []named.Tensor) []named.Tensor {
	fs, err := families()
	if err != nil {
		return tensors
	}
	nets := findNets(tensors, func(c *content) *attempt { return partOf(fs, c) })
	under := func(t named.Tensor) bool {
		return slices.ContainsFunc(nets, func(f found) bool { return f.prefix != "" && strings.HasPrefix(t.Name, f.prefix) })
	}
	return slices.DeleteFunc(slices.Clone(tensors), under)
}
