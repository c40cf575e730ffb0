package engine

import (
	"errors"
	"fmt"
	"sync"
)

// Peers are the processes that train one net together, as one of them sees them:
// each has a rank, from 0 on. All of them must call the same methods in the same
// order, each with as many bytes as the others; a call returns when its output is
// filled. One goroutine at a time may call. After an error all later calls fail; it is a
// *PeerError where it is known which rank is gone.
type Peers interface {
	// Rank is the number of this process, from 0 to Size-1.
	Rank() int
	// Size is how many processes there are.
	Size() int
	// AllGather fills out with the in of every rank, in the order of the ranks: out
	// has Size times the bytes of in.
	AllGather(out, in []byte) error
	// AllToAll cuts in into Size parts of the same length, sends part r to rank r, and
	// fills out, of the bytes of in, with the parts that the ranks have sent here, in the
	// order of the ranks.
	AllToAll(out, in []byte) error
}

// A PeerError says that one of the processes that train together is gone, or has
// failed. All implementations of Peers return it, so that errors.As finds the rank.
type PeerError struct {
	Rank int
	Why  string // what is known of it, as in "nothing has been heard of it for 8 s"
}

// Error implements error.
func (e *PeerError) Error() string { return fmt.Sprintf("rank %d is gone: %s", e.Rank, e.Why) }

// LocalPeers returns n Peers that are goroutines of this process: each is to be
// used by one of its own.
func LocalPeers(n int) []*LocalPeer {
	m := &meeting{in: make([][]byte, n)}
	m.all.L = &m.lock
	peers := make([]*LocalPeer, n)
	for i := range peers {
		peers[i] = &LocalPeer{rank: i, m: m}
	}
	return peers
}

// A LocalPeer is one of the Peers that LocalPeers returns.
type LocalPeer struct {
	rank int
	m    *meeting
}

// A meeting is where goroutines exchange what they have.
type meeting struct {
	lock    sync.Mutex
	all     sync.Cond
	in      [][]byte // what each has brought
	here    int      // how many have brought something
	left    int      // how many still read what was brought
	round   int
	err     error
	traffic int64
}

// Rank implements Peers.
func (p *LocalPeer) Rank() int { return p.rank }

// Size implements Peers.
func (p *LocalPeer) Size() int { return len(p.m.in) }

// Leave has the calls of the others fail, now and later: this one takes part no more.
func (p *LocalPeer) Leave(why string) {
	p.m.lock.Lock()
	defer p.m.lock.Unlock()
	if p.m.err == nil {
		p.m.err = &PeerError{Rank: p.rank, Why: why}
	}
	p.m.all.Broadcast()
}

// Traffic returns the bytes that all of them together have sent to others.
func (p *LocalPeer) Traffic() int64 {
	p.m.lock.Lock()
	defer p.m.lock.Unlock()
	return p.m.traffic
}

// AllGather implements Peers.
func (p *LocalPeer) AllGather(out, in []byte) error {
	if len(out) != len(in)*p.Size() {
		return errExchange
	}
	return p.exchange(in, func(r int, theirs []byte) error {
		if len(theirs) != len(in) {
			return errExchange
		}
		if r != p.rank {
			p.m.traffic += int64(len(in))
		}
		copy(out[r*len(in):], theirs)
		return nil
	})
}

// AllToAll implements Peers.
func (p *LocalPeer) AllToAll(out, in []byte) error {
	n := len(in) / p.Size()
	if len(out) != len(in) || n*p.Size() != len(in) {
		return errExchange
	}
	return p.exchange(in, func(r int, theirs []byte) error {
		if len(theirs) != len(in) {
			return errExchange
		}
		if r != p.rank {
			p.m.traffic += int64(n)
		}
		copy(out[r*n:], theirs[p.rank*n:][:n])
		return nil
	})
}

var errExchange = errors.New("the ranks exchange different numbers of bytes")

// exchange brings in, waits for the others, and hands out what each has brought.
func (p *LocalPeer) exchange(in []byte, take func(r int, theirs []byte) error) error {
	m := p.m
	m.lock.Lock()
	defer m.lock.Unlock()
	for m.left > 0 && m.err == nil { // the round before
		m.all.Wait()
	}
	if m.err != nil {
		return m.err
	}
	round := m.round
	m.in[p.rank] = in
	if m.here++; m.here == len(m.in) {
		m.here, m.left = 0, len(m.in)
		m.round++
		m.all.Broadcast()
	}
	for m.round == round && m.err == nil {
		m.all.Wait()
	}
	if m.round == round {
		return m.err
	}
	var err error
	for r, theirs := range m.in {
		err = firstError(err, take(r, theirs))
	}
	if m.left--; m.left == 0 {
		m.all.Broadcast()
	}
	// What was brought must stay as it is until all have taken it.
	for m.left > 0 && m.round == round+1 && m.err == nil {
		m.all.Wait()
	}
	return err
}
