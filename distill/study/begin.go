package study

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/potstill/potstill/distill/claim"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/fit"
	"github.com/potstill/potstill/engine"
)

// try begins a unit for which there is a place, unless it is done already or
// under way elsewhere. So many units are ready, this one among them, that may
// share the machine.
func (c *schedule) try(ctx context.Context, n *node, ready int) error {
	s, u := n.s, n.u
	if u.key == "" {
		if err := s.setKey(u); err != nil {
			return err
		}
	}
	if u.out = u.findOutcome(); u.out != nil && !s.lacks(u) {
		n.state, n.held, c.pause = done, nil, 0
		c.o.Progress.Begin(n.label(), u.index+1, len(c.nodes), s.length(u))
		c.o.Progress.End(n.label(), u.note(), true)
		return nil
	}
	same := func(o *node) bool { return o.state == running && o.u.key == u.key }
	if slices.ContainsFunc(c.nodes, same) { // with another seed, and the seed does not matter
		return nil
	}
	claims, err := c.claim(n)
	if errors.As(err, &n.held) {
		return nil
	}
	if err != nil {
		return hinted(writing(filepath.Join(c.o.Dir, claimsDir), err))
	}
	n.held = nil
	b, shut, err := c.backend(n, ready)
	if err != nil {
		return errors.Join(err, claims.free())
	}
	job := *s // which has a device of its own
	job.b = b
	if c.jobs() > 1 {
		job.o.Logger = job.o.Logger.With("step", n.label())
	}
	if n.used > 0 && job.o.Workers == 0 {
		job.o.Workers = n.used
	}
	n.state = running
	c.o.Progress.Begin(n.label(), u.index+1, len(c.nodes), s.length(u))
	go func() {
		n.err = errors.Join(job.do(ctx, u, claims), shut())
		c.ended <- n
	}()
	return nil
}

// backend opens what a unit computes on: its share of the processor's threads,
// where several run at a time, here or in several processes; all of it, where it
// runs alone.
func (c *schedule) backend(n *node, ready int) (b engine.Backend, shut func() error, err error) {
	n.used = 0
	if c.jobs() == 1 && c.o.Share <= 1 || n.u.timed() {
		return c.b, func() error { return nil }, nil
	}
	if total := threads(c.b); total > 0 {
		free := total / max(c.o.Share, 1)
		for _, o := range c.nodes {
			if o.state == running {
				free -= o.used
			}
		}
		n.used = max(1, free/min(ready, c.jobs()-c.count(running)))
	}
	if b, err = c.o.OpenBackend(n.used); err != nil {
		return nil, nil, err
	}
	return b, b.Close, nil
}

// claimsDir is the folder in which processes claim steps, in a study's folder.
const claimsDir = "claims"

// A claimed unit is this process's to do. One that is timed has the machine, too.
type claimed struct {
	unit, machine *claim.Claim
	folder        *claim.Folder
}

// claim claims a unit without waiting. The error is a *claim.HeldError where
// another process is at it, or times something on this machine.
func (c *schedule) claim(n *node) (*claimed, error) {
	k := &claimed{folder: c.claims}
	var err error
	if n.u.timed() {
		sum := sha256.Sum256([]byte(c.claims.Machine()))
		if k.machine, err = c.claims.Try("timing-"+hex.EncodeToString(sum[:6]), true); err != nil {
			return nil, err
		}
	}
	if k.unit, err = c.claims.Try(n.u.claimName(), n.u.timed()); err != nil {
		return nil, errors.Join(err, k.free())
	}
	if n.u.timed() {
		return k, nil // it waits for what runs beside it
	}
	others, err := c.claims.Others()
	if err != nil {
		return nil, errors.Join(err, k.free())
	}
	for _, h := range others {
		if h.Alone {
			return nil, errors.Join(&claim.HeldError{By: h}, k.free())
		}
	}
	return k, nil
}

