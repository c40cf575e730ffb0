package layers

import (
	"fmt"
	"strings"
)

// Freeze keeps from training every tensor that a pattern names: its variables
// are not Trainable any more. A pattern names a tensor by the tensor's own name,
// by that of its module or of a container around it, where * stands for any
// characters: "layer1", "layer1.*.conv1" and "*.bias" are patterns. A module of
// which all parameters are frozen is in evaluation mode from then on, also in
// training: a batch norm there keeps its statistics. A pattern that names
// nothing is an error. Graphs that were built before stay as they are.
func (m *Model) Freeze(patterns ...string) error {
	for _, p := range patterns {
		if m.match(p, func(s *Slot) { s.Variable.Trainable = false }) == 0 {
			return fmt.Errorf("%s: no tensor fits the pattern %q; potstill summary lists the modules", m.net, p)
		}
	}
	for i := range m.net.Modules {
		mod := &m.net.Modules[i]
		params, frozen := 0, true
		for _, p := range mod.Params() {
			if !p.Buffer {
				params++
				frozen = frozen && !m.values[mod.Tensor(p.Role)].Trainable
			}
		}
		if params > 0 && frozen {
			m.frozen[mod.Name] = true
		}
	}
	return nil
}

// Matches returns the trainable variables' names that a pattern of Freeze's
// kind names.
func (m *Model) Matches(pattern string) []string {
	var names []string
	m.match(pattern, func(s *Slot) {
		if s.Variable.Trainable {
			names = append(names, s.Variable.Name)
		}
	})
	return names
}

// match calls each for the slots that a pattern names, and counts them.
func (m *Model) match(pattern string, each func(s *Slot)) int {
	n := 0
	for i := range m.slots {
		if s := &m.slots[i]; fits(pattern, s.Variable.Name) {
			n++
			each(s)
		}
	}
	return n
}

// Fits reports whether a pattern of Freeze's kind names a module or a tensor:
// itself or a container around it, where * stands for any characters.
func Fits(pattern, name string) bool { return fits(pattern, name) }

// fits reports whether a pattern names a tensor, or a module around it.
func fits(pattern, name string) bool {
	for {
		if glob(pattern, name) {
			return true
		}
		dot := strings.LastIndexByte(name, '.')
		if dot < 0 {
			return false
		}
		name = name[:dot]
	}
}

// glob matches name against a pattern in which * stands for any characters.
func glob(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, parts[last])
}
