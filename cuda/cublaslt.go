//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "cublaslt.h"

#cgo noescape ps_lt_bind
#cgo nocallback ps_lt_bind
#cgo noescape ps_matmul_open
#cgo nocallback ps_matmul_open
#cgo nocallback ps_matmul_run
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// A BLAS is a handle of cuBLASLt in one context. It and its Matmuls belong to
// one goroutine at a time.
type BLAS struct {
	context *Context
	lib     *library
	l       *C.struct_lt
	matmuls map[*Matmul]struct{}
}

// NewBLAS opens cuBLASLt in the context. The error wraps ErrNotFound if the
// library is not there.
func (c *Context) NewBLAS() (*BLAS, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	lib, err := c.library("libcublasLt")
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	b := &BLAS{context: c, lib: lib, matmuls: map[*Matmul]struct{}{}}
	b.l = (*C.struct_lt)(C.calloc(1, C.sizeof_struct_lt))
	if b.l == nil {
		return nil, fmt.Errorf("cuda: cuBLASLt: %w", ErrOutOfMemory)
	}
	b.l.context = c.c
	if missing := C.ps_lt_bind(&b.l.api, lib.handle); missing != nil {
		C.free(unsafe.Pointer(b.l))
		return nil, fmt.Errorf("cuda: %s has no %s: %s", lib.path, C.GoString(missing), lib.fix(lib.major))
	}
	if r := C.ps_lt_open(b.l); r != 0 {
		err := b.failure()
		C.free(unsafe.Pointer(b.l))
		return nil, fmt.Errorf("cuda: %s: %w", lib.path, err)
	}
	c.driver.log.Debug("cuda: cuBLASLt opened", "path", lib.path, "version", lib.version)
	c.own(b)
	return b, nil
}

// Version returns the library's version: "13.4.1".
func (b *BLAS) Version() string { return b.lib.version }

// failure makes an Error of the call that failed last.
func (b *BLAS) failure() error { return b.context.libraryError(&b.l.failure) }

// Close closes the Matmuls that are left, and the handle.
func (b *BLAS) Close() error {
	if b.l == nil {
		return nil
	}
	var first error
	for m := range b.matmuls {
		if err := m.Close(); first == nil {
			first = err
		}
	}
	if r := C.ps_lt_close(b.l); r != 0 && first == nil {
		first = b.failure()
	}
	C.free(unsafe.Pointer(b.l))
	b.l = nil
	b.context.disown(b)
	return first
}

// A Matmul is a product of matrices of one shape.
type Matmul struct {
	blas       *BLAS
	shape      MatmulShape
	m          *C.struct_matmul
	algorithms []Algorithm
}

