package data

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/wire"
)

// Epoch is one pass over the data under way.
type Epoch struct {
	l       *Loader
	ctx     context.Context
	cancel  context.CancelFunc
	epoch   int
	order   []int // nil: as in the split
	ring    []*slot
	first   int // the number of its first batch; those of the others follow Parts apart
	next    int // step that Next returns next
	steps   int
	tickets chan int // steps whose buffers are free
	wg      sync.WaitGroup
	closed  bool
}

// Epoch starts making the batches of an epoch, from step start on; the batches
// are those that a whole epoch would have at these steps, or every Parts-th of them. Close must be called.
// Once its buffers have grown, an epoch allocates nothing per batch.
func (l *Loader) Epoch(ctx context.Context, epoch, start int) *Epoch {
	ctx, cancel := context.WithCancel(ctx)
	first := min(max(start, 0), l.Steps())
	e := &Epoch{l: l, ctx: ctx, cancel: cancel, epoch: epoch, first: first + l.o.Part}
	e.steps = max(0, (l.Steps()-e.first+l.o.Parts-1)/l.o.Parts)
	e.ring, e.order = l.take()
	r := random.New(l.o.Seed, epoch, 0, random.UseShuffle)
	switch {
	case l.o.Balanced:
		e.order = grow(e.order, l.s.Len())
		r = random.New(l.o.Seed, epoch, 0, random.UseBalance)
		l.s.balance(e.order, l.byClass, &r)
	case l.o.Shuffle:
		e.order = grow(e.order, l.s.Len())
		r.Shuffle(e.order)
	default:
		e.order = nil
	}
	e.tickets = make(chan int, len(e.ring))
	for step := range min(len(e.ring), e.steps) {
		e.tickets <- step
	}
	if len(e.ring) >= e.steps {
		close(e.tickets)
	}
	for range min(l.o.Workers, e.steps) {
		e.wg.Go(e.work)
	}
	return e
}

// Next returns the next batch, or io.EOF after the last, or the context's error.
// A batch may be read until the next but one call of Next, or Close, after which
// its memory is used again.
func (e *Epoch) Next() (*Batch, error) {
	if e.closed {
		return nil, errors.New("data: Next on a closed epoch")
	}
	if err := e.ctx.Err(); err != nil {
		return nil, err
	}
	if e.next >= e.steps {
		return nil, io.EOF
	}
	// The batch before the previous one is given up: its buffer takes the step
	// one ring ahead of it.
	if old := e.next - 2; old >= 0 {
		step := old + len(e.ring)
		if step < e.steps {
			e.tickets <- step
		}
		if step == e.steps-1 {
			close(e.tickets)
		}
	}
	s := e.ring[e.next%len(e.ring)]
	select {
	case <-s.ready:
	case <-e.ctx.Done():
		return nil, e.ctx.Err()
	}
	e.next++
	return &s.b, nil
}

// Close ends the epoch's goroutines and keeps its buffers for another epoch. It
// may be called at any step, and twice.
func (e *Epoch) Close() {
	if e.closed {
		return
	}
	e.closed = true
	e.cancel()
	e.wg.Wait()
	for _, s := range e.ring {
		select {
		case <-s.ready:
		default:
		}
	}
	e.l.mu.Lock()
	defer e.l.mu.Unlock()
	e.l.free = append(e.l.free, e.ring)
	if e.order != nil {
		e.l.freeOrders = append(e.l.freeOrders, e.order)
	}
}

func (e *Epoch) work() {
	s := scratchPool.Get().(*scratch)
	defer scratchPool.Put(s)
	for {
		select {
		case <-e.ctx.Done():
			return
		case step, ok := <-e.tickets:
			if !ok || e.ctx.Err() != nil {
				return
			}
			slot := e.ring[step%len(e.ring)]
			e.fill(&slot.b, e.first+step*e.l.o.Parts, s)
			slot.ready <- struct{}{}
		}
	}
}

// fill makes the batch of a number within the whole epoch.
func (e *Epoch) fill(b *Batch, step int, s *scratch) {
	l := e.l
	first := step * l.o.Batch
	b.N = min(l.o.Batch, l.s.Len()-first)
	b.resize(l)
	clear(b.Targets)
	for k := range b.N {
		i := first + k
		if e.order != nil {
			i = e.order[i]
		}
		b.Index[k], b.Numbers[k] = i, uint32(i)
		c := l.s.Label(i)
		b.Labels[k] = int32(c)
		b.Targets[k*l.classes+c] = 1
		e.image(b, k, i, first+k, s)
	}
	if (l.o.MixupAlpha > 0 || l.o.CutMix > 0) && b.N > 1 && !l.o.Eval {
		s.rand = random.New(l.o.Seed, e.epoch, step, random.UseMixup)
		s.mixBatch(b, l.o.MixupAlpha, l.o.CutMix)
	}
	if w := l.o.ClassWeights; w != nil {
		for i := range b.Targets {
			b.Targets[i] *= w[i%l.classes]
		}
	}
}

// resize cuts the buffers to N images.
func (b *Batch) resize(l *Loader) {
	b.Targets, b.Labels, b.Index, b.Numbers = b.Targets[:b.N*b.Classes], b.Labels[:b.N], b.Index[:b.N], b.Numbers[:b.N]
	if l.o.OnDevice {
		b.Params = b.Params[:b.N*wire.AugmentParams]
	} else {
		b.Images = b.Images[:b.N*b.H*b.W*b.C]
	}
	for i, v := range l.views {
		b.Views[i] = b.Views[i][:b.N*v[0]*v[1]*v[2]]
	}
}

// image makes the batch's image k from image i of the split, in all its views,
// or says how the device is to make it. Under balanced sampling an image may
// come again within the epoch, at another place, and is then augmented anew.
func (e *Epoch) image(b *Batch, k, i, place int, s *scratch) {
	o := &e.l.o
	sample := i
	if o.Balanced {
		sample = place
	}
	draw := func() *random.Rand {
		if o.Eval {
			return nil
		}
		s.rand = random.New(o.Seed, e.epoch, sample, random.UseAugment)
		return &s.rand
	}
	r := draw()
	if o.OnDevice {
		h, w := e.l.s.Bounds(i)
		o.Augment.Draw(b.Params[k*wire.AugmentParams:], h, w, r)
		return
	}
	px := b.H * b.W * b.C
	src := e.l.s.Image(i)
	s.apply(&o.Augment, b.Images[k*px:(k+1)*px], src, r)
	for v := range o.Views {
		px := e.l.views[v][0] * e.l.views[v][1] * e.l.views[v][2]
		s.applyView(&o.Augment, &o.Views[v], b.Views[v][k*px:(k+1)*px], src, draw())
	}
}
