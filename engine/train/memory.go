package train

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
)

// A MemoryError says that a program of training or evaluation does not fit into
// the device's memory, and what would. It wraps [engine.ErrOutOfMemory].
type MemoryError struct {
	What         string // "training step", "optimizer step" or "evaluation"
	Images, H, W int    // the batch: so many images of H x W
	Device       string
	Needed, Free int // bytes; Needed is 0 where it is not known, Free -1
	// Batch is the largest batch with which the whole run would fit (its steps
	// and its evaluation): 0 if there is none or it is not known.
	Batch int
	Err   error
}

// Error implements error.
func (e *MemoryError) Error() string {
	s := fmt.Sprintf("%s for %d images of %dx%d on %s", e.What, e.Images, e.H, e.W, e.Device)
	switch {
	case e.Needed > 0 && e.Free >= 0:
		s += fmt.Sprintf(" needs %s, %s are free", engine.HumanBytes(e.Needed), engine.HumanBytes(e.Free))
	case e.Needed > 0:
		s += fmt.Sprintf(" needs %s, more than there are", engine.HumanBytes(e.Needed))
	case e.Free >= 0:
		s += fmt.Sprintf(" needs more than the %s that are free", engine.HumanBytes(e.Free))
	default:
		s += fmt.Sprintf(": %v", e.Err)
	}
	switch {
	case e.Batch > 0:
		return s + fmt.Sprintf(": a batch of %d would fit", e.Batch)
	case e.Free >= 0:
		return s + ": not even a batch of 1 would fit; use smaller images or a smaller net"
	}
	return s + ": use a smaller batch"
}

// Unwrap returns the engine's error.
func (e *MemoryError) Unwrap() error { return e.Err }

// explainMemory makes err, which has come of compiling for k, a *MemoryError, if
// memory was lacking. fit finds the largest batch that fits into so many bytes
// besides those that are free.
func explainMemory(what string, k stepKey, b engine.Backend, err error, fit func(free int) int) error {
	if !errors.Is(err, engine.ErrOutOfMemory) {
		return err
	}
	e := &MemoryError{What: what, Images: k.n, H: k.h, W: k.w, Device: b.Name(), Free: -1, Err: err}
	var m *engine.MemoryError
	if errors.As(err, &m) {
		e.Needed, e.Free = m.Needed, m.Free
	}
	free := engine.FreeMemory(b)
	if free < 0 {
		return e
	}
	if e.Free < 0 {
		e.Free = free
	}
	e.Batch = fit(free)
	return e
}

// program returns the program for batches of this shape. An error of memory says
// what would fit.
func (t *Trainer) program(k stepKey) (*program, error) {
	p, err := t.programs.of(k)
	return p, explainMemory("training step", k, t.store.Backend(), err, t.fit)
}

// optimizer does so for the optimizer's.
func (t *Trainer) optimizer(absent bool) (*program, error) {
	p, err := t.programs.optimizer(absent)
	return p, explainMemory("optimizer step", t.source.key(t.c.Batch, 1), t.store.Backend(), err, t.fit)
}

// allocation is what a large allocation of a device is a multiple of.
const allocation = 2 << 20

// taken returns the bytes that an allocation really takes.
func taken(n int) int {
	if n < allocation/2 {
		return (n + 511) &^ 511
	}
	return (n + allocation - 1) / allocation * allocation
}

// spare returns the part of so much memory that programs may plan with: the
// driver takes some for itself.
func spare(n int) int { return n - n/64 }

// fit returns the largest batch with which the run fits into the memory that is
// free and that which the trainer's own programs hold.
func (t *Trainer) fit(free int) int {
	free += t.programs.arenas()
	for _, p := range t.judge.progs {
		free += taken(p.prog.Plan().ArenaBytes)
	}
	return LargestBatch(t.c.Batch, spare(free), t.needs)
}

