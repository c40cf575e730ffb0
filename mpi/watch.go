//go:build linux && cgo && (amd64 || arm64)

package mpi

/*
#include "mpi.h"
*/
import "C"

import (
	"fmt"
	"time"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// How often a rank sends a sign of life, and how long it may be silent. If the thread itself was
// not run for longer than slept, as when the machine was suspended, silence is counted anew.
const (
	beatEvery = time.Second
	silence   = 8 * time.Second
	slept     = 3 * time.Second
)

// beatTag marks the messages of a watch.
const beatTag = 7919

// The kinds of message: a rank is alive, another is gone, a rank leaves.
const (
	alive int32 = iota
	gone
	bye
)

// A note is a message of a watch.
type note struct{ kind, rank int32 }

// A watch checks that the rank before this one is alive, and sends signs of life to the one
// behind it.
type watch struct {
	ticker             *time.Ticker
	heard, told, awake time.Time
	in, out            *[2]int32 // memory of C
	receiving, sending C.handle
	idle               bool // nothing is being sent
	parting            bool // bye has arrived
}

// tick tells when to look.
func (h *watch) tick() <-chan time.Time { return h.ticker.C }

func (h *watch) begin(w *World) {
	h.ticker = time.NewTicker(beatEvery / 10)
	memory := (*[4]int32)(C.ps_mpi_memory(16))
	h.in, h.out = (*[2]int32)(unsafe.Pointer(&memory[0])), (*[2]int32)(unsafe.Pointer(&memory[2]))
	h.heard, h.awake, h.idle = time.Now(), time.Now(), true
	if w.size > 1 {
		w.err = h.receive(w)
	}
}

// receive asks for the next note.
func (h *watch) receive(w *World) error {
	return w.failure(C.ps_mpi_receive(&w.m, unsafe.Pointer(h.in), 8, beatTag, &h.receiving))
}

// send sends a note, unless the one before is still on its way.
func (h *watch) send(w *World, to int, n note) error {
	if !h.idle {
		var done C.int
		if err := w.failure(C.ps_mpi_test(&w.m, &h.sending, 0, &done)); err != nil || done == 0 {
			return err
		}
	}
	*h.out = [2]int32{n.kind, n.rank}
	h.idle = false
	return w.failure(C.ps_mpi_send(&w.m, unsafe.Pointer(h.out), 8, C.int(to), beatTag, &h.sending))
}

// before and behind are the neighbors.
func (w *World) before() int { return (w.rank + w.size - 1) % w.size }
func (w *World) behind() int { return (w.rank + 1) % w.size }

// look reads what has come, tells that this rank is alive, and returns an *engine.PeerError if
// another is not.
func (h *watch) look(w *World) error {
	if w.size == 1 || h.parting {
		return nil
	}
	now := time.Now()
	if now.Sub(h.awake) > slept {
		h.heard = now
	}
	h.awake = now
	if err := h.read(w, now); err != nil {
		return err
	}
	if now.Sub(h.told) >= beatEvery {
		h.told = now
		if err := h.send(w, w.behind(), note{alive, int32(w.rank)}); err != nil {
			return w.blame(err)
		}
	}
	if quiet := now.Sub(h.heard); quiet > silence {
		return h.declareGone(w, w.before(), fmt.Sprintf("nothing has been heard of it for %d s", int(quiet.Seconds())))
	}
	return nil
}

// read takes the notes that have come.
func (h *watch) read(w *World, now time.Time) error {
	for !h.parting {
		var done C.int
		if code := C.ps_mpi_test(&w.m, &h.receiving, 0, &done); code != 0 {
			return w.blame(w.failure(code))
		}
		if done == 0 {
			return nil
		}
		switch n := (note{h.in[0], h.in[1]}); n.kind {
		case gone:
			return &engine.PeerError{Rank: int(n.rank), Why: "another rank has lost it"}
		case bye:
			h.parting = true
			return nil
		default:
			h.heard = now
		}
		if err := h.receive(w); err != nil {
			return err
		}
	}
	return nil
}

// declareGone tells all others that a rank is gone, and returns the error.
func (h *watch) declareGone(w *World, rank int, why string) error {
	for r := range w.size {
		if r != w.rank && r != rank {
			h.idle = true // whatever becomes of an earlier note
			_ = h.send(w, r, note{gone, int32(rank)})
		}
	}
	for deadline := time.Now().Add(200 * time.Millisecond); w.size > 2 && time.Now().Before(deadline); { // let them go
		var done C.int
		_ = C.ps_mpi_test(&w.m, &h.sending, 1000, &done)
	}
	return &engine.PeerError{Rank: rank, Why: why}
}

// blame finds out which rank has caused an error of MPI: it waits for the rank before this one
// to fall silent, or for a note that another is gone. If neither happens it returns err.
func (w *World) blame(err error) error {
	h := &w.watch
	for deadline := time.Now().Add(silence + beatEvery - time.Since(h.heard)); time.Now().Before(deadline); time.Sleep(beatEvery / 10) {
		var done C.int
		if C.ps_mpi_test(&w.m, &h.receiving, 0, &done) != 0 {
			return &engine.PeerError{Rank: w.before(), Why: err.Error()}
		}
		if done == 0 {
			continue
		}
		if h.in[0] == gone {
			return &engine.PeerError{Rank: int(h.in[1]), Why: err.Error()}
		}
		if h.heard = time.Now(); h.receive(w) != nil {
			break
		}
	}
	if time.Since(h.heard) > silence {
		return h.declareGone(w, w.before(), err.Error())
	}
	return err
}

// end parts from the neighbors.
func (h *watch) end(w *World) error {
	if w.size == 1 {
		return nil
	}
	deadline := time.Now().Add(silence)
	for said := false; !said || !h.parting; {
		if time.Now().After(deadline) {
			return &engine.PeerError{Rank: w.before(), Why: "it does not part"}
		}
		if !said {
			var done C.int = 1
			if !h.idle {
				if err := w.failure(C.ps_mpi_test(&w.m, &h.sending, 0, &done)); err != nil {
					return err
				}
			}
			if done != 0 {
				h.idle = true
				if err := h.send(w, w.behind(), note{bye, int32(w.rank)}); err != nil {
					return err
				}
				said = true
			}
		}
		if err := h.read(w, time.Now()); err != nil {
			return err
		}
	}
	for time.Now().Before(deadline) {
		var done C.int
		if err := w.failure(C.ps_mpi_test(&w.m, &h.sending, 1000, &done)); err != nil || done != 0 {
			return err
		}
	}
	return nil
}
