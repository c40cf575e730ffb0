package gpu

import (
	"errors"
	"fmt"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// A kernel is a lowering with room for its tensors' addresses.
type kernel struct {
	backend       *Backend
	low           lowering
	in, out       []int // bytes of each tensor
	inPtr, outPtr []cuda.Ptr
}

func (k *kernel) Workspace() int { return k.low.ws }

// resolve fills the addresses in and returns that of the scratch memory.
func (k *kernel) resolve(in, out []engine.Tensor, scratch engine.Tensor, bytes int) (cuda.Ptr, error) {
	b := k.backend
	if err := b.usable(); err != nil {
		return 0, err
	}
	if len(in) != len(k.in) || len(out) > len(k.out) {
		return 0, fmt.Errorf("%w: %d inputs and %d outputs for a kernel of %d and %d", engine.ErrShape, len(in), len(out), len(k.in), len(k.out))
	}
	var err error
	for i, t := range in {
		if k.inPtr[i], err = b.address(t, k.in[i]); err != nil {
			return 0, fmt.Errorf("input %d: %w", i, err)
		}
	}
	for i, t := range out {
		if k.outPtr[i], err = b.address(t, k.out[i]); err != nil {
			return 0, fmt.Errorf("output %d: %w", i, err)
		}
	}
	if bytes == 0 {
		return 0, nil
	}
	ws, err := b.address(scratch, bytes)
	if err != nil {
		return 0, fmt.Errorf("%d bytes of scratch memory: %w", bytes, err)
	}
	return ws, nil
}

// Enqueue implements engine.Kernel.
func (k *kernel) Enqueue(in, out []engine.Tensor, ws engine.Tensor) error {
	p, err := k.resolve(in, out, ws, k.low.ws)
	if err != nil {
		return err
	}
	k.backend.enqueued++
	return k.backend.wrap(k.low.enqueue(k.inPtr, k.outPtr, p))
}

// Prepares implements engine.Preparer.
func (k *kernel) Prepares() (inputs []int, bytes int) {
	if k.low.once == nil {
		return nil, 0
	}
	return k.low.once.inputs, k.low.once.bytes
}

// Prepare implements engine.Preparer.
func (k *kernel) Prepare(in []engine.Tensor, kept engine.Tensor) error {
	if k.low.once == nil {
		return errors.New("the kernel has nothing to prepare")
	}
	p, err := k.resolve(in, nil, kept, k.low.once.bytes)
	if err != nil {
		return err
	}
	k.backend.enqueued++
	return k.backend.wrap(k.low.once.prepare(k.inPtr, p))
}

// EnqueuePrepared implements engine.Preparer.
func (k *kernel) EnqueuePrepared(in, out []engine.Tensor, ws, kept engine.Tensor) error {
	if k.low.once == nil {
		return k.Enqueue(in, out, ws)
	}
	p, err := k.resolve(in, out, ws, k.low.ws)
	if err != nil {
		return err
	}
	q, err := k.backend.address(kept, k.low.once.bytes)
	if err != nil {
		return fmt.Errorf("what was prepared: %w", err)
	}
	k.backend.enqueued++
	return k.backend.wrap(k.low.once.enqueue(k.inPtr, k.outPtr, p, q))
}

// A recording is a CUDA graph, or what is enqueued anew where none could be made.
type recording struct {
	backend *Backend
	graph   *cuda.Graph  // nil if nothing was enqueued
	again   func() error // instead of a graph
	sent    int64        // the bytes that a replay sends to other ranks
	closed  bool
}

// Record implements engine.Recorder: the stream is captured while enqueue runs,
// and what was captured becomes a CUDA graph. Until then memory can neither be
// had nor read nor written. Where a library does what a capture does not allow,
// the log says so, and the recording enqueues anew at each replay.
func (b *Backend) Record(enqueue func() error) (engine.Recording, error) {
	if b.capturing {
		return nil, errRecording
	}
	if err := b.Sync(); err != nil {
		return nil, err
	}
	if err := b.stream.BeginCapture(); err != nil {
		return nil, b.wrap(fmt.Errorf("starting a recording: %w", err))
	}
	b.capturing = true
	before, sent := b.enqueued, b.peers.Sent()
	failure := enqueue()
	b.capturing = false
	graph, err := b.stream.EndCapture()
	r := &recording{backend: b, graph: graph, sent: b.peers.Sent() - sent}
	b.peers.count(-r.sent) // nothing has been sent yet
	if b.spoiled(failure, err) {
		b.log.Warn("the work cannot be captured as a graph and is enqueued anew at each run, which is slower",
			"device", b.Name(), "reason", errors.Join(failure, err))
		r.again = enqueue
		b.graphs[r] = struct{}{}
		return r, nil
	}
	if failure != nil { // it explains what EndCapture says after it
		if graph != nil {
			_ = graph.Close()
		}
		return nil, failure
	}
	if err != nil {
		return nil, b.wrap(fmt.Errorf("ending a recording: %w", err))
	}
	b.graphs[r] = struct{}{}
	if b.enqueued == before {
		return r, b.wrap(r.drop())
	}
	return r, nil
}

// spoiled reports whether a capture was broken off by the driver, and not by a
// mistake of what was to be captured.
func (b *Backend) spoiled(failure, err error) bool {
	var e, f *cuda.Error
	if b.lost != nil || !errors.As(err, &e) || !strings.HasPrefix(e.Code, "CUDA_ERROR_STREAM_CAPTURE_") {
		return false
	}
	return failure == nil || errors.As(failure, &f) && !fatal(f) && !errors.Is(f, cuda.ErrOutOfMemory)
}

// Replay implements engine.Recording.
func (r *recording) Replay() error {
	if err := r.backend.usable(); err != nil {
		return err
	}
	switch {
	case r.closed:
		return errors.New("the recording is closed")
	case r.backend.capturing:
		return errRecording
	case r.again != nil:
		return r.again()
	case r.graph == nil:
		return nil
	}
	r.backend.peers.count(r.sent)
	return r.backend.wrap(r.graph.Launch(r.backend.stream))
}

// Close implements engine.Recording.
func (r *recording) Close() error {
	if r.closed {
		return nil
	}
	if r.backend.ended() {
		r.closed = true
		return nil
	}
	return r.backend.wrap(r.free())
}

func (r *recording) free() error {
	r.closed = true
	delete(r.backend.graphs, r)
	return r.drop()
}

// drop closes the graph.
func (r *recording) drop() error {
	if r.graph == nil {
		return nil
	}
	err := r.graph.Close()
	r.graph = nil
	return err
}
