package backendtest

import (
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
)

// A Suite is the suite, or a part of it. The zero Suite is all of it.
type Suite struct {
	// Only names the operators whose cases are run, and nothing else; none: all.
	Only []string
	// Interpreted says that the backend runs its kernels through an interpreter.
	// It leaves out the large cases that are there for the paths of compiled
	// kernels of another backend.
	Interpreted bool
	// Around runs each case, of which it is given the name (operator/shapes), or
	// leaves it out; nil: every case is run.
	Around func(name string, run func())
}

// Run holds b to the reference: the zero [Suite], or with names of operators
// only the cases of these.
func Run(t *testing.T, b engine.Backend, only ...string) { Suite{Only: only}.Run(t, b) }

// Run holds b to the reference. Each case is a subtest, named operator/shapes.
// A fused operator that b does not claim, and an optional one (Augment) that it
// does not support, are not tested; bfloat16 that it does not claim
// (engine.MixedPrecision) must be refused.
func (s Suite) Run(t *testing.T, b engine.Backend) {
	if len(s.Only) == 0 {
		checkBackend(t, b)
	}
	stems, cases := s.cases()
	for _, name := range s.Only {
		if cases[name] == nil {
			t.Errorf("there are no cases of %s", name)
		}
	}
	for _, stem := range stems {
		t.Run(stem, func(t *testing.T) {
			for _, c := range cases[stem] {
				run := func() { t.Run(c.label, func(t *testing.T) { c.check(t, b) }) }
				if s.Around == nil {
					run()
				} else {
					s.Around(stem+"/"+c.label, run)
				}
			}
		})
	}
}

// cases returns the cases that s has, those of one operator together.
func (s Suite) cases() (stems []string, cases map[string][]testCase) {
	all, table := suite()
	cases = make(map[string][]testCase)
	for _, stem := range all {
		if len(s.Only) > 0 && !slices.Contains(s.Only, stem) {
			continue
		}
		stems = append(stems, stem)
		for _, c := range table[stem] {
			if !s.Interpreted || c.compiled == "" {
				cases[stem] = append(cases[stem], c)
			}
		}
	}
	return stems, cases
}

// forCompiled marks cases that only compiled kernels run, with the reason.
func forCompiled(reason string, cases []testCase) []testCase {
	for i := range cases {
		cases[i].compiled = reason
	}
	return cases
}
