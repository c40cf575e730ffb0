package gpu

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// Peers are the processes that train one net together, each with a card of its own. What is in
// the cards' memory is exchanged over NCCL, within the captured step; what is in the hosts'
// memory is exchanged by the engine.Peers that Join was given.
//
// The exchanges are enqueued in a stream of their own, beside the kernels, and in the order of
// the graph, which is the same at all ranks. A goroutine watches the other ranks: when one is
// gone, it aborts NCCL's communicator, so that the work in the stream ends, and from then on
// every call of the backend returns an error that names the rank.
type Peers struct {
	host    engine.Peers
	b       *Backend
	comm    *cuda.Comm
	stream  *cuda.Stream
	fork    *cuda.Event // recorded in the backend's stream: an exchange waits for it
	joined  *cuda.Event // recorded behind the exchanges: the backend's stream waits for it
	scratch cuda.Ptr
	bytes   int        // of scratch
	old     []cuda.Ptr // scratch memory that was too small for a later exchange

	sent atomic.Int64
	lost atomic.Pointer[error] // why the ranks cannot exchange any more
	stop chan struct{}         // ends watch
	done sync.WaitGroup
}

// How often watch looks, and how long it waits, after NCCL has reported an error, for the hosts
// to find out which rank is gone.
const (
	lookEvery = 100 * time.Millisecond
	blameWait = 9 * time.Second
)

// Join connects the backend's card with those of the other ranks, which must all call it. host
// connects the processes. If it has a method Err() error, that must return an error once a rank
// is gone, and may be called by any goroutine.
func (b *Backend) Join(host engine.Peers) (*Peers, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if b.peers != nil {
		return nil, errors.New("the backend has joined other ranks already")
	}
	p := &Peers{host: host, b: b, stop: make(chan struct{})}
	id, err := p.introduce()
	if err == nil {
		err = p.open(id)
	}
	if err == nil {
		p.done.Go(p.watch)
		err = p.greet()
	}
	if err != nil {
		b.peers = nil
		return nil, errors.Join(fmt.Errorf("%s: %w", b.Name(), err), p.close())
	}
	return p, nil
}

// An introduction is what a rank tells the others: what is wrong with it, its card, its
// version of NCCL, and, from rank 0, the id of the communicator.
type introduction struct {
	wrong, card, version string
	id                   cuda.CommID
}

const (
	wrongBytes, cardBytes, versionBytes = 400, 48, 16
	introBytes                          = wrongBytes + cardBytes + versionBytes + len(cuda.CommID{})
)

func (i introduction) encode() []byte {
	b := make([]byte, introBytes)
	copy(b[:wrongBytes], i.wrong)
	copy(b[wrongBytes:][:cardBytes], i.card)
	copy(b[wrongBytes+cardBytes:][:versionBytes], i.version)
	copy(b[wrongBytes+cardBytes+versionBytes:], i.id[:])
	return b
}

func decodeIntroduction(b []byte) (i introduction) {
	text := func(b []byte) string { return strings.TrimRight(string(b), "\x00") }
	i.wrong, i.card = text(b[:wrongBytes]), text(b[wrongBytes:][:cardBytes])
	i.version = text(b[wrongBytes+cardBytes:][:versionBytes])
	copy(i.id[:], b[wrongBytes+cardBytes+versionBytes:])
	return i
}

