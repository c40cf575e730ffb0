// Package rendezvous connects the processes of a job over TCP, where a launcher tells only the
// address of the first of them (torchrun's MASTER_ADDR and MASTER_PORT).
// It is for little data: the id of a communicator, settings that must be the same, a step's
// figures, and news of a rank that is gone. Gradients go over NCCL.
//
// Rank 0 listens, all others hold one connection to it. Each side sends a message every
// second, also while it computes; one that is silent for eight seconds, or whose connection
// breaks, is named to all others, whose calls fail with an [*engine.PeerError] from then on.
//
// Nothing is encrypted, and whoever knows the job's name and reaches the port could take a
// rank's place while the ranks gather, as with PyTorch's own store: the port must not be
// reachable from outside of the cluster.
package rendezvous

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/potstill/potstill/engine"
)

// Options say which process this is, and where rank 0 can be met.
type Options struct {
	Rank, Size int
	// Addr and Port are those of rank 0.
	Addr string
	Port int
	// Name is the job's, the same at all ranks: processes of another one are sent away.
	Name string
	// Patience is how long the ranks wait for each other at first; 0 is five minutes.
	Patience time.Duration
}

// How often a rank is heard of, and how long it may be silent.
const (
	beatEvery = time.Second
	silence   = 8 * time.Second
)

// A World is this process among the others. It implements engine.Peers.
type World struct {
	o     Options
	links []*link // to each rank, from rank 0; else to rank 0 alone

	call    sync.Mutex // of those who exchange
	failed  chan struct{}
	once    sync.Once
	err     error // why, once failed is closed
	parting atomic.Bool
	stop    chan struct{} // closed when the world is
	stopped sync.Once
	beats   sync.WaitGroup
	sent    atomic.Int64
}

// Open meets the other processes of the job, and waits for all of them.
func Open(o Options) (*World, error) {
	if o.Size < 2 || o.Rank < 0 || o.Rank >= o.Size {
		return nil, fmt.Errorf("rendezvous: rank %d of %d makes no sense", o.Rank, o.Size)
	}
	if o.Patience == 0 {
		o.Patience = 5 * time.Minute
	}
	w := &World{o: o, failed: make(chan struct{}), stop: make(chan struct{})}
	meet := w.visit
	if o.Rank == 0 {
		meet = w.host
	}
	if err := meet(time.Now().Add(o.Patience)); err != nil {
		w.hangUp()
		return nil, err
	}
	for _, l := range w.links {
		l.begin(w)
	}
	w.beats.Go(w.beat)
	return w, nil
}

// where is the address of rank 0.
func (w *World) where() string { return net.JoinHostPort(w.o.Addr, strconv.Itoa(w.o.Port)) }

// beat tells that this rank is alive.
func (w *World) beat() {
	ticker := time.NewTicker(beatEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
			for _, l := range w.links {
				_ = l.send(alive, nil) // whoever reads from it says what is wrong
			}
		}
	}
}

// lose is for a link that has failed, or for word of a rank that is gone.
func (w *World) lose(rank int, why string) {
	if w.parting.Load() {
		return
	}
	w.once.Do(func() {
		w.err = &engine.PeerError{Rank: rank, Why: why}
		close(w.failed)
		if w.o.Rank != 0 {
			return
		}
		for _, l := range w.links {
			if l.rank != rank {
				_ = l.send(gone, goneText(rank, why))
			}
		}
	})
}

// Err returns an *engine.PeerError if a rank is known to be gone. Any goroutine may call it.
func (w *World) Err() error {
	select {
	case <-w.failed:
		return w.err
	default:
		return nil
	}
}

// Rank implements engine.Peers.
func (w *World) Rank() int { return w.o.Rank }

// Size implements engine.Peers.
func (w *World) Size() int { return w.o.Size }

// Library says over what the ranks exchange.
func (w *World) Library() string { return "TCP, rank 0 at " + w.where() }

// Sent returns the bytes that this rank has sent to others.
func (w *World) Sent() int64 { return w.sent.Load() }

