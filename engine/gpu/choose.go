package gpu

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A candidate is one implementation of an op.
type candidate struct {
	name          string
	deterministic bool // gives the same bits at every run
	low           lowering
	// library marks one that loads code at its first run, which a recording
	// must not be.
	library bool
	// release frees what low holds, once it is not needed; nil: nothing.
	release func() error
}

// A Timing is how long one implementation took.
type Timing struct {
	Name          string        `json:"name"`
	Time          time.Duration `json:"ns"` // of one run, on scratch memory that is in no cache
	Workspace     int           `json:"workspace"`
	Deterministic bool          `json:"deterministic"`
	Failed        string        `json:"failed,omitempty"` // why it could not run
}

// A Choice says which implementation runs an op on given shapes, and how fast
// it and the others were. Specs are as engine.Spec renders them.
type Choice struct {
	Op         string   `json:"op"` // its name
	Settings   string   `json:"settings"`
	In         []string `json:"in"`
	Out        []string `json:"out"`
	Winner     string   `json:"winner"`
	Remembered bool     `json:"remembered"` // the times are of an earlier run
	Timings    []Timing `json:"timings"`    // the fastest first; none if there was no choice

	key string // choiceKey
}

// Time returns the winner's time, zero if it was not measured.
func (c Choice) Time() time.Duration {
	for _, t := range c.Timings {
		if t.Name == c.Winner {
			return t.Time
		}
	}
	return 0
}

// Cost returns by how much the winner is slower than the fastest, which is what
// Options.Deterministic costs here.
func (c Choice) Cost() time.Duration {
	for _, t := range c.Timings {
		if t.Failed == "" {
			return max(c.Time()-t.Time, 0)
		}
	}
	return 0
}

// Choices returns what was chosen so far, in the order of compiling. Ops that
// have one implementation only are not among them.
func (b *Backend) Choices() []Choice { return slices.Clone(b.choices) }

// choiceKey names an op on specs in one line.
func choiceKey(op engine.Op, in, out []engine.Spec) string {
	return fmt.Sprintf("%s%s %v → %v", engine.OpName(op), settings(op), in, out)
}

// settings renders an op's fields, those behind pointers too.
func settings(op engine.Op) string {
	if text, err := json.Marshal(op); err == nil {
		return string(text)
	}
	return fmt.Sprintf("%+v", op)
}

// choose returns the fastest of several implementations of op. The times are
// those of an earlier run, on the same card with the same libraries, if there
// are such; else all candidates are run on scratch memory, and their times are
// kept. The first candidate is one that always runs: it is taken where there is
// no memory to time them. With Options.Deterministic the fastest of the
// deterministic ones wins.
func (b *Backend) choose(op engine.Op, in, out []engine.Spec, cs []candidate) (lowering, error) {
	if len(cs) == 0 {
		return lowering{}, fmt.Errorf("%s: %w", engine.OpName(op), engine.ErrUnsupported)
	}
	c := Choice{Op: engine.OpName(op), Settings: settings(op), In: texts(in), Out: texts(out), key: choiceKey(op, in, out)}
	winner, err := b.decide(&c, op, in, out, cs)
	if err != nil {
		return lowering{}, errors.Join(err, b.release(cs, -1))
	}
	if len(cs) > 1 {
		c.Winner = cs[winner].name
		b.choices = append(b.choices, c)
		b.tell(c)
	}
	if f := cs[winner].release; f != nil {
		b.closers = append(b.closers, f)
	}
	return cs[winner].low, b.release(cs, winner)
}

// shared has candidates that hold one thing release it once none of them is
// needed.
func shared(cs []candidate, release func() error) {
	left := len(cs)
	for i := range cs {
		cs[i].release = func() error {
			if left--; left > 0 {
				return nil
			}
			return release()
		}
	}
}

// release frees the candidates but one.
func (b *Backend) release(cs []candidate, but int) error {
	var errs []error
	for i, c := range cs {
		if i != but && c.release != nil {
			errs = append(errs, c.release())
		}
	}
	if b.lost != nil { // of which nothing is to be freed, and all was said
		return nil
	}
	return b.wrap(errors.Join(errs...))
}

func texts(specs []engine.Spec) []string {
	all := make([]string, len(specs))
	for i, s := range specs {
		all[i] = s.String()
	}
	return all
}