// introduce checks that all ranks can use NCCL together, before one waits for another in it.
func (p *Peers) introduce() (id cuda.CommID, err error) {
	me := introduction{card: p.b.device.UUID}
	me.version, err = p.b.ctx.NCCL()
	if err == nil && p.host.Rank() == 0 {
		me.id, err = p.b.ctx.NewCommID()
	}
	if err != nil {
		me.wrong = err.Error()
	}
	all := make([]byte, introBytes*p.host.Size())
	if gone := p.host.AllGather(all, me.encode()); gone != nil {
		return id, gone
	}
	if err != nil {
		return id, err
	}
	var ranks []introduction
	for r := range p.host.Size() {
		other := decodeIntroduction(all[r*introBytes:][:introBytes])
		if other.wrong != "" {
			return id, fmt.Errorf("rank %d: %s", r, other.wrong)
		}
		for k, before := range ranks {
			if before.card == other.card {
				return id, fmt.Errorf("ranks %d and %d are on one card, %s: start one process for each card", k, r, other.card)
			}
		}
		if r > 0 && other.version != ranks[0].version {
			return id, fmt.Errorf("rank 0 has NCCL %s and rank %d has %s: give all ranks the same", ranks[0].version, r, other.version)
		}
		ranks = append(ranks, other)
	}
	return ranks[0].id, nil
}

// open makes the stream, its events and the communicator. NCCL waits there for all ranks, and
// cannot be interrupted: if a rank is gone, open returns, and a thread stays in NCCL.
func (p *Peers) open(id cuda.CommID) (err error) {
	if p.stream, err = p.b.ctx.NewStream(); err != nil {
		return err
	}
	for _, e := range []**cuda.Event{&p.fork, &p.joined} {
		if *e, err = p.b.ctx.NewOrderEvent(); err != nil {
			return err
		}
	}
	type made struct {
		comm *cuda.Comm
		err  error
	}
	there := make(chan made, 1)
	go func() {
		comm, err := p.b.ctx.NewComm(id, p.host.Rank(), p.host.Size())
		there <- made{comm, err}
	}()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case m := <-there:
			p.comm = m.comm
			return m.err
		case <-tick.C:
			if err := p.hostErr(); err != nil {
				p.lost.Store(&err) // a thread is still in NCCL
				return err
			}
		}
	}
}

// greet exchanges a few numbers and checks them, before anything is captured: NCCL sets up its
// connections when it is first used.
func (p *Peers) greet() error {
	p.b.peers = p
	n := p.host.Size()
	if err := p.reserve(4 * 2 * alignFloats * n); err != nil {
		return err
	}
	mine := make([]float32, alignFloats*n)
	for i := range mine {
		mine[i] = float32(p.host.Rank()*n + i/alignFloats)
	}
	if err := p.stream.Write(p.scratch, engine.Bytes(mine)); err != nil {
		return p.b.wrap(err)
	}
	theirs := p.scratch + cuda.Ptr(4*len(mine))
	if err := p.comm.AllToAll(p.stream, theirs, p.scratch, alignFloats); err != nil {
		return p.b.wrap(err)
	}
	if err := p.comm.AllGather(p.stream, p.scratch, theirs, alignFloats); err != nil {
		return p.b.wrap(err)
	}
	if err := p.stream.Read(engine.Bytes(mine), theirs); err != nil {
		return p.b.wrap(err)
	}
	if err := p.b.wrap(nil); err != nil {
		return err
	}
	for i, v := range mine {
		if want := i/alignFloats*n + p.host.Rank(); int(v) != want {
			return fmt.Errorf("NCCL %s exchanges wrong numbers: %v instead of %d of rank %d", p.comm.Version(), v, want, i/alignFloats)
		}
	}
	return nil
}

// reserve makes the scratch memory at least so many bytes. All exchanges share it, for they run
// one after the other. Memory that it replaces is kept until close: programs that are compiled
// hold its address.
func (p *Peers) reserve(bytes int) error {
	if bytes <= p.bytes {
		return nil
	}
	q, err := p.b.ctx.Alloc(bytes)
	if err != nil {
		return p.b.wrap(err)
	}
	if p.scratch != 0 {
		p.old = append(p.old, p.scratch)
	}
	p.scratch, p.bytes = q, bytes
	if err := p.stream.Fill(q, 0, bytes); err != nil { // what is between tensors travels, too
		return p.b.wrap(err)
	}
	return p.b.wrap(p.stream.Sync())
}

// begin makes the next exchanges wait for what has been enqueued in the backend's stream.
func (p *Peers) begin() error {
	if err := p.b.stream.Record(p.fork); err != nil {
		return err
	}
	return p.stream.Wait(p.fork)
}

