package backendtest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// How far a program's results may be from those they are held to, as a share of
// the largest of them: after one run in float32, after several, and in bfloat16.
const (
	oneRun  = 2e-6
	runs    = 1e-5
	inHalfs = 3e-2
)

// A programCheck is one test of whole programs.
type programCheck struct {
	name  string
	check func(t reporter, b engine.Backend, s Size)
}

var programChecks = []programCheck{
	{"Training", func(t reporter, b engine.Backend, s Size) { checkStep(t, b, s, Recipe{}) }},
	{"Distillation", func(t reporter, b engine.Backend, s Size) { checkStep(t, b, s, Recipe{Distill: true}) }},
	{"Inference", func(t reporter, b engine.Backend, s Size) { checkStep(t, b, s, Recipe{Kind: Inference}) }},
	{"Steps", checkSteps},
	{"Fusion", checkFusion},
	{"Half", checkHalf},
	{"Prepared", checkPrepared},
	{"Arena", checkArena},
}

// RunPrograms holds whole programs on b, of a net of the given size, to the
// reference. Run holds b to it operator by operator; what is tested here is
// what is left: how the planner and b work together over a step. Each check is
// a subtest:
//
//   - Training, Distillation, Inference: loss, gradients and running statistics
//     of a step, or the logits, are the unfused reference's.
//   - Steps: the same of the weights after four steps of distillation with
//     clipping and SGD.
//   - Fusion: fused programs compute what unfused ones do.
//   - Half: a step in bfloat16 is near the one in float32, and another. It is not
//     run where b does not claim bfloat16 (engine.MixedPrecision).
//   - Prepared: what is computed once of a frozen net follows its variables.
//   - Arena: tensors share memory.
//
// Results are held to the largest of a program's: the gradient of a bias before
// a BatchNorm is nothing but rounding errors. RunRepeat and RunAllocations are
// for backends that promise more.
func RunPrograms(t *testing.T, b engine.Backend, s Size) {
	for _, c := range programChecks {
		t.Run(c.name, func(t *testing.T) { c.check(t, b, s) })
	}
}

// RunRepeat tests that training steps from the same start give the same bits
// each time, in a program that is not compiled anew.
func RunRepeat(t *testing.T, b engine.Backend, s Size) {
	t.Run("Repeat", func(t *testing.T) { checkRepeat(t, b, s) })
}

// RunAllocations tests that a run of a program allocates nothing on the heap,
// neither in training nor in inference.
func RunAllocations(t *testing.T, b engine.Backend, s Size) {
	t.Run("Allocations", func(t *testing.T) { checkAllocations(t, b, s) })
}

// A program is a recipe and what it is compiled for.
type program struct {
	engine.Backend
	Recipe
}

// reference is the recipe on the reference, unfused.
func reference(r Recipe) program { return program{ref.New(ref.WithoutFusion()), r} }

