package study

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/engine"
)

// Made is what a step, or a round or a measurement of one, has come to with a seed.
type Made struct {
	Step            string   `json:"step"`
	Seed            uint64   `json:"seed"`
	Folder          string   `json:"folder"`
	File            string   `json:"file,omitempty"` // the model's, of all but measurements
	Bytes           int64    `json:"bytes,omitempty"`
	Params          int64    `json:"params,omitempty"`
	ValAccuracy     *float64 `json:"val_accuracy"`  // nil: a model of other classes than the data's
	TestAccuracy    *float64 `json:"test_accuracy"` // nil where there are no test images
	ImagesPerSecond float64  `json:"images_per_second,omitempty"`
	Seconds         float64  `json:"seconds"` // that it took
}

// A MissingError says that a step cannot be done, since others that it needs have
// not been done before.
type MissingError struct {
	Step   string   // to be done
	Needs  []string // to be done first, in this order
	Dir    string   // of the study
	Recipe string   // as the command line knows it
}

// Error implements error.
func (e *MissingError) Error() string {
	word, it, that := "step", "it has", "it"
	if len(e.Needs) > 1 {
		word, it, that = "steps", "they have", "them"
	}
	return fmt.Sprintf("step %s needs %s %s, and in %s with these settings %s not been made; make %s first, with the same flags: potstill study step %s %s",
		e.Step, word, strings.Join(e.Needs, ", "), e.Dir, it, that, e.Recipe, strings.Join(e.Needs, " "))
}

// Make does the named steps of a study with all its seeds, and no others: what they
// need must have been done, or is a [*MissingError]. It returns what they came
// to. Otherwise it is as [Run], but for the report.
func Make(ctx context.Context, b engine.Backend, r *Recipe, o Options, steps []string) (out []Made, err error) {
	if len(steps) == 0 {
		return nil, fmt.Errorf("no step is named; the steps of %s are %s", r.file, r.names())
	}
	err = work(ctx, b, r, o, steps, func(runs series) error {
		for _, step := range runs[0].r.Steps {
			if !slices.Contains(steps, step.name) {
				continue
			}
			for _, v := range runs.of(step) {
				for _, x := range v {
					out = append(out, x.figures())
				}
			}
		}
		return nil
	})
	return out, err
}

// figures are what a unit has come to, for other programs.
func (v variant) figures() Made {
	o := v.out
	m := Made{Step: v.name, Seed: v.seed, Folder: v.dir, Bytes: o.Bytes, Params: o.Params, ImagesPerSecond: o.ImagesPerSecond, Seconds: o.Seconds}
	if o.File != "" {
		m.File = filepath.Join(v.dir, o.File)
	}
	if !o.Unmeasured {
		m.ValAccuracy = &o.Accuracy
		if o.Test != nil {
			m.TestAccuracy = &o.Test.Top1
		}
	}
	return m
}

// checkNames reports names that no step has.
func (r *Recipe) checkNames(names []string) error {
	for _, name := range names {
		if r.step(name) == nil {
			return fmt.Errorf("there is no step %q in %s; the steps are %s", name, r.file, r.names())
		}
	}
	return nil
}

// only takes the named steps out of the nodes of a seed. What they need besides
// must be done.
func (s *session) only(all []*node, names []string) (wanted []*node, err error) {
	for _, n := range all {
		if slices.Contains(names, n.u.step.name) {
			wanted = append(wanted, n)
		}
	}
	for i, n := range wanted {
		if i > 0 && wanted[i-1].u.step == n.u.step {
			continue
		}
		var missing []string
		for _, of := range wanted[i:] {
			if of.u.step != n.u.step {
				continue
			}
			for _, other := range of.needs {
				if missing, err = s.missing(other, names, missing); err != nil {
					return nil, err
				}
			}
		}
		if len(missing) > 0 {
			return nil, &MissingError{Step: n.u.step.name, Needs: missing, Dir: s.o.Dir, Recipe: s.r.command()}
		}
	}
	return wanted, nil
}

// missing appends the steps that are to be done for a node to be there, in order,
// but for those that are named: none where it is there.
func (s *session) missing(n *node, names, steps []string) (_ []string, err error) {
	if slices.Contains(names, n.u.step.name) || n.state == done {
		return steps, nil
	}
	before := steps
	for _, other := range n.needs {
		if before, err = s.missing(other, names, before); err != nil {
			return nil, err
		}
	}
	if err := s.setKeys(n); err != nil {
		return nil, err
	}
	if n.u.out = n.u.findOutcome(); n.u.out != nil {
		n.state = done
		return steps, nil // whatever has become of what it was made from
	}
	if !slices.Contains(before, n.u.step.name) {
		before = append(slices.Clip(before), n.u.step.name)
	}
	return before, nil
}

// setKeys gives a node's unit its key, and those that it needs theirs.
func (s *session) setKeys(n *node) error {
	for _, other := range n.needs {
		if err := s.setKeys(other); err != nil {
			return err
		}
	}
	if n.u.key != "" {
		return nil
	}
	if err := s.setKey(n.u); err != nil {
		return fmt.Errorf("step %s: %w", n.u.name, err)
	}
	return nil
}