// end makes the backend's stream wait for all exchanges.
func (p *Peers) end() error {
	if err := p.stream.Record(p.joined); err != nil {
		return err
	}
	return p.b.stream.Wait(p.joined)
}

// hostErr returns the host's error, if it can tell that a rank is gone.
func (p *Peers) hostErr() error {
	if h, ok := p.host.(interface{ Err() error }); ok {
		return h.Err()
	}
	return nil
}

// watch looks every lookEvery whether all ranks are there, and aborts if one is not.
func (p *Peers) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var wrong error // NCCL's own error, which does not name a rank
	var since time.Time
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		err := p.hostErr()
		if wrong == nil {
			if wrong = p.comm.Failed(); wrong != nil {
				since = time.Now()
			}
		}
		if err == nil && wrong != nil && time.Since(since) > blameWait {
			err = wrong
		}
		if err != nil {
			p.abort(err)
			return
		}
	}
}

// abort keeps the reason for gone and ends the exchanges that are under way.
func (p *Peers) abort(err error) {
	p.lost.Store(&err)
	if err := p.comm.Abort(); err != nil {
		p.b.log.Debug("NCCL's communicator could not be aborted", "reason", err)
	}
}

// gone returns why the ranks cannot exchange any more, nil if they can.
func (p *Peers) gone() error {
	if p == nil {
		return nil
	}
	if err := p.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// close leaves the other ranks and frees everything. All recordings must have been closed.
func (p *Peers) close() error {
	close(p.stop)
	p.done.Wait()
	var errs []error
	do := func(f func() error) { errs = append(errs, f()) }
	if p.stream != nil {
		do(p.stream.Sync)
	}
	if p.comm != nil && p.gone() == nil {
		do(p.comm.Close)
	}
	for _, m := range append(p.old, p.scratch) {
		do(func() error { return p.b.ctx.Free(m) })
	}
	for _, e := range []*cuda.Event{p.fork, p.joined} {
		if e != nil {
			do(e.Close)
		}
	}
	if p.stream != nil {
		do(p.stream.Close)
	}
	if p.gone() != nil {
		return nil
	}
	return errors.Join(errs...)
}

// Rank implements engine.Peers.
func (p *Peers) Rank() int { return p.host.Rank() }

// Size implements engine.Peers.
func (p *Peers) Size() int { return p.host.Size() }

// AllGather implements engine.Peers, for memory of the host.
func (p *Peers) AllGather(out, in []byte) error {
	if err := p.gone(); err != nil {
		return err
	}
	return p.host.AllGather(out, in)
}

// AllToAll implements engine.Peers, for memory of the host.
func (p *Peers) AllToAll(out, in []byte) error {
	if err := p.gone(); err != nil {
		return err
	}
	return p.host.AllToAll(out, in)
}

// Library names NCCL's version and its file.
func (p *Peers) Library() string {
	return fmt.Sprintf("NCCL %s, %s", p.comm.Version(), p.comm.Library())
}

// Sent returns the bytes that this rank's card has sent to others, or will have when what is
// enqueued has run.
func (p *Peers) Sent() int64 {
	if p == nil {
		return 0
	}
	return p.sent.Load()
}

// count adds to Sent.
func (p *Peers) count(n int64) {
	if p != nil {
		p.sent.Add(n)
	}
}

// peersOf returns the backend's Peers; an op with other ones is an error. Where kernels are only
// collected to be compiled (see Warm), it returns nil for those.
func (b *Backend) peersOf(op engine.Op, p engine.Peers) (*Peers, error) {
	own, ok := p.(*Peers)
	if b.wanted == nil && (!ok || own != b.peers) {
		return nil, fmt.Errorf("%s: ranks that compute on CUDA devices exchange over NCCL: they must have joined (gpu.Backend.Join): %w", engine.OpName(op), engine.ErrUnsupported)
	}
	return own, nil
}
