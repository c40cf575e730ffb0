package gpu

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// maxAlloc is the largest buffer that is asked of the driver.
const maxAlloc = 1 << 44

// A buffer is memory of the card.
type buffer struct {
	backend *Backend
	p       cuda.Ptr
	bytes   int
	foreign bool // somebody else's, who frees it
}

// Alloc implements engine.Backend. Memory is aligned to 256. The error of a card
// that has too little left says how much was needed and how much is free.
func (b *Backend) Alloc(bytes int) (engine.Buffer, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	if b.capturing {
		return nil, errRecording
	}
	if bytes < 0 || bytes > maxAlloc {
		return nil, b.short(bytes, nil)
	}
	p, err := b.ctx.Alloc(max(bytes, 1))
	if errors.Is(err, cuda.ErrOutOfMemory) {
		return nil, b.short(bytes, err)
	}
	if err != nil {
		return nil, b.wrap(fmt.Errorf("allocating %d bytes: %w", bytes, err))
	}
	m := &buffer{backend: b, p: p, bytes: bytes}
	b.live[m] = struct{}{}
	return m, nil
}

// short says that there are not so many bytes, and what there is.
func (b *Backend) short(bytes int, cause error) error {
	free, total, err := b.ctx.MemInfo()
	if err != nil {
		return fmt.Errorf("%w: %s needed on %s: %w", engine.ErrOutOfMemory, engine.HumanBytes(bytes), b.Name(), errors.Join(cause, b.wrap(err)))
	}
	return fmt.Errorf("%w: %s needed, %s of %s free on %s (%s)", engine.ErrOutOfMemory,
		engine.HumanBytes(bytes), engine.HumanBytes(free), engine.HumanBytes(total), b.Name(), b.device.Name)
}

func (m *buffer) Bytes() int { return m.bytes }

// at checks a range and returns its address.
func (m *buffer) at(off, n int) (cuda.Ptr, error) {
	if m.p == 0 {
		return 0, errors.New("the buffer is closed")
	}
	if off < 0 || n < 0 || off > m.bytes-n {
		return 0, fmt.Errorf("bytes [%d, %d) of a buffer of %d", off, off+n, m.bytes)
	}
	if err := m.backend.usable(); err != nil {
		return 0, err
	}
	if m.backend.capturing {
		return 0, errRecording
	}
	return m.p + cuda.Ptr(off), nil
}

// Write implements engine.Buffer.
func (m *buffer) Write(off int, src []byte) error {
	p, err := m.at(off, len(src))
	if err != nil || len(src) == 0 {
		return err
	}
	return m.backend.wrap(m.backend.stream.Write(p, src))
}

// Read implements engine.Buffer.
func (m *buffer) Read(off int, dst []byte) error {
	p, err := m.at(off, len(dst))
	if err != nil || len(dst) == 0 {
		return err
	}
	return m.backend.wrap(m.backend.stream.Read(dst, p))
}

// Close frees the memory once what is enqueued has ended.
func (m *buffer) Close() error {
	if m.p == 0 {
		return nil
	}
	if m.backend.ended() {
		m.p = 0
		return nil
	}
	if m.backend.capturing {
		return errRecording
	}
	if err := m.backend.wrap(m.backend.stream.Sync()); err != nil {
		m.p = 0
		return err
	}
	return m.backend.wrap(m.free())
}

// free gives the memory back to the driver.
func (m *buffer) free() error {
	p := m.p
	m.p = 0
	delete(m.backend.live, m)
	if m.foreign {
		return nil
	}
	return m.backend.ctx.Free(p)
}

// address returns where a tensor of the given bytes lies, or what is wrong with it.
func (b *Backend) address(t engine.Tensor, bytes int) (cuda.Ptr, error) {
	m, ok := t.Buf.(*buffer)
	switch {
	case !ok || m.backend != b:
		return 0, errForeign
	case m.p == 0:
		return 0, errFreed
	case t.Off < 0 || t.Off > m.bytes-bytes:
		return 0, errBeyond
	}
	return m.p + cuda.Ptr(t.Off), nil
}

var (
	errForeign = errors.New("a tensor is not in this backend's memory")
	errFreed   = errors.New("a tensor's buffer is closed")
	errBeyond  = errors.New("a tensor reaches beyond its buffer")
)
