package distill

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine"
)

// A Method is a way to learn from a teacher, a term of the loss.
type Method struct {
	// Name is that in a Spec.
	Name string
	// Formula is the term in one line, with the keys of the method as they are named
	// in a Spec.
	Formula string
	// Source is the paper, and the code whose form and defaults are taken.
	Source string
	// Keys are the method's own settings.
	Keys []Key
	// Features reports whether the term compares outputs of modules, and not the
	// logits.
	Features bool
	// Single says why the method takes one teacher; "" if it takes several.
	Single string

	// weight is the weight where the spec gives none; nil means 1.
	weight func(i Item) float64
	// prepare makes the term; f is nil unless Features.
	prepare func(i Item, f *features) (term, error)
}

// A Key is a setting of a method.
type Key struct {
	Name    string
	Default string
	Help    string

	text        bool    // a text, not a number
	least, most float64 // of a number
	open        bool    // the least itself is excluded
}

// A term writes itself into each step's graph.
type term interface {
	// build returns a scalar, a mean over the batch.
	build(c *call) *engine.Value
	// state are the term's own variables: projectors.
	state() []*engine.Variable
}

// A logits is a term without a state.
type logits func(c *call) *engine.Value

func (f logits) build(c *call) *engine.Value { return f(c) }

func (logits) state() []*engine.Variable { return nil }

// methods are all of them, in the order in which they are listed.
var methods []*Method

func init() { // which the methods' own functions refer to
	methods = []*Method{&kdMethod, &dkdMethod, &distMethod, &fitnetMethod, &atMethod, &spMethod, &pktMethod, &rkdMethod, &crdMethod, &reviewMethod, &simkdMethod}
}

// Methods returns all methods.
func Methods() []Method {
	out := make([]Method, len(methods))
	for i, m := range methods {
		out[i] = *m
	}
	return out
}

// find returns the method of that name, nil if there is none.
func find(name string) *Method {
	for _, m := range methods {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// positive is a number above 0.
func positive(name, def, help string) Key {
	return Key{Name: name, Default: def, Help: help, most: math.MaxFloat32, open: true}
}

// fromZero is a number from 0 up.
func fromZero(name, def, help string) Key {
	return Key{Name: name, Default: def, Help: help, most: math.MaxFloat32}
}

// flag is 0 or 1.
func flag(name, help string) Key { return Key{Name: name, Default: "0", Help: help, most: 1} }

// word is a text.
func word(name, def, help string) Key {
	return Key{Name: name, Default: def, Help: help, text: true}
}

// The keys of every method.
var common = []Key{
	fromZero("w", "", "the weight of the term in the loss"),
	fromZero("warmup", "0", "epochs in which the weight rises to its full size, in equal steps"),
	fromZero("start", "0", "epochs before the term begins"),
	fromZero("stop", "0", "epochs after which the term ends; 0: never"),
	word("decay", "none", "how the weight falls to 0 over the run: none, linear or cosine"),
}

// keyStandardize is that of the losses of logits.
var keyStandardize = flag("standardize", "logits are standardized first: (z - mean)/(std + 1e-7) of each image (arXiv:2403.01427)")

// key returns the method's setting of a name.
func (m *Method) key(name string) (Key, bool) {
	for _, list := range [][]Key{m.Keys, common} {
		if i := slices.IndexFunc(list, func(k Key) bool { return k.Name == name }); i >= 0 {
			return list[i], true
		}
	}
	return Key{}, false
}

// names lists the settings.
func (m *Method) names() string {
	var all []string
	for _, list := range [][]Key{m.Keys, common} {
		for _, k := range list {
			all = append(all, k.Name)
		}
	}
	return strings.Join(all, ", ")
}

// check refuses a value that makes no sense.
func (k Key) check(value string) error {
	if k.text {
		if value == "" {
			return fmt.Errorf("%s has no value", k.Name)
		}
		return nil
	}
	v, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || math.IsNaN(v):
		return fmt.Errorf("%s=%s is no number", k.Name, value)
	case v < k.least || v > k.most || k.open && v == k.least:
		above := "from"
		if k.open {
			above = "above"
		}
		return fmt.Errorf("%s=%s: it is a number %s %g%s", k.Name, value, above, k.least, upTo(k.most))
	}
	return nil
}

func upTo(most float64) string {
	if most >= math.MaxFloat32 {
		return ""
	}
	return fmt.Sprintf(" up to %g", most)
}
