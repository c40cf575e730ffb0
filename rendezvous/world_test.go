package rendezvous

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/potstill/potstill/engine"
)

// port returns one that is free.
func port(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no port can be had: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// open returns n ranks that have met.
func open(t *testing.T, n int) []*World {
	t.Helper()
	at := port(t)
	all, errs := make([]*World, n), make([]error, n)
	var there sync.WaitGroup
	for r := range n {
		there.Go(func() {
			all[r], errs[r] = Open(Options{Rank: r, Size: n, Addr: "127.0.0.1", Port: at, Name: "job", Patience: 20 * time.Second})
		})
	}
	there.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return all
}

// each runs do at every rank.
func each(all []*World, do func(w *World) error) []error {
	errs := make([]error, len(all))
	var done sync.WaitGroup
	for r, w := range all {
		done.Go(func() { errs[r] = do(w) })
	}
	done.Wait()
	return errs
}

// TestExchange checks what comes out of both exchanges, many times, with little and with
// much, and that all ranks part.
func TestExchange(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		all := open(t, n)
		err := errors.Join(each(all, func(w *World) error {
			for round := range 20 {
				size := 1 + round*round*round*40
				mine := slices.Repeat([]byte{byte(w.Rank()*31 + round)}, size)
				out := make([]byte, n*size)
				if err := w.AllGather(out, mine); err != nil {
					return err
				}
				for i, b := range out {
					if want := byte(i/size*31 + round); b != want {
						return fmt.Errorf("rank %d, round %d: byte %d is %d, want %d", w.Rank(), round, i, b, want)
					}
				}
				for r := range n { // part r is for rank r
					out[r*size] = byte(10*w.Rank() + r)
				}
				got := make([]byte, n*size)
				if err := w.AllToAll(got, out); err != nil {
					return err
				}
				for r := range n {
					if want := byte(10*r + w.Rank()); got[r*size] != want {
						return fmt.Errorf("rank %d has got %d of rank %d, want %d", w.Rank(), got[r*size], r, want)
					}
				}
			}
			return w.Close()
		})...)
		if err != nil {
			t.Fatal(err)
		}
		if all[0].Err() != nil || all[1].Sent() == 0 {
			t.Errorf("after all: %v, %d bytes sent", all[0].Err(), all[1].Sent())
		}
	}
}

// TestGone breaks a rank's connection, or has it say that it fails, and checks that every
// other one learns its number at once.
func TestGone(t *testing.T) {
	for _, victim := range []int{0, 1, 2} {
		for _, how := range []string{"killed", "fails"} {
			all := open(t, 3)
			began := time.Now()
			errs := each(all, func(w *World) error {
				if w.Rank() == victim {
					if how == "fails" {
						w.Abort(1)
					} else {
						w.parting.Store(true)
						w.hangUp()
					}
					return nil
				}
				return w.AllGather(make([]byte, 3), []byte{1})
			})
			for r, err := range errs {
				var gone *engine.PeerError
				if r != victim && (!errors.As(err, &gone) || gone.Rank != victim) {
					t.Errorf("rank %d %s: rank %d says %v", victim, how, r, err)
				}
				if r != victim && !errors.Is(all[r].Err(), err) {
					t.Errorf("rank %d knows %v and has said %v", r, all[r].Err(), err)
				}
				all[r].hangUp()
			}
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("it took %v", d)
			}
		}
	}
}

// TestSilence checks that a rank whose connection is whole, and which says nothing, is gone
// after eight seconds.
func TestSilence(t *testing.T) {
	if testing.Short() {
		t.Skip("takes nine seconds")
	}
	t.Parallel()
	all := open(t, 3)
	all[1].stopped.Do(func() { close(all[1].stop) }) // no beat any more
	began := time.Now()
	for _, r := range []int{0, 2} {
		err := all[r].AllGather(make([]byte, 3), []byte{1})
		var gone *engine.PeerError
		if !errors.As(err, &gone) || gone.Rank != 1 {
			t.Errorf("rank %d: %v", r, err)
		}
	}
	if d := time.Since(began); d < 6*time.Second || d > 10*time.Second {
		t.Errorf("noticed after %v", d)
	}
	for _, w := range all {
		w.hangUp()
	}
}

// TestStrangers checks who is sent away, and what is said of a rank that never comes.
func TestStrangers(t *testing.T) {
	at := port(t)
	o := Options{Size: 2, Addr: "127.0.0.1", Port: at, Name: "job", Patience: 3 * time.Second}
	host := make(chan error)
	go func() {
		w, err := Open(o)
		if err == nil {
			w.hangUp()
		}
		host <- err
	}()
	for _, c := range []struct {
		rank, size int
		name, want string
	}{{1, 2, "another", "another job"}, {1, 3, "job", "one of 3"}} {
		away := Options{Rank: c.rank, Size: c.size, Addr: o.Addr, Port: at, Name: c.name, Patience: 2 * time.Second}
		if _, err := Open(away); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", at)); err == nil {
		_, _ = c.Write(binary.LittleEndian.AppendUint64(nil, 1<<63)) // whoever looks for open ports
		c.Close()
	}
	if err := <-host; err == nil || !strings.Contains(err.Error(), "rank 1 is missing") {
		t.Errorf("nobody has come: %v", err)
	}
	busy, err := net.Listen("tcp", fmt.Sprintf(":%d", at))
	if err != nil {
		t.Skip(err)
	}
	defer busy.Close()
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "POTSTILL_PORT") {
		t.Errorf("a port that is taken: %v", err)
	}
}

// FuzzReceive reads messages of strangers.
func FuzzReceive(f *testing.F) {
	f.Add(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, hello), 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		defer here.Close()
		go func() {
			_, _ = there.Write(b)
			there.Close()
		}()
		kind, content, err := receive(here, time.Now().Add(time.Second), 1<<12)
		if err == nil && (kind < hello || kind > bye || len(content) > 1<<12) {
			t.Errorf("%#x with %d bytes", kind, len(content))
		}
	})
}
