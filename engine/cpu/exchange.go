package cpu

import (
	"sync"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersCollective[engine.AllReduce]()
	lowersCollective[engine.MoveStatistics]()
	lowersAlone(func(engine.AllReduceWait, []engine.Spec, []engine.Spec) lowering {
		return func(q *queue, _, _ []engine.Tensor, _ unsafe.Pointer) { q.exchange(nil, false) }
	})
}

// lowersCollective registers what lowers the collectives of type T: a call between
// the launches before it and those behind it.
func lowersCollective[T engine.Collective]() {
	lowersAlone(func(op T, _, _ []engine.Spec) lowering {
		run := op.Exchanger()
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			from, to := hostViews(in), hostViews(out)
			q.exchange(func() error { return run(from, to) }, op.Async())
		}
	})
}

// hostViews returns the memory of tensors in float32.
func hostViews(ts []engine.Tensor) [][]float32 {
	v := make([][]float32, len(ts))
	for i, t := range ts {
		v[i] = f32(at(t), int64(t.Len()))
	}
	return v
}

// An exchange is a call between the launches of a list. A run of nil waits for those
// before.
type exchange struct {
	at    int // behind so many commands
	run   func() error
	async bool // the launches behind it need not wait for it
}

// exchange appends a call.
func (q *queue) exchange(run func() error, async bool) {
	q.exchanges = append(q.exchanges, exchange{len(q.commands), run, async})
}

// execute runs a list. After an error nothing more of it is run.
func (b *Backend) execute(q *queue) error {
	from := 0
	for _, x := range q.exchanges {
		b.lib.run(q.commands[from:x.at])
		from = x.at
		if x.run != nil {
			b.carrier.start(x.run)
		}
		if x.run == nil || !x.async {
			if err := b.carrier.wait(); err != nil {
				return err
			}
		}
	}
	b.lib.run(q.commands[from:])
	if len(q.exchanges) > 0 {
		return b.carrier.wait()
	}
	return nil
}

// A carrier is a goroutine that does exchanges one after the other, in the order
// in which they are started.
type carrier struct {
	jobs    chan func() error
	pending sync.WaitGroup
	err     error // the first; it stays: there is no way back from it. Read when nothing is pending.
}

func (c *carrier) start(run func() error) {
	if c.jobs == nil {
		c.jobs = make(chan func() error, 1024)
		go func(jobs chan func() error) {
			for run := range jobs {
				if c.err == nil {
					c.err = run()
				}
				c.pending.Done()
			}
		}(c.jobs)
	}
	c.pending.Add(1)
	c.jobs <- run
}

// wait waits for all that has been started.
func (c *carrier) wait() error {
	c.pending.Wait()
	return c.err
}

func (c *carrier) close() {
	if c.jobs != nil {
		close(c.jobs)
		c.jobs = nil
	}
}