// decide fills in c's timings and returns the winner's place in cs.
func (b *Backend) decide(c *Choice, op engine.Op, in, out []engine.Spec, cs []candidate) (int, error) {
	if b.forced > 0 {
		return b.force(op, in, out, cs)
	}
	if len(cs) == 1 || b.wanted != nil {
		return 0, nil
	}
	for _, p := range b.prefers {
		if i := slices.IndexFunc(cs, func(c candidate) bool { return strings.HasPrefix(c.name, p) }); i >= 0 {
			return i, b.warm(op, in, out, cs[i])
		}
	}
	key := choiceKey(op, in, out) + ", " + among(cs)
	if c.Timings = b.memory.get(key); c.Timings != nil {
		c.Remembered = true
		if i, ok := fastest(c.Timings, cs, b.options.Deterministic); ok {
			err := b.warm(op, in, out, cs[i])
			if err == nil || b.lost != nil {
				return i, err
			}
			b.log.Debug("what was chosen before does not run now", "op", c.Op, "in", c.In, "implementation", cs[i].name, "reason", err)
		}
		c.Remembered = false
	}
	timings, err := b.measure(op, in, out, cs)
	switch {
	case b.lost != nil:
		return 0, b.lost
	case errors.Is(err, engine.ErrOutOfMemory):
		b.log.Debug("too little memory to time implementations, ours is taken", "op", c.Op, "in", c.In, "reason", err)
		return 0, nil
	case err != nil:
		return 0, err
	}
	slices.SortStableFunc(timings, func(x, y Timing) int {
		if (x.Failed == "") != (y.Failed == "") {
			return cmp.Compare(len(x.Failed), len(y.Failed))
		}
		return cmp.Compare(x.Time, y.Time)
	})
	c.Timings = timings
	i, ok := fastest(timings, cs, b.options.Deterministic)
	if !ok {
		return 0, fmt.Errorf("%s%v: no implementation runs: %s", c.Op, in, timings[0].Failed)
	}
	b.memory.put(key, timings)
	return i, nil
}

// force returns the place of the forced-th candidate that may be taken, or of
// the last one; of one before it if a library does not do this shape.
func (b *Backend) force(op engine.Op, in, out []engine.Spec, cs []candidate) (int, error) {
	var places []int
	for i, c := range cs {
		if c.deterministic || !b.options.Deterministic {
			places = append(places, i)
		}
	}
	b.most = max(b.most, len(places))
	for k := min(b.forced, len(places)) - 1; ; k-- {
		if err := b.warm(op, in, out, cs[places[k]]); k == 0 || !errors.Is(err, cuda.ErrNotSupported) {
			return places[k], err
		}
	}
}

// among tells one set of candidates from another.
func among(cs []candidate) string {
	h := sha256.New()
	for _, c := range cs {
		fmt.Fprintln(h, c.name)
	}
	return fmt.Sprintf("%d candidates %x", len(cs), h.Sum(nil)[:6])
}

// fastest returns the place in cs of the first of timings, which are sorted,
// that may be taken.
func fastest(timings []Timing, cs []candidate, deterministic bool) (int, bool) {
	for _, t := range timings {
		i := slices.IndexFunc(cs, func(c candidate) bool { return c.name == t.Name })
		if t.Failed == "" && i >= 0 && (cs[i].deterministic || !deterministic) {
			return i, true
		}
	}
	return 0, false
}

// tell logs a choice.
func (b *Backend) tell(c Choice) {
	args := []any{"op", c.Op, "settings", c.Settings, "in", c.In, "winner", c.Winner, "time", c.Time(), "remembered", c.Remembered}
	for _, t := range c.Timings {
		if t.Name != c.Winner && t.Failed == "" {
			args = append(args, "next", t.Name, "ratio", ratio(t.Time, c.Time()))
			break
		}
	}
	b.log.Debug("implementation chosen", args...)
	if cost := c.Cost(); b.options.Deterministic && cost > 0 {
		b.log.Debug("determinism costs time", "op", c.Op, "in", c.In, "winner", c.Winner, "time", c.Time(), "slower by", cost)
	}
}

func ratio(a, b time.Duration) string {
	if b <= 0 {
		return "?"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}
