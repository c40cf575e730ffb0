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

// collect finds the state_dict in the unpickled object, that under the key
// weights if there is such a one, and decodes its tensors into f. It returns
// what of weights is no key: the beginning of the tensors' names.
func (r *reading) collect(root any, f *named.File, weights string) (rest string, err error) {
	d, rest, err := stateDict(root, f, weights)
	if err != nil {
		return "", err
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
		if err := f.Take(r.decode(name, t)); err != nil {
			return "", err
		}
	}
	leftOut(f, left)
	return rest, nil
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

// stateDict goes down to the dict that holds the tensors: by the keys that
// weights begins with, and by those that are usual. It returns the rest of
// weights.
func stateDict(root any, f *named.File, weights string) (d *pickle.Dict, rest string, err error) {
	var left []string
	for range deepest + 1 {
		d, ok := root.(*pickle.Dict)
		if !ok {
			what := pickle.Describe(root)
			if _, single := root.(*tensor); single {
				what = "a single tensor"
			}
			return nil, "", named.Refused(fixState, "it holds %s, not a state_dict", what)
		}
		under, rest, err := chosen(d, weights)
		if err != nil {
			return nil, "", err
		}
		if under == "" {
			if countTensors(d) == 0 {
				return nil, "", named.Refused(fixState, "it holds a dict without tensors%s, not a state_dict", keysOf(d))
			}
			leftOut(f, left)
			return d, rest, nil
		}
		f.Notes = append(f.Notes, fmt.Sprintf("the state_dict was found under %s", named.Quote(under)))
		for _, k := range d.Keys {
			if k != any(under) {
				left = append(left, label(k))
			}
		}
		root, _ = d.Get(under)
		weights = rest
	}
	return nil, "", named.Refused(fixState, "its state_dict is nested more than %d times", deepest)
}

// chosen returns the key that a state_dict lies under, or "" where d is one
// itself or none is found: the longest key that weights begins with, whose rest
// is returned, else the one that [nested] finds.
func chosen(d *pickle.Dict, weights string) (key, rest string, err error) {
	for i, k := range d.Keys {
		name, text := k.(string)
		sub, ok := d.Values[i].(*pickle.Dict)
		if !text || !ok || len(name) <= len(key) || tensorsIn(sub) == 0 {
			continue
		}
		if after, ok := strings.CutPrefix(weights+".", name+"."); ok {
			key, rest = name, strings.TrimSuffix(after, ".")
		}
	}
	if key != "" {
		return key, rest, nil
	}
	if weights == here && countTensors(d) > 0 {
		return "", here, nil
	}
	key, err = nested(d)
	return key, weights, err
}

// here, in the place of a key, stands for the tensors without one.
const here = "."

// nested returns the key that a state_dict lies under, or "" where d is one
// itself or none is found. Another of at least half as many tensors makes it
// ambiguous, except that of an optimizer.
func nested(d *pickle.Dict) (string, error) {
	found, n := "", countTensors(d)
	for _, key := range nests {
		if v, ok := d.Get(key); ok && holds(v) {
			found, n = key, tensorsIn(v.(*pickle.Dict))
			break
		}
	}
	usual := found != ""
	for i, k := range d.Keys {
		sub, ok := d.Values[i].(*pickle.Dict)
		key, text := k.(string)
		if !ok || !text || key == found || strings.Contains(strings.ToLower(key), "optim") {
			continue
		}
		other := tensorsIn(sub)
		switch {
		case other == 0, usual && n == 0, (usual || n > 0 && found == "") && 2*other < n:
		case found == "" && n > 0:
			return "", ambiguous(here, key)
		case found != "":
			return "", ambiguous(found, key)
		default:
			found = key
		}
	}
	return found, nil
}

// ambiguous refuses a dict with two state_dicts.
func ambiguous(a, b string) error {
	return named.Refused(fmt.Sprintf("choose one with --weights %s or --weights %s, or save it alone: torch.save(model.state_dict(), path)", named.Word(a), named.Word(b)),
		"it holds more than one state_dict, under %s and %s", named.Quote(a), named.Quote(b))
}

// tensorsIn counts the tensors in d, or in the dict in it under one of the usual
// names.
func tensorsIn(d *pickle.Dict) int {
	n := countTensors(d)
	for _, key := range nests {
		if v, ok := d.Get(key); ok {
			if sub, ok := v.(*pickle.Dict); ok {
				n = max(n, countTensors(sub))
			}
		}
	}
	return n
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