// most is the most bytes of a message: what comes from elsewhere must not fill the memory.
const most = 1 << 30

// AllGather implements engine.Peers.
func (w *World) AllGather(out, in []byte) error {
	if len(out) != w.o.Size*len(in) || len(out) > most {
		return fmt.Errorf("rendezvous: %d bytes of each of %d ranks into %d", len(in), w.o.Size, len(out))
	}
	w.call.Lock()
	defer w.call.Unlock()
	if err := w.Err(); err != nil {
		return err
	}
	if w.o.Rank == 0 {
		return w.collect(out, in)
	}
	l := w.links[0]
	if err := l.send(part, in); err != nil {
		return w.blame(err)
	}
	all, err := w.receive(l)
	if err != nil {
		return err
	}
	if len(all) != len(out) {
		return w.differ(len(out), len(all), 0)
	}
	copy(out, all)
	return nil
}

// collect is rank 0's part in AllGather.
func (w *World) collect(out, in []byte) error {
	copy(out, in)
	for _, l := range w.links {
		theirs, err := w.receive(l)
		if err != nil {
			return err
		}
		if len(theirs) != len(in) {
			return w.differ(len(in), len(theirs), l.rank)
		}
		copy(out[l.rank*len(in):], theirs)
	}
	for _, l := range w.links {
		if err := l.send(whole, out); err != nil {
			return w.blame(err)
		}
	}
	return nil
}

// receive waits for what a rank exchanges.
func (w *World) receive(l *link) ([]byte, error) {
	select {
	case b := <-l.got:
		return b, nil
	case <-w.failed:
	}
	select {
	case b := <-l.got: // it came before the bad news
		return b, nil
	default:
		return nil, w.err
	}
}

// blame is the error of a link that cannot be written: whoever reads from it finds out
// whose it is.
func (w *World) blame(err error) error {
	select {
	case <-w.failed:
		return w.err
	case <-time.After(silence + beatEvery):
		return fmt.Errorf("rendezvous: %w", err)
	}
}

func (w *World) differ(here, there, rank int) error {
	err := fmt.Errorf("rendezvous: the ranks exchange different numbers of bytes: %d here, %d at rank %d", here, there, rank)
	w.Abort(0)
	return err
}

// AllToAll implements engine.Peers. All go through rank 0 in full: it is for little.
func (w *World) AllToAll(out, in []byte) error {
	n := len(in) / w.o.Size
	if len(out) != len(in) || n*w.o.Size != len(in) {
		return fmt.Errorf("rendezvous: %d bytes for %d ranks into %d", len(in), w.o.Size, len(out))
	}
	all := make([]byte, len(in)*w.o.Size)
	if err := w.AllGather(all, in); err != nil {
		return err
	}
	for r := range w.o.Size {
		copy(out[r*n:], all[r*len(in)+w.o.Rank*n:][:n])
	}
	return nil
}

// Abort tells all others that this rank is gone. The number is for the likes of MPI, which
// end a process with it.
func (w *World) Abort(int) {
	for _, l := range w.links {
		_ = l.send(gone, goneText(w.o.Rank, "it has failed"))
	}
	w.parting.Store(true)
	w.hangUp()
}

// Close waits for all ranks to do the same, and parts.
func (w *World) Close() error {
	var here [1]byte
	if err := w.AllGather(make([]byte, w.o.Size), here[:]); err != nil {
		w.hangUp()
		return err
	}
	w.parting.Store(true)
	for _, l := range w.links {
		_ = l.send(bye, nil)
	}
	for _, l := range w.links { // until the other side has said it, too
		select {
		case <-l.ended:
		case <-time.After(silence):
		}
	}
	w.hangUp()
	return nil
}

// hangUp closes everything.
func (w *World) hangUp() {
	w.stopped.Do(func() { close(w.stop) })
	for _, l := range w.links {
		l.conn.Close()
	}
	w.beats.Wait()
}

// errOther is what a process is told that does not belong here.
var errOther = errors.New("the process belongs to another job")