// keys returns the programs that a run with batches of so many images needs.
func (t *Trainer) keys(batch int) (all []stepKey) {
	total := t.source.images.Len()
	if t.c.DropLast {
		total -= total % batch
	}
	seen := make(map[stepKey]bool)
	step := batch * t.c.perStep()
	for at := 0; at < total; at += step {
		images := min(step, total-at)
		for i := t.c.rank() * batch; i < images; i += batch * t.c.ranks() {
			n := min(batch, images-i)
			round := i / batch / t.c.ranks() * t.c.ranks()
			k := t.source.key(n, t.weight(n, images))
			k.active = min(t.c.ranks(), ceilDiv(images, batch)-round)
			if !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	return all
}

// needs returns the bytes that the programs of a run with such batches take,
// with the variables that are not there yet.
func (t *Trainer) needs(batch int) (int, error) {
	sum := 0
	arenas := make(map[int]int) // by images: those of different weights are alike
	for _, k := range t.keys(batch) {
		if arenas[k.n] == 0 {
			g, p, err := t.programs.write(k)
			if err != nil {
				return 0, err
			}
			n, err := g.Footprint(t.store.Backend(), engine.Options{Store: t.store, Outputs: p.Outputs()})
			if err != nil {
				return 0, err
			}
			arenas[k.n] = n
		}
		sum += taken(arenas[k.n])
	}
	n, err := t.judge.footprint(t.judge.images, batch)
	sum += taken(n)
	missing := func(s *engine.Store, vars []*engine.Variable) {
		for _, v := range vars {
			if !s.Holds(v) {
				sum += taken(v.Bytes())
			}
		}
	}
	missing(t.store, t.vars)
	missing(t.store, t.programs.step.Variables())
	if t.judge.averages() {
		missing(t.judge.store, t.vars)
	}
	return sum, err
}

// hostNeeds returns the bytes of the machine's memory that a run with such
// batches takes: those of the batches that are made ahead, and on a backend that
// works in it those of the programs.
func (t *Trainer) hostNeeds(batch int) (int, error) {
	sum := t.source.loader.Bytes(batch)
	l, err := t.judge.loader(t.judge.images)
	if err != nil {
		return 0, err
	}
	sum += l.Bytes(batch)
	if _, ok := t.store.Backend().(engine.HostBacked); ok {
		n, err := t.needs(batch)
		return sum + n, err
	}
	return sum, nil
}

// checkHost returns a *MemoryError where a run needs more of the machine's
// memory than is left. The system would not refuse it, but end the process.
func checkHost(what string, k stepKey, needs func(batch int) (int, error)) error {
	free := engine.HostMemory()
	if free < 0 {
		return nil
	}
	n, err := needs(k.n)
	if err != nil || n <= free { // compiling will say what is wrong
		return nil
	}
	return &MemoryError{What: what, Images: k.n, H: k.h, W: k.w, Device: "this machine", Needed: n, Free: free,
		Batch: LargestBatch(k.n, spare(free), needs), Err: engine.ErrOutOfMemory}
}

// prepare sees to it that the run has the memory that it needs before its first
// step. On a backend that has memory of its own it compiles all programs: that
// there is too little shows at once, and not after an epoch.
func (t *Trainer) prepare() error {
	if t.ledger.over() {
		return nil
	}
	if err := checkHost("training", t.source.key(t.c.Batch, 1), t.hostNeeds); err != nil {
		return err
	}
	if _, ok := t.store.Backend().(engine.Metered); !ok {
		return nil
	}
	for _, k := range t.keys(t.c.Batch) {
		if _, err := t.program(k); err != nil {
			return err
		}
	}
	if t.c.Accumulate > 1 {
		if _, err := t.optimizer(false); err != nil {
			return err
		}
	}
	return t.judge.prepare(t.judge.images)
}

// probes is how often LargestBatch asks between the smallest and the largest batch.
const probes = 8

// LargestBatch returns the largest n below most for which need(n), which grows about
// linearly, is found to be at most room; 0 if there is none. Only sizes that
// need was asked for are returned. The straight line through the largest size
// known to fit and the smallest known not to says what to ask next; where it was
// wrong twice, half the way is asked, for it would creep along a curve.
func LargestBatch(most, room int, need func(n int) (int, error)) int {
	if most <= 1 {
		return 0
	}
	lo, hi := 1, most // fits, does not
	atLo, err := need(lo)
	if err != nil || atLo > room {
		return 0
	}
	atHi, err := need(hi)
	if err != nil {
		atHi = 0 // not known
	}
	misses := 0
	for range probes {
		at := (lo + hi) / 2
		if misses == 2 {
			misses = 0
		} else if atHi > room {
			share := float64(room-atLo) / float64(atHi-atLo)
			at = lo + int(float64(hi-lo)*share)
		}
		if at = min(at, hi-1); at <= lo {
			break
		}
		n, err := need(at)
		switch {
		case err != nil:
			hi, atHi = at, 0
		case n <= room:
			lo, atLo, misses = at, n, 0
		default:
			hi, atHi = at, n
			misses++
		}
	}
	return lo
}
