//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "cudnn.h"
#include "loader.h"

#cgo noescape ps_dnn_bind
#cgo nocallback ps_dnn_bind
#cgo noescape ps_conv_open
#cgo nocallback ps_conv_open
#cgo nocallback ps_conv_run
#cgo nocallback ps_conv_run_fused
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"
)

// A DNN is a handle of cuDNN 9 that enqueues in one stream. It, its Convs and
// the stream belong to one goroutine at a time.
//
// What it offers is cuDNN's older convolution interface, which version 9 marks
// as deprecated and still exports: it takes NHWC, groups, dilation and bf16, and
// it names its algorithms.
//
// libcudnn.so.9 opens further libraries by name. NewDNN opens them first, from
// the folder that libcudnn.so.9 is in, and refuses those of another folder.
type DNN struct {
	context *Context
	stream  *Stream
	lib     *library
	d       *C.struct_dnn
	convs   map[*Conv]struct{}
}

// NewDNN opens cuDNN on a stream of the context. The error wraps ErrNotFound if
// the library is not there.
func (c *Context) NewDNN(s *Stream) (*DNN, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if s.c != c {
		return nil, errors.New("cuda: cuDNN: the stream is another context's")
	}
	lib, err := c.library("libcudnn")
	if err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if err := oneFolder(lib.path); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	d := &DNN{context: c, stream: s, lib: lib, convs: map[*Conv]struct{}{}}
	d.d = (*C.struct_dnn)(C.calloc(1, C.sizeof_struct_dnn))
	if d.d == nil {
		return nil, fmt.Errorf("cuda: cuDNN: %w", ErrOutOfMemory)
	}
	d.d.context = c.c
	if missing := C.ps_dnn_bind(&d.d.api, lib.handle); missing != nil {
		C.free(unsafe.Pointer(d.d))
		return nil, fmt.Errorf("cuda: %s has no %s: %s", lib.path, C.GoString(missing), lib.fix(lib.major))
	}
	if r := C.ps_dnn_open(d.d, C.dnn_stream(s.s.stream)); r != 0 {
		err := d.failure()
		C.free(unsafe.Pointer(d.d))
		return nil, fmt.Errorf("cuda: %s: %w", lib.path, err)
	}
	c.driver.log.Debug("cuda: cuDNN opened", "path", lib.path, "version", lib.version)
	c.own(d)
	return d, nil
}

// dnnParts are the libraries that libcudnn.so.9 opens by their bare names when
// a convolution needs them, each before those that need it.
var dnnParts = []string{
	"libcudnn_graph.so.9", "libcudnn_ops.so.9", "libcudnn_cnn.so.9", "libcudnn_heuristic.so.9",
	"libcudnn_engines_precompiled.so.9", "libcudnn_engines_runtime_compiled.so.9",
}

// oneFolder opens cuDNN's parts from the folder of libcudnn itself, so that the
// loader has them when cuDNN asks for them by name, and says so if another
// folder's were open already: cuDNN does not work with those. A part that is
// not there is left for cuDNN to miss: not every version has each.
func oneFolder(path string) error {
	dir := filepath.Dir(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		if _, err := os.Stat(filepath.Join(dir, dnnParts[0])); err != nil {
			dir = filepath.Dir(real)
		}
	}
	for _, so := range dnnParts {
		part := filepath.Join(dir, so)
		if _, err := os.Stat(part); err != nil {
			continue
		}
		handle, err := dlopen(part)
		if err != nil {
			return fmt.Errorf("cuDNN's parts %w in one folder: %s cannot be opened (%v): install all of cuDNN 9 there", ErrNotFound, part, err)
		}
		name := C.CString(so)
		open := C.ps_dnn_part(name)
		C.free(unsafe.Pointer(name))
		if open != nil && open != handle {
			var buf [4096]C.char
			C.ps_path(open, &buf[0], C.size_t(len(buf)))
			return fmt.Errorf("cuDNN's parts %w in one folder: %s is open, which is not %s: take one of the folders out of the loader's path",
				ErrNotFound, C.GoString(&buf[0]), part)
		}
	}
	return nil
}

// Version returns the library's version: "9.26.0".
func (d *DNN) Version() string { return d.lib.version }

