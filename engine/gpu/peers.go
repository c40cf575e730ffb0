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

// Peers are the processes that train one net together, each with a card of its own: what
// the cards have goes over NCCL, within the step that is captured, and what the hosts have
// goes the way that Join was given.
//
// The exchanges are enqueued in a stream of their own, beside the kernels, and in the order of
// the graph, which is that of all ranks. A goroutine looks after the other ranks: when one is
// gone it has NCCL give up, so that the stream ends, and every call of the backend
// returns whose fault it is.
type Peers struct {
	host    engine.Peers
	b       *Backend
	comm    *cuda.Comm
	stream  *cuda.Stream
	fork    *cuda.Event // the backend's stream has come here
	joined  *cuda.Event // the exchanges have
	scratch cuda.Ptr
	bytes   int // of scratch
	old     []cuda.Ptr

	sent atomic.Int64
	lost atomic.Pointer[error]
	stop chan struct{}
	done sync.WaitGroup
}

// How often the other ranks are looked after, and how long NCCL's word that something is
// wrong waits for somebody to know which rank that is.
const (
	lookEvery = 100 * time.Millisecond
	blameWait = 9 * time.Second
)

// Join has the backend train together with other ranks, each of which calls it with a host
// that knows them all. Host.Err, if it has such a method, tells when one is gone; any goroutine
// may call it.
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
// version of NCCL, and, from rank 0, the number of the communicator.
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

// introduce makes sure that all ranks can exchange, before one waits for another.
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

// open makes what the exchanges need. NCCL waits for all ranks; whoever waits for one that is
// gone is left behind.
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

// greet exchanges a word before anything is captured: NCCL connects when it is first used.
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

// reserve has so many bytes of scratch memory, which all exchanges share: they run one after the
// other. What an earlier one was given stays.
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

// begin has the exchanges wait for what the backend's stream has got.
func (p *Peers) begin() error {
	if err := p.b.stream.Record(p.fork); err != nil {
		return err
	}
	return p.stream.Wait(p.fork)
}

// end has the backend's stream wait for all exchanges.
func (p *Peers) end() error {
	if err := p.stream.Record(p.joined); err != nil {
		return err
	}
	return p.b.stream.Wait(p.joined)
}

// hostErr returns what the host knows of a rank that is gone.
func (p *Peers) hostErr() error {
	if h, ok := p.host.(interface{ Err() error }); ok {
		return h.Err()
	}
	return nil
}

// watch looks after the other ranks.
func (p *Peers) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var wrong error // what NCCL says
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
			p.give(err)
			return
		}
	}
}

// give gives up: what is under way ends.
func (p *Peers) give(err error) {
	p.lost.Store(&err)
	if err := p.comm.Abort(); err != nil {
		p.b.log.Debug("NCCL could not give up", "reason", err)
	}
}

// gone returns why the other ranks are not there any more, nil if they are.
func (p *Peers) gone() error {
	if p == nil {
		return nil
	}
	if err := p.lost.Load(); err != nil {
		return *err
	}
	return nil
}

// close leaves the others, when the work and the recordings are gone.
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

// Sent returns the bytes that this rank's card has been told to send to others.
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

// peersOf returns the backend's own, if an op's are these.
func (b *Backend) peersOf(op engine.Op, p engine.Peers) (*Peers, error) {
	own, ok := p.(*Peers)
	if b.wanted == nil && (!ok || own != b.peers) {
		return nil, fmt.Errorf("%s: ranks that compute on CUDA devices exchange over NCCL: they must have joined (gpu.Backend.Join): %w", engine.OpName(op), engine.ErrUnsupported)
	}
	return own, nil
}
