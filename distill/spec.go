package distill

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Spec is a loss as people write it: methods with their settings, which are added,
// as in
//
//	dkd:alpha=1,beta=8,T=4+at:stages=2-4,w=1000
//
// A setting without a value is 1. The method ce is the cross-entropy of the labels,
// whose only setting is its weight w; where it is left out, it is 1 - alpha of kd, else 0
// with simkd, else 1.
type Spec struct {
	Items []Item
	// ce is the weight of the cross-entropy, negative if none is given.
	ce float64
}

// An Item is one method of a spec.
type Item struct {
	Method *Method
	given  []setting // in the method's order
}

type setting struct{ key, value string }

// crossEntropy is the name of the labels' own term.
const crossEntropy = "ce"

// ParseSpec reads a spec.
func ParseSpec(text string) (Spec, error) {
	s := Spec{ce: -1}
	for _, part := range strings.Split(text, "+") {
		name, rest, _ := strings.Cut(strings.TrimSpace(part), ":")
		if name == crossEntropy {
			if err := s.setCE(rest); err != nil {
				return Spec{}, err
			}
			continue
		}
		m := find(name)
		if m == nil {
			return Spec{}, fmt.Errorf("distillation: there is no method %q; there are %s and %s", name, methodNames(), crossEntropy)
		}
		i, err := parseItem(m, rest)
		if err != nil {
			return Spec{}, fmt.Errorf("distillation: %s: %w", name, err)
		}
		if slices.ContainsFunc(s.Items, func(o Item) bool { return o.Method == m }) {
			return Spec{}, fmt.Errorf("distillation: %s is there twice; name it once", name)
		}
		s.Items = append(s.Items, i)
	}
	if len(s.Items) == 0 {
		return Spec{}, errors.New("distillation: no method is named; as in kd:T=4,alpha=0.9")
	}
	return s, nil
}

func (s *Spec) setCE(text string) error {
	value, ok := strings.CutPrefix(text, "w=")
	if !ok || s.ce >= 0 {
		return fmt.Errorf("distillation: %s has a weight and is there once, as in ce:w=0.1", crossEntropy)
	}
	if err := common[0].check(value); err != nil {
		return fmt.Errorf("distillation: %s: %w", crossEntropy, err)
	}
	s.ce, _ = strconv.ParseFloat(value, 64)
	return nil
}

func parseItem(m *Method, text string) (Item, error) {
	i := Item{Method: m}
	if text == "" {
		return i, nil
	}
	at := make(map[string]string)
	for _, part := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			value = "1"
		}
		k, known := m.key(name)
		if !known {
			return i, fmt.Errorf("there is no setting %q; there are %s", name, m.names())
		}
		if _, twice := at[name]; twice {
			return i, fmt.Errorf("%s is there twice", name)
		}
		if err := k.check(value); err != nil {
			return i, err
		}
		at[name] = value
	}
	for _, list := range [][]Key{m.Keys, common} {
		for _, k := range list {
			if v, ok := at[k.Name]; ok {
				i.given = append(i.given, setting{k.Name, v})
			}
		}
	}
	return i, i.check()
}

// check refuses settings that contradict each other.
func (i Item) check() error {
	if i.has("alpha") && i.has("w") && i.Method == &kdMethod {
		return errors.New("alpha is the weight, and 1 - alpha that of the labels; give alpha, or w")
	}
	switch d := i.text("decay"); d {
	case "none", "linear", "cosine":
	default:
		return fmt.Errorf("decay=%s: it is none, linear or cosine", d)
	}
	if stop := i.number("stop"); stop > 0 && stop <= i.number("start") {
		return fmt.Errorf("the term stops after %g epochs and starts after %g", stop, i.number("start"))
	}
	return nil
}