// failure makes an Error of the call that failed last.
func (d *DNN) failure() error { return d.context.libraryError(&d.d.failure) }

func (c *Context) libraryError(f *C.ps_failure) error {
	if f.code[0] == 0 {
		return c.result(C.GoString(f.call), f.number)
	}
	return &Error{
		Call: C.GoString(f.call), Code: C.GoString(&f.code[0]), Number: int(f.number), Detail: C.GoString(&f.text[0]),
	}
}

// Close closes the Convs that are left, and the handle, which waits for the
// device.
func (d *DNN) Close() error {
	if d.d == nil {
		return nil
	}
	var first error
	for c := range d.convs {
		if err := c.Close(); first == nil {
			first = err
		}
	}
	if r := C.ps_dnn_close(d.d); r != 0 && first == nil {
		first = d.failure()
	}
	C.free(unsafe.Pointer(d.d))
	d.d = nil
	d.context.disown(d)
	return first
}

// A Conv is one pass of a convolution of one shape.
type Conv struct {
	dnn        *DNN
	shape      ConvShape
	pass       ConvPass
	fused      bool
	c          *C.struct_conv
	algorithms []Algorithm
}

// NewConv describes a pass to cuDNN and asks its heuristics for algorithms;
// nothing is run.
func (d *DNN) NewConv(s ConvShape, p ConvPass) (*Conv, error) {
	return d.newConv(s, p, C.FUSE_NOTHING)
}

// NewFusedConv describes a forward pass with a bias, a residual and, with relu,
// an activation: y = max(0, x∗w + z + bias), for RunFused. With BF16 bias and
// residual are bfloat16 too; the sum is rounded once. cuDNN's ReLU makes 0 of
// what is not a number. Without relu one algorithm is left at most,
// IMPLICIT_PRECOMP_GEMM. One that is listed may still not know the shape when it
// is run; the error wraps ErrNotSupported then.
func (d *DNN) NewFusedConv(s ConvShape, relu bool) (*Conv, error) {
	if relu {
		return d.newConv(s, Forward, C.FUSE_RELU)
	}
	return d.newConv(s, Forward, C.FUSE_IDENTITY)
}

func (d *DNN) newConv(s ConvShape, p ConvPass, fuse C.int) (*Conv, error) {
	if d.d == nil {
		return nil, fmt.Errorf("cuda: cuDNN's handle %w", errClosed)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("cuda: %w", err)
	}
	if p < Forward || p > BackwardFilter {
		return nil, fmt.Errorf("cuda: convolution of %s: there is no %s", s, p)
	}
	c := &Conv{dnn: d, shape: s, pass: p, fused: fuse != C.FUSE_NOTHING, c: (*C.struct_conv)(C.calloc(1, C.sizeof_struct_conv))}
	if c.c == nil {
		return nil, fmt.Errorf("cuda: convolution of %s: %w", s, ErrOutOfMemory)
	}
	shape := C.struct_conv_shape{
		n: C.int(s.N), h: C.int(s.H), w: C.int(s.W), c: C.int(s.C), o: C.int(s.O), kh: C.int(s.KH), kw: C.int(s.KW),
		oh: C.int(s.OH), ow: C.int(s.OW), stride: axesOf(s.Stride), pad: axesOf(s.Pad), dilation: axesOf(s.Dilation),
		groups: C.int(s.Groups), bf16: truth(s.BF16), tf32: truth(s.TF32),
	}
	if r := C.ps_conv_open(c.c, d.d, &shape, C.int(p), fuse); r != 0 {
		err := c.wrap(d.failure())
		C.free(unsafe.Pointer(c.c))
		return nil, err
	}
	for _, a := range c.c.perf[:c.c.count] {
		c.algorithms = append(c.algorithms, Algorithm{
			ID:            int(a.algo) | int(a.mathType)<<8,
			Name:          name(convAlgorithms[p], int(a.algo)) + " " + name(mathTypes, int(a.mathType)),
			Workspace:     int(a.memory),
			Deterministic: a.determinism != 0,
		})
	}
	d.convs[c] = struct{}{}
	return c, nil
}