// trials compiles programs, hands them to f and closes them. It reports what
// goes wrong.
func trials(t reporter, s Size, f func(c []*Trial) error, all ...program) {
	var open []*Trial
	for _, p := range all {
		c, err := NewTrial(p.Backend, s, p.Recipe)
		if err != nil {
			t.Errorf("on %s: %v", p.Name(), err)
			break
		}
		open = append(open, c)
	}
	if len(open) == len(all) {
		if err := f(open); err != nil {
			t.Errorf("%+v on %s: %v", all[0].Recipe, all[0].Name(), err)
		}
	}
	for _, c := range open {
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
}

// after returns a trial's results after n more runs.
func (c *Trial) after(n int) (results, error) {
	for range n {
		if err := c.Run(); err != nil {
			return results{}, err
		}
	}
	return c.results()
}

// agree compares all that two trials computed.
func agree(got, want results, tolerance float64) error {
	if !slices.Equal(got.names, want.names) || len(want.names) < 2 {
		return fmt.Errorf("results are %q and %q", got.names, want.names)
	}
	largest := 0.0
	for _, w := range want.values {
		for _, v := range w {
			largest = math.Max(largest, math.Abs(float64(v)))
		}
	}
	for k, w := range want.values {
		for i, v := range w {
			if d := math.Abs(float64(got.values[k][i]) - float64(v)); !(d <= tolerance*largest) {
				return fmt.Errorf("%s[%d] is %v, want %v ± %v", want.names[k], i, got.values[k][i], v, tolerance*largest)
			}
		}
	}
	return nil
}

// compareRuns runs two trials n times and compares their results.
func compareRuns(got, want *Trial, n int, tolerance float64) error {
	a, err := got.after(n)
	if err != nil {
		return err
	}
	b, err := want.after(n)
	if err != nil {
		return err
	}
	return agree(a, b, tolerance)
}

func checkStep(t reporter, b engine.Backend, s Size, r Recipe) {
	trials(t, s, func(c []*Trial) error { return compareRuns(c[0], c[1], 1, oneRun) }, program{b, r}, reference(r))
}

func checkSteps(t reporter, b engine.Backend, s Size) {
	r := Recipe{Kind: SGD, Distill: true}
	trials(t, s, func(c []*Trial) error { return compareRuns(c[0], c[1], 4, runs) }, program{b, r}, reference(r))
}

func checkFusion(t reporter, b engine.Backend, s Size) {
	for _, r := range []Recipe{{}, {Distill: true}, {Kind: Inference}} {
		plain := r
		plain.NoFuse = true
		trials(t, s, func(c []*Trial) error { return compareRuns(c[0], c[1], 1, oneRun) }, program{b, r}, program{b, plain})
	}
}

func checkHalf(t reporter, b engine.Backend, s Size) {
	if m, ok := b.(engine.MixedPrecision); !ok || !m.BFloat16() {
		t.Logf("%s does not have bfloat16", b.Name())
		return
	}
	trials(t, s, func(c []*Trial) error {
		if err := compareRuns(c[0], c[1], 1, inHalfs); err != nil {
			return err
		}
		return differ(c[0], c[1], "the loss in bfloat16 is that in float32 to the bit")
	}, program{b, Recipe{Distill: true, Half: true}}, program{b, Recipe{Distill: true}})
}

// differ returns an error where the first results are the same.
func differ(a, b *Trial, otherwise string) error {
	x, err := a.results()
	if err != nil {
		return err
	}
	y, err := b.results()
	if err == nil && slices.Equal(x.values[0], y.values[0]) {
		err = errors.New(otherwise)
	}
	return err
}

// checkPrepared gives a program that has run another teacher.
func checkPrepared(t reporter, b engine.Backend, s Size) {
	const seed = 99
	r := Recipe{Distill: true}
	trials(t, s, func(c []*Trial) error {
		first, err := c[0].after(1)
		if err != nil {
			return err
		}
		for _, c := range c {
			if err := errors.Join(c.student.fill(c.store, studentSeed), c.teacher.fill(c.store, seed)); err != nil {
				return err
			}
		}
		if err := compareRuns(c[0], c[1], 1, oneRun); err != nil {
			return fmt.Errorf("with another teacher: %w", err)
		}
		second, err := c[0].results()
		if err == nil && first.values[0][0] == second.values[0][0] {
			err = errors.New("another teacher gives the same loss")
		}
		return err
	}, program{b, r}, reference(r))
}

// checkRepeat takes two steps from the same start, twice.
func checkRepeat(t reporter, b engine.Backend, s Size) {
	for _, kind := range []Kind{SGD, AdamW} {
		trials(t, s, func(c []*Trial) error {
			first, err := c[0].after(2)
			if err != nil {
				return err
			}
			if err := c[0].fill(); err != nil {
				return err
			}
			again, err := c[0].after(2)
			if err != nil {
				return err
			}
			for k, x := range again.values {
				if !slices.Equal(x, first.values[k]) {
					return fmt.Errorf("%s is another after the same two steps", first.names[k])
				}
			}
			return nil
		}, program{b, Recipe{Kind: kind, Distill: true}})
	}
}

func checkArena(t reporter, b engine.Backend, s Size) {
	for _, r := range []Recipe{{Kind: AdamW}, {Kind: Inference}} {
		trials(t, s, func(c []*Trial) error { return arena(c[0].Plan()) }, program{b, r})
	}
}

// arena returns an error for a plan whose tensors do not share memory.
func arena(p *engine.Plan) error {
	if p.ArenaBytes >= p.NaiveBytes || p.ArenaBytes < p.PeakBytes || p.PeakBytes == 0 {
		return fmt.Errorf("an arena of %d bytes, %d without sharing, %d at least", p.ArenaBytes, p.NaiveBytes, p.PeakBytes)
	}
	return nil
}

func checkAllocations(t reporter, b engine.Backend, s Size) {
	for _, r := range []Recipe{{Kind: AdamW}, {Kind: SGD, Distill: true}, {Kind: Inference}} {
		trials(t, s, func(c []*Trial) error {
			err := c[0].Run() // uploads, hoisted steps
			// The count is of the whole process: what allocates in each of several series
			// of runs is the runs', and not the runtime's own on a busy machine.
			n := 1.
			for series := 0; series < 4 && n != 0; series++ {
				n = testing.AllocsPerRun(5, func() {
					if err == nil {
						err = c[0].Run()
					}
				})
			}
			if err == nil && n != 0 {
				err = fmt.Errorf("%v allocations a run", n)
			}
			return err
		}, program{b, r})
	}
}
