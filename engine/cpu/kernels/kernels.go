package kernels

/*
#cgo CFLAGS: -O3 -g1 -std=gnu11 -Wall
#cgo LDFLAGS: -lm -lpthread
#include <stdlib.h>
#include "memory.h"
#include "pool.h"
*/
import "C"

import "unsafe"

// Level returns what the processor can run: 3: AVX-512 with AVX512_BF16, 2: AVX-512,
// 1: AVX2 and FMA, 0: none of these. 4 is 3 on processors of Intel, where products of
// bfloat16 are computed by multiply-adds of float32.
func Level() int { return int(C.ps_level()) }

// Dots returns which instructions the processor has that sum four products of bytes: on
// x86-64 AMX-INT8 (tiles), VNNI of AVX-512 (wide) and of AVX2 (narrow), on arm64
// FEAT_DotProd (narrow).
func Dots() (tiles, wide, narrow bool) {
	v := int(C.ps_dots())
	return v&4 != 0, v&2 != 0, v&1 != 0
}

// Products says how products of codes are computed.
type Products int

// How products of codes are computed.
const (
	ByPairs         Products = C.PS_BY_PAIRS          // of int16
	ByDots          Products = C.PS_BY_DOTS           // by the level's form of [Dots]
	ByTiles         Products = C.PS_BY_TILES          // by AMX-INT8
	ByEmulatedTiles Products = C.PS_BY_EMULATED_TILES // as AMX-INT8 would, slowly, where there is AVX512_VNNI
)

// Names returns the names of the kernels, in the order of their numbers.
func Names() []string {
	names := make([]string, C.ps_kernel_count())
	for i := range names {
		names[i] = C.GoString(C.ps_kernel_name(C.int(i)))
	}
	return names
}

// A Pool is a number of threads with a table of kernels.
type Pool struct{ pool *C.ps_pool }

// NewPool returns a pool of so many threads, the caller of Run among them, with the
// kernels of a level, those of level 0 where this build has no such level, and those for
// products of codes that are asked for, which the machine must have. It returns nil if the
// system refuses a thread.
func NewPool(threads, level int, by Products) *Pool {
	p := C.ps_pool_new(C.int(threads), C.int(level), C.int(by))
	if p == nil {
		return nil
	}
	return &Pool{p}
}

// Run runs n commands, an array of ps_command of kernels.h, in order, the tasks of each
// on all threads, and returns when the last is done. One caller at a time.
func (p *Pool) Run(commands unsafe.Pointer, n int) {
	C.ps_run(p.pool, (*C.ps_command)(commands), C.int64_t(n))
}

// Close ends the threads.
func (p *Pool) Close() { C.ps_pool_free(p.pool) }

// Pages returns memory for tensors, aligned to a cache line, or nil if there is none.
func Pages(bytes int) unsafe.Pointer { return C.ps_pages(C.size_t(bytes)) }

// Allocate returns memory outside the Go heap, aligned as for any type of C; like
// Go's new, it ends the program where there is none.
func Allocate(bytes int) unsafe.Pointer { return C.malloc(C.size_t(bytes)) }

// Free gives back what Pages or Allocate returned.
func Free(p unsafe.Pointer) { C.free(p) }
