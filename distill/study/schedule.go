package study

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/distill/claim"
	"github.com/potstill/potstill/engine"
)

// A schedule does the units of a series, some at a time, together with other
// processes that work in the same folder.
type schedule struct {
	b      engine.Backend
	o      Options
	claims *claim.Folder
	nodes  []*node
	ended  chan *node // each unit that was begun, when it is over
	pause  pause
	said   map[string]string
}

// A node is a unit of one seed on its way.
type node struct {
	s     *session
	u     *unit
	needs []*node
	state state
	err   error // of what has ended
	held  *claim.HeldError
	used  int // threads
}

type state int

const (
	waiting state = iota // for what it needs, for a place, or for another process
	running
	done
)

// A pause is how long a process waits before it looks again at what others do:
// twice as long from time to time.
type pause time.Duration

// The first pause, and the longest.
const (
	firstPause   = pause(20 * time.Millisecond)
	longestPause = pause(time.Second)
)

// next returns the time to wait.
func (p *pause) next() time.Duration {
	d := max(*p, firstPause)
	*p = min(2*d, longestPause)
	return time.Duration(d)
}

// newSchedule returns the schedule of all units of a series, or, with names, of
// those of the named steps.
func newSchedule(b engine.Backend, o Options, runs series, claims *claim.Folder, names []string) (*schedule, error) {
	c := &schedule{b: b, o: o, claims: claims, said: make(map[string]string)}
	for _, s := range runs {
		of := make(map[*unit]*node)
		var here []*node
		for _, u := range s.units {
			n := &node{s: s, u: u}
			for _, other := range u.needs() {
				n.needs = append(n.needs, of[other])
			}
			of[u] = n
			here = append(here, n)
		}
		if len(names) > 0 {
			var err error
			if here, err = s.only(here, names); err != nil {
				return nil, err
			}
		}
		c.nodes = append(c.nodes, here...)
	}
	for i, n := range c.nodes {
		n.u.index = i
	}
	c.ended = make(chan *node, len(c.nodes))
	return c, nil
}

// run does all units. When one fails, those under way are stopped, to be resumed
// by the next run, and the error is that of the first.
func (c *schedule) run(ctx context.Context) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	var failed error
	var under []*node // when ctx ended
	for {
		if failed == nil && ctx.Err() == nil {
			if failed = c.begin(inner); failed != nil {
				stop()
			}
		}
		if c.count(running) == 0 {
			switch {
			case failed != nil:
				return failed
			case ctx.Err() != nil:
				return c.interrupted(ctx.Err(), under)
			case c.count(done) == len(c.nodes):
				return nil
			}
			c.sayWaiting()
		}
		n := c.next(ctx)
		if n == nil {
			continue
		}
		n.state = waiting
		switch {
		case n.err == nil:
			n.state = done
		case ctx.Err() != nil && errors.Is(n.err, ctx.Err()):
			under = append(under, n)
		case errors.Is(n.err, claim.ErrLost):
			c.o.Logger.Warn("a step was given up: "+claim.ErrLost.Error(), "step", n.label())
		case failed == nil:
			failed = fmt.Errorf("step %s: %w", n.label(), n.err)
			stop()
		}
	}
}

// next waits for a unit to end, and where nothing is under way or work is held
// by others, no longer than a moment. It returns nil where none has ended.
func (c *schedule) next(ctx context.Context) *node {
	var poll <-chan time.Time
	if slices.ContainsFunc(c.nodes, func(n *node) bool { return n.held != nil }) {
		timer := time.NewTimer(c.pause.next())
		defer timer.Stop()
		poll = timer.C
	}
	var stopped <-chan struct{}
	if c.count(running) == 0 {
		stopped = ctx.Done()
	}
	select {
	case n := <-c.ended:
		c.pause = 0
		return n
	case <-poll:
	case <-stopped:
	}
	return nil
}

// begin begins as many units as there are places for.
func (c *schedule) begin(ctx context.Context) error {
	for again := true; again; {
		again = false
		ready := c.ready()
		for i, n := range ready {
			if ctx.Err() != nil || !c.place(n) {
				continue
			}
			if err := c.try(ctx, n, len(ready)-i); err != nil {
				return fmt.Errorf("step %s: %w", n.label(), err)
			}
			if again = n.state == done; again {
				break // others may be ready now
			}
		}
	}
	return nil
}

// ready returns the units that wait for no other: those that are timed last, but
// where one unit is done after the other, in the recipe's order.
func (c *schedule) ready() (out []*node) {
	for _, n := range c.nodes {
		free := n.state == waiting && !slices.ContainsFunc(n.needs, func(o *node) bool { return o.state != done })
		if free {
			out = append(out, n)
		}
	}
	if c.jobs() > 1 {
		slices.SortStableFunc(out, func(a, b *node) int { return cmp.Compare(number(a.u.timed()), number(b.u.timed())) })
	}
	return out
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// place reports whether there is a place for a unit now. One that is timed runs
// alone.
func (c *schedule) place(n *node) bool {
	busy := c.count(running)
	if n.u.timed() {
		return busy == 0
	}
	return busy < c.jobs() && !slices.ContainsFunc(c.nodes, func(o *node) bool { return o.state == running && o.u.timed() })
}

func (c *schedule) jobs() int { return max(c.o.Jobs, 1) }

func (c *schedule) count(s state) (k int) {
	for _, n := range c.nodes {
		if n.state == s {
			k++
		}
	}
	return k
}

func (n *node) label() string { return n.s.label(n.u) }

// interrupted is the error of a run that was stopped in the steps under way, or
// before the next one.
func (c *schedule) interrupted(err error, under []*node) error {
	var steps []string
	for _, n := range c.nodes {
		if slices.Contains(under, n) || len(under) == 0 && n.state == waiting && len(steps) == 0 {
			steps = append(steps, n.label())
		}
	}
	return &InterruptedError{Step: strings.Join(steps, " and in step "), Done: c.count(done), Total: len(c.nodes), Err: err}
}

// sayWaiting says which steps other processes do, where there is nothing else to do.
func (c *schedule) sayWaiting() {
	for _, n := range c.nodes {
		if n.held == nil || n.state != waiting {
			continue
		}
		text := fmt.Sprintf("waiting for step %s, which %s does", n.label(), n.held.By)
		switch {
		case n.held.By.Name != n.u.claimName():
			text = fmt.Sprintf("waiting with step %s while %s times a step on this machine, which is to run alone", n.label(), n.held.By)
		case !n.held.By.Since.IsZero():
			text += " since " + n.held.By.Since.Local().Format(time.DateTime)
		}
		if c.said[n.label()] != text {
			c.said[n.label()] = text
			c.o.Logger.Info(text)
		}
	}
}
