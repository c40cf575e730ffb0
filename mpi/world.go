//go:build linux && cgo && (amd64 || arm64)

package mpi

/*
#cgo CFLAGS: -std=gnu11 -Wall -O2
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "mpi.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// abis are the names of the binary interfaces, in the order of mpi.h.
var abis = []string{"the standard ABI of MPI 5", "the ABI of MPICH", "the ABI of Open MPI"}

// A World is this process among those that the launcher has started. Its methods
// implement engine.Peers.
type World struct {
	m          C.struct_mpi
	path       string
	rank, size int
	version    string

	lock     sync.Mutex // of those who call
	requests chan *request
	ended    chan struct{} // closed when the thread is done
	aborting atomic.Int32
	sent     atomic.Int64
	watch    watch
	err      error // of the thread: what all calls fail with
	failed   atomic.Pointer[error]
}

// A request is what the thread is to do.
type request struct {
	kind    int
	out, in unsafe.Pointer
	bytes   int // of a rank's part
	err     error
	done    chan struct{}
}

const (
	toAll = iota
	gather
	leave
)

// Open opens an MPI library and joins the others: all processes of the job must call it. It
// must be called once in a process.
func Open(o Options) (*World, error) {
	w := &World{requests: make(chan *request), ended: make(chan struct{})}
	if err := w.load(o); err != nil {
		return nil, err
	}
	begun := make(chan error)
	go w.thread(begun)
	if err := <-begun; err != nil {
		return nil, err
	}
	if o.Size > 0 && w.size != o.Size {
		return nil, fmt.Errorf("mpi: %s has started %d processes, and %s (%s) knows of %d: it belongs to another launcher; name the library of that one in %s%s",
			o.launcher(), o.Size, w.path, w.version, w.size, LibraryEnv, o.hint())
	}
	return w, nil
}

// load finds a library that can be used.
func (w *World) load(o Options) error {
	if os.Getenv("OMPI_MCA_opal_signal") == "" {
		os.Setenv("OMPI_MCA_opal_signal", "") // handlers of signals are Go's
	}
	var broken error
	open := func(path string) error {
		var text [1024]C.char
		name := C.CString(path)
		defer C.free(unsafe.Pointer(name))
		library := C.ps_mpi_open(name, &text[0], C.int(len(text)))
		if library == nil {
			return errors.New(C.GoString(&text[0]))
		}
		if lacks := C.ps_mpi_bind(&w.m, library); lacks != nil {
			return fmt.Errorf("%s has no %s", path, C.GoString(lacks))
		}
		w.path = path
		return nil
	}
	names, dirs := o.names(), o.folders()
	for _, path := range candidates(names, dirs) {
		err := open(path)
		if err == nil {
			return nil
		}
		if broken == nil && !strings.HasPrefix(err.Error(), path+": cannot open shared object file") {
			broken = err
		}
	}
	return notFound(names, dirs, broken)
}

// thread makes all calls of MPI.
func (w *World) thread(begun chan<- error) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	defer close(w.ended)
	var rank, size C.int
	if code := C.ps_mpi_init(&w.m, &rank, &size); code != 0 {
		begun <- fmt.Errorf("mpi: %s: MPI_Init_thread: %w", w.path, w.failure(code))
		return
	}
	opened.Store(true)
	w.rank, w.size = int(rank), int(size)
	text := make([]byte, 8192)
	C.ps_mpi_version(&w.m, (*C.char)(unsafe.Pointer(&text[0])))
	w.version, _, _ = strings.Cut(strings.ReplaceAll(string(text[:max(0, strings.IndexByte(string(text), 0))]), "\t", " "), "\n")
	w.watch.begin(w)
	begun <- w.err
	for w.serve() {
	}
}

// serve does one request, or checks once that the others are alive. It returns false when
// there is nothing more to do.
func (w *World) serve() bool {
	select {
	case r := <-w.requests:
		if r.err = w.err; r.err == nil {
			r.err = w.do(r)
			var gone *engine.PeerError
			if errors.As(r.err, &gone) {
				w.fail(r.err)
			}
		}
		left := r.kind == leave
		close(r.done)
		return !left
	case <-w.watch.tick():
		w.look()
		return true
	}
}

// look aborts if it is asked to, and sees whether the others are alive.
func (w *World) look() {
	if code := w.aborting.Load(); code != 0 {
		C.ps_mpi_abort(&w.m, C.int(code))
	}
	if w.err == nil {
		w.fail(w.watch.look(w))
	}
}

// fail keeps an error that is for good.
func (w *World) fail(err error) {
	if err != nil {
		w.err = err
		w.failed.Store(&err)
	}
}

// Err returns an *engine.PeerError if a rank is known to be gone. Any goroutine may call it, also
// while another one exchanges.
func (w *World) Err() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// pollMicroseconds is how long the thread polls for the end of an exchange before it checks
// that the other ranks are alive.
const pollMicroseconds = 2000

// do does a request.
func (w *World) do(r *request) error {
	var request C.handle
	var code C.int
	switch r.kind {
	case leave:
		err := w.watch.end(w)
		if err == nil {
			err = w.failure(C.ps_mpi_finalize(&w.m))
		}
		return err
	case toAll:
		code = C.ps_mpi_alltoall(&w.m, r.in, r.out, C.int(r.bytes), &request)
	default:
		code = C.ps_mpi_allgather(&w.m, r.in, r.out, C.int(r.bytes), &request)
	}
	for {
		var done C.int
		if code == 0 {
			code = C.ps_mpi_test(&w.m, &request, pollMicroseconds, &done)
		}
		if code != 0 {
			return w.blame(w.failure(code))
		}
		if done != 0 {
			w.sent.Add(int64(r.bytes) * int64(w.size-1))
			return nil
		}
		if w.look(); w.err != nil {
			return w.err
		}
	}
}

// failure is the error of a code of MPI.
func (w *World) failure(code C.int) error {
	if code == 0 {
		return nil
	}
	text := make([]byte, 512)
	C.ps_mpi_error(&w.m, code, (*C.char)(unsafe.Pointer(&text[0])))
	return fmt.Errorf("mpi: %s", strings.Join(strings.Fields(string(text[:max(0, strings.IndexByte(string(text), 0))])), " "))
}

// exchange has the thread do a request.
func (w *World) exchange(kind int, out, in []byte, bytes int) error {
	const most = 1<<31 - 1 // counts are ints
	if bytes > most {
		return fmt.Errorf("mpi: %d bytes for a rank are more than a message may have", bytes)
	}
	if bytes == 0 && kind != leave {
		return nil
	}
	w.lock.Lock()
	defer w.lock.Unlock()
	var pin runtime.Pinner
	defer pin.Unpin()
	r := &request{kind: kind, bytes: bytes, done: make(chan struct{})}
	if bytes > 0 {
		pin.Pin(&out[0])
		pin.Pin(&in[0])
		r.out, r.in = unsafe.Pointer(&out[0]), unsafe.Pointer(&in[0])
	}
	select {
	case w.requests <- r:
		<-r.done
		return r.err
	case <-w.ended:
		return errors.New("mpi: the ranks have parted")
	}
}

// Rank implements engine.Peers.
func (w *World) Rank() int { return w.rank }

// Size implements engine.Peers.
func (w *World) Size() int { return w.size }

// AllGather implements engine.Peers.
func (w *World) AllGather(out, in []byte) error {
	if len(out) != w.size*len(in) {
		return fmt.Errorf("mpi: %d bytes of each of %d ranks into %d", len(in), w.size, len(out))
	}
	return w.exchange(gather, out, in, len(in))
}

// AllToAll implements engine.Peers.
func (w *World) AllToAll(out, in []byte) error {
	if len(out) != len(in) || len(in)%w.size != 0 {
		return fmt.Errorf("mpi: %d bytes for %d ranks into %d", len(in), w.size, len(out))
	}
	return w.exchange(toAll, out, in, len(in)/w.size)
}

// Library names the library: its version, its file, its binary interface.
func (w *World) Library() string { return fmt.Sprintf("%s, %s, %s", w.version, w.path, abis[w.m.abi]) }

// Sent returns the bytes that this rank has sent to others for AllGather and AllToAll.
func (w *World) Sent() int64 { return w.sent.Load() }

// Close waits for all ranks to do the same, and leaves MPI.
func (w *World) Close() error {
	var here [1]byte
	if err := w.AllGather(make([]byte, w.size), here[:]); err != nil {
		return err
	}
	return w.exchange(leave, nil, nil, 0)
}

// opened is whether a library has been initialized in this process.
var opened atomic.Bool

// Exit ends the process with a status, as os.Exit does, but so that what the MPI library
// has left to do at the end of a process is done: MPICH tells its launcher only then that it has
// finished, and the launcher would end the others.
func Exit(code int) {
	if opened.Load() {
		C.exit(C.int(code))
	}
	os.Exit(code)
}

// Abort ends all ranks, this process too, as far as the launcher can.
func (w *World) Abort(code int) {
	w.aborting.Store(int32(code))
	<-w.ended
}
