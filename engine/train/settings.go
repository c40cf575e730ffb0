package train

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// differs says, setting by setting, in what two runs differ.
func (s settings) differs(now settings) error {
	old, err := s.flat()
	if err != nil {
		return err
	}
	own, err := now.flat()
	if err != nil {
		return err
	}
	var parts []string
	names := maps.Clone(old)
	maps.Copy(names, own)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if a, b := value(old, name), value(own, name); a != b {
			parts = append(parts, fmt.Sprintf("%s was %s and is %s", name, a, b))
		}
	}
	if parts == nil {
		return nil
	}
	return fmt.Errorf("%s now; use the old settings, or start a new run", strings.Join(parts, ", "))
}

// value is a setting as it is shown.
func value(of map[string]string, name string) string {
	if v, ok := of[name]; ok {
		return v
	}
	return "not set"
}

// flat returns the settings by name, each as JSON: those of the optimizer, the
// schedule and the transforms one by one.
func (s settings) flat() (map[string]string, error) {
	out := make(map[string]string)
	add := func(prefix string, v any) error {
		text, ok := v.(string) // JSON already
		if !ok {
			raw, err := json.Marshal(v)
			if err != nil {
				return err
			}
			text = string(raw)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			return fmt.Errorf("the settings %s cannot be read: %w", text, err)
		}
		for key, raw := range fields {
			out[prefix+strings.ReplaceAll(key, "_", " ")] = string(raw)
		}
		return nil
	}
	train, eval := s.Train, s.Eval
	optimizer, schedule := s.Optimizer.normalized(), s.Schedule
	s.Train, s.Eval, s.Optimizer, s.Schedule = "", "", OptimizerConfig{}, ScheduleConfig{}
	for _, part := range []struct {
		prefix string
		v      any
	}{{"", s}, {"", optimizer}, {"schedule ", schedule}, {"training transform ", train}, {"evaluation transform ", eval}} {
		if part.v == "" {
			part.v = "{}"
		}
		if err := add(part.prefix, part.v); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"optimizer", "schedule", "train", "eval"} {
		delete(out, name) // they are there field by field
	}
	if kind, ok := out["kind"]; ok {
		delete(out, "kind")
		out["optimizer"] = kind
	}
	return out, nil
}

// checkLength refuses another number of epochs where the learning rates of the
// steps that are done would have been others. A snapshot that does not hold the
// number is judged by the rate of its last epoch.
func (t *Trainer) checkLength(p progress) error {
	if !t.c.Schedule.dependsOnLength() || p.Epochs == t.c.Epochs {
		return nil
	}
	const hint = "the learning rates of the %s schedule depend on the number of epochs, so that the run would go on as another; resume with the old number, or begin a new run from the last weights"
	if p.Epochs > 0 {
		return fmt.Errorf("epochs was %d and is %d now: "+hint, p.Epochs, t.c.Epochs, t.c.Schedule.Kind)
	}
	if n := len(p.History); n > 0 && p.History[n-1].Step > 0 && p.History[n-1].LR != t.ledger.schedule.LR(p.History[n-1].Step-1) {
		return fmt.Errorf("epochs is %d now and was another number: "+hint, t.c.Epochs, t.c.Schedule.Kind)
	}
	return nil
}