func axesOf(p [2]int) [2]C.int { return [2]C.int{C.int(p[0]), C.int(p[1])} }

func (c *Conv) wrap(err error) error {
	return fmt.Errorf("cuda: %s convolution of %s: %w", c.pass, c.shape, err)
}

// Algorithms returns what cuDNN can do the pass with, what its heuristics think
// fastest first. None may be left. FFT and WINOGRAD algorithms bound their error
// by the size of the whole tensor's elements, not by the products that an
// element sums.
func (c *Conv) Algorithms() []Algorithm { return c.algorithms }

// Run enqueues the pass in the DNN's stream: x and w give y (Forward), w and y
// give x (BackwardData), x and y give w (BackwardFilter); see ConvShape for the
// layouts. ws holds the algorithm's workspace and may be 0 if it needs none. It
// allocates nothing.
func (c *Conv) Run(a Algorithm, x, w, y, ws Ptr) error {
	known, err := c.ready(a, false, x, w, y, ws)
	if err != nil {
		return err
	}
	r := C.ps_conv_run(c.c, C.uint(known.ID&0xff), C.uint(known.ID>>8), C.uint64_t(x), C.uint64_t(w), C.uint64_t(y),
		C.uint64_t(ws), C.size_t(known.Workspace))
	if r != 0 {
		return c.wrap(c.dnn.failure())
	}
	return nil
}

// RunFused enqueues a pass of NewFusedConv. bias is [O]; z, of y's shape, is the
// residual, 0 if there is none. z may be y, but x may be neither; z that is x is
// copied to y first. It allocates nothing.
func (c *Conv) RunFused(a Algorithm, x, w, bias, z, y, ws Ptr) error {
	known, err := c.ready(a, true, x, w, y, ws)
	if err != nil {
		return err
	}
	if bias == 0 {
		return c.wrap(errors.New("its bias is at address 0"))
	}
	if z == x {
		if err := c.dnn.stream.Copy(y, z, c.shape.result()); err != nil {
			return c.wrap(err)
		}
		z = y
	}
	r := C.ps_conv_run_fused(c.c, C.uint(known.ID&0xff), C.uint(known.ID>>8), C.uint64_t(x), C.uint64_t(w), C.uint64_t(bias),
		C.uint64_t(z), C.uint64_t(y), C.uint64_t(ws), C.size_t(known.Workspace))
	if r != 0 {
		return c.wrap(c.dnn.failure())
	}
	return nil
}

// ready returns the algorithm in the list that a stands for, if the pass can run
// on those addresses.
func (c *Conv) ready(a Algorithm, fused bool, x, w, y, ws Ptr) (Algorithm, error) {
	if c.c == nil || c.dnn.stream.s == nil {
		return a, c.closed()
	}
	if c.fused != fused {
		return a, c.wrap(errors.New("Run is for what NewConv made, RunFused for what NewFusedConv made"))
	}
	known, err := findAlgorithm(c.algorithms, a)
	if err != nil {
		return a, c.wrap(err)
	}
	if x == 0 || w == 0 || y == 0 || ws == 0 && known.Workspace > 0 {
		return a, c.unplaced(known, x, w, y, ws)
	}
	c.dnn.stream.lend() // which cuDNN knows since it was opened
	return known, nil
}

func (c *Conv) unplaced(a Algorithm, x, w, y, ws Ptr) error {
	return c.wrap(fmt.Errorf("x, w and y at %#x, %#x and %#x, %d bytes of workspace at %#x: none may be at address 0",
		uint64(x), uint64(w), uint64(y), a.Workspace, uint64(ws)))
}

func (c *Conv) closed() error {
	if err := c.dnn.stream.open(); err != nil {
		return c.wrap(err)
	}
	return c.wrap(fmt.Errorf("it %w", errClosed))
}

// Close frees the descriptors. What was enqueued goes on.
func (c *Conv) Close() error {
	if c.c == nil {
		return nil
	}
	var err error
	if r := C.ps_conv_close(c.c); r != 0 {
		err = c.wrap(c.dnn.failure())
	}
	C.free(unsafe.Pointer(c.c))
	c.c = nil
	delete(c.dnn.convs, c)
	return err
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