// free gives the claims back; the unit is not done.
func (k *claimed) free() (err error) {
	if k.unit != nil {
		err = k.unit.Free()
	}
	return errors.Join(err, k.give())
}

// done gives the claims of a unit back that is done.
func (k *claimed) done() error { return errors.Join(k.unit.Done(), k.give()) }

// give gives the machine back.
func (k *claimed) give() error {
	if k.machine == nil {
		return nil
	}
	return k.machine.Done()
}

// alone waits until no other process that works on the study does so on this
// machine. They begin nothing as long as the claim is there.
func (s *session) alone(ctx context.Context, u *unit, k *claimed) error {
	var p pause
	for said := false; ; {
		others, err := k.folder.Others()
		if err != nil || len(others) == 0 {
			return err
		}
		if !said {
			said = true
			s.o.Logger.Info(fmt.Sprintf("waiting with step %s for %s on this machine: what is timed runs alone", s.label(u), others[0]))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(p.next()):
		}
	}
}

// timed reports whether a unit measures times, which others' work would falsify.
func (u *unit) timed() bool {
	return u.step.timed()
}

func (s *Step) timed() bool { return s.Kind == kindEvaluate || compress.Timed(s.method) }

// keyDigits are as many digits of a unit's key as its folder's name has.
const keyDigits = 12

// claimName is what other processes know the unit by, and the name of its folder.
func (u *unit) claimName() string { return u.name + "-" + u.key[:keyDigits] }

// do does a claimed unit, and gives the claims back.
func (s *session) do(ctx context.Context, u *unit, k *claimed) error {
	ctx, cancel := k.unit.Guard(ctx)
	defer cancel()
	cached, err := s.produce(ctx, u, k)
	if err == nil {
		err = k.done()
	} else {
		if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
			err = cause
		}
		err = errors.Join(err, k.free())
	}
	switch {
	case err == nil:
		s.o.Progress.End(s.label(u), u.note(), cached)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, claim.ErrLost):
		s.o.Progress.End(s.label(u), "stopped", false)
	default:
		s.o.Progress.End(s.label(u), "failed", false)
	}
	return err
}

// produce makes what a claimed unit lacks: all of it, or some figures; cached
// says that another process has done it before the claim was ours.
func (s *session) produce(ctx context.Context, u *unit, k *claimed) (cached bool, err error) {
	if u.timed() {
		if err := s.alone(ctx, u, k); err != nil {
			return false, err
		}
	}
	if u.out = u.findOutcome(); u.out != nil {
		return true, s.complete(ctx, u)
	}
	o := &outcome{Name: u.name, Key: u.key, Started: time.Now().UTC().Truncate(time.Second), Device: s.b.Name()}
	begin := time.Now()
	if err := u.prepare(); err != nil {
		return false, err
	}
	if err := s.make(ctx, u, o); err != nil {
		return false, err
	}
	o.Seconds = time.Since(begin).Seconds()
	if err := k.unit.Check(); err != nil {
		return false, err
	}
	if err := u.writeOutcome(o); err != nil {
		return false, hinted(err)
	}
	u.out = o
	s.o.Logger.Debug("step done", "step", u.name, "accuracy", o.Accuracy, "bytes", o.Bytes, "seconds", o.Seconds)
	return false, nil
}

// unlock removes the lock of a training run in the unit's folder, which is
// claimed: who left it is dead, but on some network's file systems its lock is not.
func (u *unit) unlock() { _ = os.Remove(filepath.Join(u.dir, fit.LockFile)) }

// A serial hands on a study's progress, one call at a time.
type serial struct {
	mu sync.Mutex
	Progress
}

// Begin implements Progress.
func (p *serial) Begin(step string, i, n, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Progress.Begin(step, i, n, total)
}

// Advance implements Progress.
func (p *serial) Advance(step string, done int, note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Progress.Advance(step, done, note)
}

// End implements Progress.
func (p *serial) End(step, note string, cached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Progress.End(step, note, cached)
}
