package study

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
)

// A Task is a step that is done with one seed, for a program that does a study's
// steps one by one.
type Task struct {
	Step  string
	Seed  uint64
	All   bool  // the step is the same with every seed of the study
	Needs []int // the tasks that come before it, by number
	Timed bool  // it measures times, and is to have a machine for itself
}

// Tasks returns the steps of a study with each of its seeds, every one after those
// that it needs. A step that is the same with all seeds is there once, with the
// first.
func (r *Recipe) Tasks(o Options) ([]Task, error) {
	r, err := r.override(o)
	if err != nil {
		return nil, err
	}
	runs, err := newSeries(nil, r, o)
	if err != nil {
		return nil, err
	}
	shared := runs.shared()
	var out []Task
	first := make(map[string]int) // the tasks of steps that are the same with all seeds
	for k, s := range runs {
		at := make(map[string]int) // the tasks of this seed
		for _, u := range s.units {
			step := u.step.name
			if shared[step] && k > 0 {
				at[step] = first[step]
				continue
			}
			i, ok := at[step]
			if !ok {
				i = len(out)
				at[step] = i
				out = append(out, Task{Step: step, Seed: s.r.Seed, All: shared[step], Timed: u.step.timed()})
			}
			for _, other := range u.needs() {
				if j := at[other.step.name]; j != i && !slices.Contains(out[i].Needs, j) {
					out[i].Needs = append(out[i].Needs, j)
				}
			}
		}
		if k == 0 {
			first = at
		}
	}
	return out, nil
}

// shared returns the steps that are the same with every seed: they name a seed of
// their own, or train nothing, and so does all that they need.
func (r series) shared() map[string]bool {
	steps := make(map[string]bool)
	same := make(map[*unit]bool) // of the first seed
	for i, u := range r[0].units {
		same[u] = !slices.ContainsFunc(r, func(s *session) bool { return !reflect.DeepEqual(s.units[i].train, u.train) }) &&
			!slices.ContainsFunc(u.needs(), func(o *unit) bool { return !same[o] })
		if before, ok := steps[u.step.name]; !ok || before {
			steps[u.step.name] = same[u]
		}
	}
	return steps
}

// Digest returns the SHA-256 of the recipe's text, in hexadecimal digits.
func (r *Recipe) Digest() string {
	sum := sha256.Sum256([]byte(r.text))
	return hex.EncodeToString(sum[:])
}

// Form returns the recipe, or with quick the quick form of a built-in one.
func (r *Recipe) Form(quick bool) (*Recipe, error) {
	if !quick {
		return r, nil
	}
	if r.builtin == "" {
		return nil, fmt.Errorf("%s has no quick form: only built-in recipes have; lower the epochs instead", r.file)
	}
	return Builtin(r.builtin, true)
}

// expect reports whether the recipe is the one whose steps were written down.
func (r *Recipe) expect(digest string) error {
	if digest == "" || digest == r.Digest() {
		return nil
	}
	const shown = 12
	return fmt.Errorf("recipe %s is not the one that was exported: its SHA-256 is %s…, not %s…; export the study again", r.file, r.Digest()[:shown], digest[:min(len(digest), shown)])
}

// command is the name by which the command line knows the recipe.
func (r *Recipe) command() string {
	switch {
	case r.builtin == "":
		return r.file
	case r.file == r.builtin+".yaml":
		return r.builtin
	}
	return r.builtin + QuickSuffix
}