// String returns the spec in one form: what is equal has equal texts.
func (s Spec) String() string {
	var parts []string
	if s.ce >= 0 {
		parts = append(parts, fmt.Sprintf("%s:w=%v", crossEntropy, s.ce))
	}
	for _, i := range s.Items {
		text, sep := i.Method.Name, ":"
		for _, g := range i.given {
			text += sep + g.key + "=" + g.value
			sep = ","
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "+")
}

// SplitSpecs takes a list of specs apart, as in "kd:T=4,alpha=0.9,dkd,dist+at:w=1000":
// a comma before the name of a method ends a spec.
func SplitSpecs(list string) (specs []string) {
	for _, part := range strings.Split(list, ",") {
		name, _, _ := strings.Cut(part, "+")
		name, _, _ = strings.Cut(name, ":")
		name = strings.TrimSpace(name)
		if known := find(name) != nil || name == crossEntropy; known || specs == nil {
			specs = append(specs, strings.TrimSpace(part))
			continue
		}
		specs[len(specs)-1] += "," + part
	}
	return specs
}

// CE returns the weight of the cross-entropy.
func (s Spec) CE() float64 {
	if s.ce >= 0 {
		return s.ce
	}
	for _, i := range s.Items {
		if i.Method == &kdMethod && !i.has("w") {
			return kdCE(i)
		}
	}
	if s.Reuses() {
		return 0
	}
	return 1
}

// CheckTeachers reports a method that does not take so many teachers.
func (s Spec) CheckTeachers(n int) error {
	for _, i := range s.Items {
		if why := i.Method.Single; why != "" && n > 1 {
			return fmt.Errorf("distillation: %s takes one teacher (%s), and here are %d; name one, or leave %s out", i.Method.Name, why, n, i.Method.Name)
		}
	}
	return nil
}

// Weight returns that of the item's term, before it is scheduled.
func (i Item) Weight() float64 {
	switch {
	case i.has("w"):
		return i.number("w")
	case i.Method.weight != nil:
		return i.Method.weight(i)
	}
	return 1
}

func (i Item) has(key string) bool {
	return slices.ContainsFunc(i.given, func(s setting) bool { return s.key == key })
}

// text returns a setting, its default where it is not given.
func (i Item) text(key string) string {
	for _, s := range i.given {
		if s.key == key {
			return s.value
		}
	}
	k, ok := i.Method.key(key)
	if !ok {
		panic("distill: " + i.Method.Name + " has no setting " + key)
	}
	return k.Default
}

// number returns a setting that is a number.
func (i Item) number(key string) float64 {
	v, err := strconv.ParseFloat(i.text(key), 64)
	if err != nil {
		panic("distill: the default of " + key + " is no number")
	}
	return v
}

func (i Item) float(key string) float32 { return float32(i.number(key)) }

func (i Item) on(key string) bool { return i.number(key) != 0 }

// scheduled reports whether the weight changes during a run.
func (i Item) scheduled() bool {
	return i.number("warmup") > 0 || i.number("start") > 0 || i.number("stop") > 0 || i.text("decay") != "none"
}

// Factor returns what the weight is multiplied by in an epoch, which counts from 0, of a
// run of so many.
func (i Item) Factor(epoch, epochs int) float64 {
	at, start, stop := float64(epoch), i.number("start"), i.number("stop")
	if at < start || stop > 0 && at >= stop {
		return 0
	}
	f := 1.0
	if warm := i.number("warmup"); warm > 0 {
		f = min((at-start+1)/warm, 1)
	}
	done := at / float64(max(epochs, 1))
	switch i.text("decay") {
	case "linear":
		f *= max(1-done, 0)
	case "cosine":
		f *= (1 + math.Cos(math.Pi*min(done, 1))) / 2
	}
	return f
}

// Describe says in one line what the term is, with its weight.
func (i Item) Describe() string {
	var set []string
	for _, k := range i.Method.Keys {
		v := i.text(k.Name)
		switch {
		case k.Name == "T" && v == "":
			v = fmt.Sprint(i.temperature(4, 2))
		case v == "", k.Name == "standardize" && v == "0", k.Name == "alpha" && i.Method == &kdMethod, v == "auto":
			continue
		}
		set = append(set, k.Name+"="+v)
	}
	text := fmt.Sprintf("%s: %s", i.Method.Name, i.Method.Formula)
	if len(set) > 0 {
		text += " with " + strings.Join(set, ", ")
	}
	text += fmt.Sprintf("; weight %.4g", i.Weight())
	if w := i.number("start"); w > 0 {
		text += fmt.Sprintf(", from epoch %g on", w+1)
	}
	if w := i.number("warmup"); w > 0 {
		text += fmt.Sprintf(", rising over %g epochs", w)
	}
	if w := i.number("stop"); w > 0 {
		text += fmt.Sprintf(", until epoch %g", w)
	}
	if d := i.text("decay"); d != "none" {
		text += fmt.Sprintf(", falling to 0 (%s)", d)
	}
	return text
}

// methodNames lists the methods.
func methodNames() string {
	var all []string
	for _, m := range methods {
		all = append(all, m.Name)
	}
	return strings.Join(all, ", ")
}
