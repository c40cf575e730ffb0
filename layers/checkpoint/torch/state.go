package torch

import (
	"fmt"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
)

// nests are the names under which checkpoints keep a state_dict, the likeliest
// first.
var nests = []string{"state_dict", "model_state_dict", "model", "net", "module", "network", "model_state", "weights", "params"}

// deepest is how many times a state_dict may be nested.
const deepest = 4

// collect finds the state_dict in the unpickled object, and decodes its
// tensors into f.
func (r *reading) collect(root any, f *named.File) error {
	d, err := stateDict(root, f)
	if err != nil {
		return err
	}
	f.Tensors = make([]named.Tensor, 0, countTensors(d))
	var left []string
	for i, k := range d.Keys {
		t, ok := d.Values[i].(*tensor)
		name, text := k.(string)
		if !ok || !text {
			left = append(left, label(k))
			continue
		}
		decoded, err := r.decode(name, t)
		if err != nil {
			return err
		}
		f.Tensors = append(f.Tensors, decoded)
	}
	leftOut(f, left)
	return nil
}

// leftOut notes the entries that were not taken.
func leftOut(f *named.File, left []string) {
	const most = 6
	if len(left) == 0 {
		return
	}
	more := ""
	if len(left) > most {
		more = fmt.Sprintf(" and %d more", len(left)-most)
		left = left[:most]
	}
	f.Notes = append(f.Notes, "left out, since they are no tensors of the state_dict: "+strings.Join(left, ", ")+more)
}

// label names a key for a note.
func label(k any) string {
	switch k := k.(type) {
	case string:
		return named.Quote(k)
	case int64:
		return fmt.Sprint(k)
	}
	return "an entry under " + pickle.Describe(k)
}

// stateDict goes down to the dict that holds the tensors.
func stateDict(root any, f *named.File) (*pickle.Dict, error) {
	var left []string
	for range deepest + 1 {
		d, ok := root.(*pickle.Dict)
		if !ok {
			what := pickle.Describe(root)
			if _, single := root.(*tensor); single {
				what = "a single tensor"
			}
			return nil, named.Refused(fixState, "it holds %s, not a state_dict", what)
		}
		under, err := nested(d)
		if err != nil {
			return nil, err
		}
		if under == "" {
			if countTensors(d) == 0 {
				return nil, named.Refused(fixState, "it holds a dict without tensors%s, not a state_dict", keysOf(d))
			}
			leftOut(f, left)
			return d, nil
		}
		f.Notes = append(f.Notes, fmt.Sprintf("the state_dict was found under %s", named.Quote(under)))
		for _, k := range d.Keys {
			if k != any(under) {
				left = append(left, label(k))
			}
		}
		root, _ = d.Get(under)
	}
	return nil, named.Refused(fixState, "its state_dict is nested more than %d times", deepest)
}

// nested returns the key that a state_dict lies under, or "" where d is one
// itself or none is found.
func nested(d *pickle.Dict) (string, error) {
	for _, key := range nests {
		if v, ok := d.Get(key); ok && holds(v) {
			return key, nil
		}
	}
	if countTensors(d) > 0 {
		return "", nil
	}
	found := ""
	for i, k := range d.Keys {
		sub, ok := d.Values[i].(*pickle.Dict)
		key, text := k.(string)
		if !ok || !text || countTensors(sub) == 0 || strings.Contains(strings.ToLower(key), "optim") {
			continue
		}
		if found != "" {
			return "", named.Refused(fixState, "it holds more than one state_dict, under %s and %s", named.Quote(found), named.Quote(key))
		}
		found = key
	}
	return found, nil
}

// holds reports whether v is a dict with tensors, or with a dict under one of
// the usual names.
func holds(v any) bool {
	d, ok := v.(*pickle.Dict)
	if !ok {
		return false
	}
	for _, key := range nests {
		if v, ok := d.Get(key); ok {
			if _, ok := v.(*pickle.Dict); ok {
				return true
			}
		}
	}
	return countTensors(d) > 0
}

// countTensors returns how many entries of d are tensors with a name.
func countTensors(d *pickle.Dict) int {
	n := 0
	for i, v := range d.Values {
		if _, ok := v.(*tensor); ok {
			if _, ok := d.Keys[i].(string); ok {
				n++
			}
		}
	}
	return n
}

// keysOf lists the first keys of a dict.
func keysOf(d *pickle.Dict) string {
	if len(d.Keys) == 0 {
		return ""
	}
	var first []string
	for _, k := range d.Keys[:min(len(d.Keys), 4)] {
		first = append(first, label(k))
	}
	return " (" + strings.Join(first, ", ") + ")"
}