// NewMatmul describes a product to cuBLASLt and asks its heuristics for
// algorithms with at most maxWorkspace bytes of workspace; nothing is run.
func (b *BLAS) NewMatmul(s MatmulShape, maxWorkspace int) (*Matmul, error) {
	if b.l == nil {
		return nil, fmt.Errorf("cuda: cuBLASLt's handle %w", errClosed)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if maxWorkspace < 0 {
		return nil, fmt.Errorf("cuda: matmul: a workspace of at most %d bytes cannot be", maxWorkspace)
	}
	m := &Matmul{blas: b, shape: s, m: (*C.struct_matmul)(C.calloc(1, C.sizeof_struct_matmul))}
	if m.m == nil {
		return nil, fmt.Errorf("cuda: matmul of %s: %w", s, ErrOutOfMemory)
	}
	shape := C.struct_matmul_shape{
		m: C.uint64_t(s.M), n: C.uint64_t(s.N), k: C.uint64_t(s.K), trans_a: truth(s.TransA), trans_b: truth(s.TransB),
		bf16: truth(s.BF16), float32_out: truth(s.Float32Out), tf32: truth(s.TF32), bias: truth(s.Bias),
		bias_grad: truth(s.BiasGrad),
	}
	if r := C.ps_matmul_open(m.m, b.l, &shape, C.uint64_t(maxWorkspace)); r != 0 {
		err := m.wrap(b.failure())
		C.free(unsafe.Pointer(m.m))
		return nil, err
	}
	for i := range int(m.m.count) {
		m.algorithms = append(m.algorithms, m.algorithm(i))
	}
	b.matmuls[m] = struct{}{}
	return m, nil
}

// algorithm describes what the heuristics found at an index.
func (m *Matmul) algorithm(i int) Algorithm {
	config := m.m.config[i]
	var parts []string
	for a, key := range []string{
		C.PS_CUBLASLT_ALGO_CONFIG_ID:               "algo",
		C.PS_CUBLASLT_ALGO_CONFIG_TILE_ID:          "tile",
		C.PS_CUBLASLT_ALGO_CONFIG_SPLITK_NUM:       "splitk",
		C.PS_CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME: "reduction",
		C.PS_CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING:    "swizzle",
		C.PS_CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION:    "custom",
		C.PS_CUBLASLT_ALGO_CONFIG_STAGES_ID:        "stages",
		C.PS_CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID:   "inner",
		C.PS_CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID: "cluster",
	} {
		if v := int(config[a]); v >= 0 {
			parts = append(parts, fmt.Sprintf("%s %d", key, v))
		}
	}
	a := Algorithm{ID: i, Name: strings.Join(parts, " "), Workspace: int(m.m.found[i].workspaceSize)}
	for n, first := 1, a.Name; ; n++ { // what differs may be nothing that can be asked
		if !slices.ContainsFunc(m.algorithms, func(other Algorithm) bool { return other.Name == a.Name }) {
			break
		}
		a.Name = fmt.Sprintf("%s #%d", first, n+1)
	}
	// Parts of a sum that are added up in place may be added in any order.
	a.Deterministic = int(config[C.PS_CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME]) != C.PS_CUBLASLT_REDUCTION_SCHEME_INPLACE
	return a
}

func (m *Matmul) wrap(err error) error {
	return fmt.Errorf("cuda: matmul of %s: %w", m.shape, err)
}

// Algorithms returns what cuBLASLt can do the product with, what its heuristics
// think fastest first. None may be left.
//
// Those that split the sums and add the parts in place are not taken as
// deterministic. Of the others cuBLAS promises the same bits on the same card.
func (m *Matmul) Algorithms() []Algorithm { return m.algorithms }

// Run enqueues C = op(A)·op(B) + bias in a stream of the context; see
// MatmulShape. Every address is a multiple of 16. bias is read if the shape has
// one, and written if it has the gradient of one. ws holds the algorithm's workspace and may be 0 if it needs none. It
// allocates nothing.
func (m *Matmul) Run(st *Stream, algo Algorithm, a, b, c, bias, ws Ptr) error {
	if m.m == nil || st.s == nil || st.c != m.blas.context {
		return m.unusable(st)
	}
	known, err := findAlgorithm(m.algorithms, algo)
	if err != nil {
		return m.wrap(err)
	}
	biased := m.shape.Bias || m.shape.BiasGrad
	if !biased {
		bias = 0
	}
	if (a|b|c|bias|ws)%matmulAlignment != 0 || a == 0 || b == 0 || c == 0 || biased && bias == 0 ||
		ws == 0 && known.Workspace > 0 {
		return m.misplaced(known, a, b, c, bias, ws)
	}
	r := C.ps_matmul_run(m.m, C.int(known.ID), C.uint64_t(a), C.uint64_t(b), C.uint64_t(c), C.uint64_t(bias),
		C.uint64_t(ws), C.size_t(known.Workspace), st.lend())
	if r != 0 {
		return m.wrap(m.blas.failure())
	}
	return nil
}

func (m *Matmul) misplaced(algo Algorithm, a, b, c, bias, ws Ptr) error {
	return m.wrap(fmt.Errorf("matrices A, B, C and bias at %#x, %#x, %#x and %#x, %d bytes of workspace at %#x: each must be a multiple of %d, and not 0",
		uint64(a), uint64(b), uint64(c), uint64(bias), algo.Workspace, uint64(ws), matmulAlignment))
}

func (m *Matmul) unusable(st *Stream) error {
	if m.m == nil {
		return m.wrap(fmt.Errorf("it %w", errClosed))
	}
	if err := st.open(); err != nil {
		return m.wrap(err)
	}
	return m.wrap(errors.New("the stream is another context's"))
}

// Close frees the descriptors. What was enqueued goes on.
func (m *Matmul) Close() error {
	if m.m == nil {
		return nil
	}
	var err error
	if r := C.ps_matmul_close(m.m); r != 0 {
		err = m.wrap(m.blas.failure())
	}
	C.free(unsafe.Pointer(m.m))
	m.m = nil
	delete(m.blas.matmuls, m)
	return err
}
