package identify

import (
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// content is what a file holds, seen in the ways in which it can be matched.
type content struct {
	tensors []named.Tensor
	byName  map[string]int
	// modules in the file's order, and in that of their names.
	modules, sorted []module
}

func newContent(tensors []named.Tensor) *content {
	c := &content{tensors: tensors, byName: make(map[string]int, len(tensors))}
	var parts []part
	for i := range tensors {
		c.byName[tensors[i].Name] = i
		parts = append(parts, part{name: tensors[i].Name, shape: tensors[i].Shape, index: i})
	}
	c.modules = group(parts)
	c.sorted = slices.Clone(c.modules)
	slices.SortStableFunc(c.sorted, func(a, b module) int { return natural(a.name, b.name) })
	return c
}

// A way gives each slot of a template a tensor of a file: its index, or -1.
type way func(t *template, c *content) []int

// ways in the order in which they are tried.
var ways = [...]way{
	wayNames:   byName,
	wayModules: func(t *template, c *content) []int { return byModules(t, c.modules) },
	waySorted:  func(t *template, c *content) []int { return byModules(t, c.sorted) },
	wayRanks:   byRank,
}

// The numbers of the ways.
const (
	wayNames = iota
	wayModules
	waySorted
	wayRanks
)

// byNames is how many of the ways, the first, ask names.
const byNames = 3

func nowhere(t *template) []int {
	at := make([]int, len(t.slots))
	for i := range at {
		at[i] = -1
	}
	return at
}

func byName(t *template, c *content) []int {
	at := nowhere(t)
	for i, s := range t.slots {
		if j, ok := c.byName[s.name]; ok {
			at[i] = j
		}
	}
	return at
}

// byModules aligns the modules of the file with the family's: the longest
// sequence of modules of equal kinds that both have (Wagner and Fischer, 1974).
func byModules(t *template, file []module) []int {
	at := nowhere(t)
	n, m := len(file), len(t.modules)
	// length[i·(m+1)+j] is that of the longest common sequence of file[i:] and
	// t.modules[j:].
	length := make([]uint16, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			k := i*(m+1) + j
			if file[i].kind == t.modules[j].kind {
				length[k] = length[k+m+2] + 1
			} else {
				length[k] = max(length[k+1], length[k+m+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		k := i*(m+1) + j
		switch {
		case file[i].kind == t.modules[j].kind:
			for r, index := range t.modules[j].parts {
				if other, ok := file[i].parts[r]; ok {
					at[index] = other
				}
			}
			i, j = i+1, j+1
		case length[k+1] > length[k+m+1]:
			j++
		default:
			i++
		}
	}
	return at
}

// byRank goes through the file's tensors in order, for names that tell nothing:
// where a name does tell what its tensor is in a module, there is no match.
func byRank(t *template, c *content) []int {
	at := nowhere(t)
	j := 0
	for i, s := range t.slots {
		if j == len(c.tensors) {
			break
		}
		if s.counter && len(c.tensors[j].Shape) != 0 {
			continue // the file has no counters
		}
		if _, r := split(c.tensors[j].Name); r != noRole || len(c.tensors[j].Shape) != len(s.shape) {
			return nowhere(t)
		}
		at[i] = j
		j++
	}
	return at
}

// A role is what a tensor is in its module.
type role uint8

const (
	noRole role = iota
	weight
	bias
	mean
	variance
	counter
)

// words are the ends of names that tell a role, the longer before those that
// they end with.
var words = []struct {
	end  string
	role role
}{
	{"num_batches_tracked", counter},
	{"running_mean", mean}, {"moving_mean", mean}, {"mean", mean},
	{"running_var", variance}, {"moving_variance", variance}, {"variance", variance}, {"var", variance},
	{"weight", weight}, {"gamma", weight}, {"kernel", weight},
	{"bias", bias}, {"beta", bias},
}

// split cuts a tensor's name into its module's and its role. A name without a
// known end is its own module.
func split(name string) (module string, r role) {
	for _, w := range words {
		if before, ok := strings.CutSuffix(name, w.end); ok {
			if trimmed := strings.TrimRight(before, "._/"); trimmed != before || before == "" {
				return trimmed, w.role
			}
		}
	}
	return name, noRole
}

// A kind is what a module is, as far as it shows: the rank of its weight, the
// kernel of a convolution, and which tensors it has.
type kind struct {
	rank, height, width int
	bias, running       bool
}

// A part is a tensor of a template or of a file.
type part struct {
	name  string
	shape []int
	index int
}

// A module is a group of tensors that belong together.
type module struct {
	name  string
	kind  kind
	parts map[role]int // index of the tensor
}

// group puts tensors into modules, in the order in which these begin.
func group(parts []part) []module {
	var out []module
	at := make(map[string]int)
	for _, p := range parts {
		name, r := split(p.name)
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, module{name: name, parts: make(map[role]int)})
		}
		m := &out[i]
		m.parts[r] = p.index
		switch r {
		case weight, noRole:
			m.kind.rank = len(p.shape)
			if r == noRole {
				m.kind.rank = -1 // nothing of ours
			}
			if len(p.shape) == 4 {
				m.kind.height, m.kind.width = p.shape[2], p.shape[3]
			}
		case bias:
			m.kind.bias = true
		case mean, variance:
			m.kind.running = true
		}
	}
	return out
}
