//go:build cgo

package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu/kernels"
)

// compiled says whether there are kernels in C.
const compiled = true

// Variants returns the instruction sets that this build has and this machine
// can run, the best first.
func Variants() []string {
	var v []string
	switch kernels.Level() {
	case 4:
		v = append(v, "avx512bf16fma", "avx512bf16", "avx512", "avx2")
	case 3:
		v = append(v, "avx512bf16", "avx512", "avx2")
	case 2:
		v = append(v, "avx512", "avx2")
	case 1:
		v = append(v, "avx2")
	}
	if runtime.GOARCH == "arm64" {
		return append(v, "neon")
	}
	return append(v, "generic")
}

// level is the number of a variant in C.
func level(variant string) int {
	return map[string]int{"avx512bf16fma": 4, "avx512bf16": 3, "avx512": 2, "avx2": 1}[variant]
}

// A library is a pool of threads with its table of kernels.
type library struct{ pool *kernels.Pool }

func openLibrary(variant string, threads int) (*library, error) {
	names := kernels.Names()
	if len(names) != len(kernelNames) {
		return nil, fmt.Errorf("the build is broken: %d kernels in C, %d in Go", len(names), len(kernelNames))
	}
	for i, name := range kernelNames {
		if names[i] != name {
			return nil, fmt.Errorf("the build is broken: kernel %d is %s in C, %s in Go", i, names[i], name)
		}
	}
	pool := kernels.NewPool(threads, level(variant))
	if pool == nil {
		return nil, errors.New("the system refuses another thread")
	}
	return &library{pool: pool}, nil
}

func (l *library) run(commands []command) {
	if len(commands) == 0 {
		return
	}
	l.pool.Run(unsafe.Pointer(&commands[0]), len(commands))
}

func (l *library) close() { l.pool.Close() }

// allocate returns memory aligned to a cache line.
func allocate(bytes int) (unsafe.Pointer, error) {
	p := kernels.Pages(bytes)
	if p == nil {
		return nil, engine.ErrOutOfMemory
	}
	return p, nil
}

func release(p unsafe.Pointer) { kernels.Free(p) }

// An arena hands out memory outside the Go heap that is freed all at once.
type arena struct {
	blocks []unsafe.Pointer
	left   int            // bytes of the last block that are free
	next   unsafe.Pointer // where they start
}

const arenaBlock = 1 << 16

// keep copies values into the arena and returns where.
func keep[T any](a *arena, values []T) unsafe.Pointer {
	var zero T
	n := (int(unsafe.Sizeof(zero))*len(values) + 15) &^ 15
	if n == 0 {
		return nil
	}
	if n > a.left {
		size := max(n, arenaBlock)
		a.next, a.left = kernels.Allocate(size), size
		a.blocks = append(a.blocks, a.next)
	}
	p := a.next
	copy(unsafe.Slice((*T)(p), len(values)), values)
	a.next, a.left = unsafe.Add(a.next, n), a.left-n
	return p
}

// reset frees everything but one block, which it reuses.
func (a *arena) reset() {
	if len(a.blocks) > 1 {
		a.free()
	}
	if len(a.blocks) == 1 {
		a.next, a.left = a.blocks[0], arenaBlock
	}
}

func (a *arena) free() {
	for _, b := range a.blocks {
		kernels.Free(b)
	}
	*a = arena{}
}
