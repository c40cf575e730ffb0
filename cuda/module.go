//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "driver.h"

#cgo noescape ps_module_load
#cgo nocallback ps_module_load
#cgo noescape ps_module_function
#cgo nocallback ps_module_function
*/
import "C"

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"
)

// A Module is compiled kernels on the device.
type Module struct {
	c        *Context
	name     string
	module   unsafe.Pointer
	overlaps bool // its kernels can wait within themselves for what is earlier
}

// A Function is a kernel of a module.
type Function struct {
	m        *Module
	name     string
	function unsafe.Pointer
	waits    bool // for what is earlier, as Overlap says
}

// NVRTC returns the version of the compiler that Compile uses for the context's
// device. The error, which holds the fix, wraps ErrNotFound where there is none.
func (c *Context) NVRTC() (version string, err error) {
	compiler, err := c.driver.nvrtc()
	if err != nil {
		return "", fmt.Errorf("cuda: %w", err)
	}
	return compiler.of(c.device.Major*10 + c.device.Minor).lib.version, nil
}

// Compile compiles CUDA C++ for the context's device with NVRTC and loads it.
// The name stands in messages; options are NVRTC's, such as "-DNAME=VALUE". What
// was compiled is kept in Options.CacheDir by the hash of the source, the
// options, the architecture and the compiler; a file there that is damaged, or
// that the driver refuses, is compiled again. A source that does not compile
// gives an Error whose Detail is the first error of the compiler's log; where
// NVRTC is missing, the error wraps ErrNotFound.
func (c *Context) Compile(name, source string, options ...string) (*Module, error) {
	if err := c.open(); err != nil {
		return nil, err
	}
	compiler, err := c.driver.nvrtc()
	if err != nil {
		return nil, fmt.Errorf("cuda: cannot compile %s: %w", name, err)
	}
	arch := c.device.Major*10 + c.device.Minor
	compiler = compiler.of(arch)
	for _, fresh := range []bool{false, true} {
		cubin, kept, err := compiler.cubin(name, source, arch, options, fresh)
		if err != nil {
			return nil, fmt.Errorf("cuda: cannot compile %s: %w", name, err)
		}
		m := &Module{c: c, name: name, overlaps: c.overlaps(compiler, arch)}
		r := C.int(200) // CUDA_ERROR_INVALID_IMAGE
		if len(cubin) > 0 {
			r = C.ps_module_load(c.c, unsafe.Pointer(&cubin[0]), &m.module)
		}
		if r == 0 {
			c.own(m)
			return m, nil
		}
		err = fmt.Errorf("cuda: cannot load %s, compiled for sm_%d by NVRTC %s: %w",
			name, arch, compiler.lib.version, c.result("cuModuleLoadData", r))
		if !kept {
			return nil, err
		}
		c.driver.log.Warn("cuda: the driver refuses a compiled kernel, which is compiled again", "kernel", name, "error", err)
	}
	return nil, fmt.Errorf("cuda: cannot compile %s", name) // not reached: a fresh cubin is not kept
}

// Function returns a kernel by its name.
func (m *Module) Function(name string) (*Function, error) {
	if m.module == nil {
		return nil, fmt.Errorf("cuda: the module %s %w", m.name, errClosed)
	}
	f := &Function{m: m, name: name}
	s := C.CString(name)
	defer C.free(unsafe.Pointer(s))
	if r := C.ps_module_function(m.c.c, m.module, s, &f.function); r != 0 {
		return nil, fmt.Errorf("cuda: %s has no kernel %s: %w", m.name, name, m.c.result("cuModuleGetFunction", r))
	}
	return f, nil
}

// Close unloads the module. Its functions can no longer be launched; none may
// be running.
func (m *Module) Close() error {
	if m.module == nil {
		return nil
	}
	p := m.module
	m.module = nil
	m.c.disown(m)
	return m.c.result("cuModuleUnload", C.ps_module_unload(m.c.c, p))
}

// overlaps reports whether kernels that were compiled for an architecture can be
// launched so that they begin while the kernel before them ends (programmatic
// dependent launch): the device and what was compiled for are of compute capability
// 9.0 or later, and the driver captures such launches in graphs, as it does since
// CUDA 12.3. POTSTILL_CUDA_OVERLAP=0 in the environment says that none is.
func (c *Context) overlaps(compiler *compiler, arch int) bool {
	target, _, err := compiler.target(arch)
	_, number, _ := strings.Cut(target, "_")
	n, _ := strconv.Atoi(number)
	return err == nil && n >= 90 && c.device.Major >= 9 && c.driver.version >= 12030 &&
		c.driver.api.cuLaunchKernelEx != nil && os.Getenv("POTSTILL_CUDA_OVERLAP") != "0"
}

// Overlap says that each of the kernel's threads waits, with griddepcontrol.wait,
// before it touches memory of the device. Launches directly behind another kernel
// then need not wait for its end, where the device and the driver can do that;
// elsewhere nothing changes.
func (f *Function) Overlap() { f.waits = f.m.overlaps }

// Name returns the kernel's name.
func (f *Function) Name() string { return f.name }

// SetDynamicShared allows launches with up to bytes of dynamic shared memory,
// which with the kernel's own may be up to Device.SharedPerBlockOptin.
func (f *Function) SetDynamicShared(bytes int) error {
	if f.m.module == nil {
		return fmt.Errorf("cuda: kernel %s: the module %s %w", f.name, f.m.name, errClosed)
	}
	if bytes < 0 || bytes > f.m.c.device.SharedPerBlockOptin {
		return fmt.Errorf("cuda: kernel %s: %d bytes of shared memory, a block of this device can have %d",
			f.name, bytes, f.m.c.device.SharedPerBlockOptin)
	}
	if r := C.ps_function_shared(f.m.c.c, f.function, C.int(bytes)); r != 0 {
		return fmt.Errorf("cuda: kernel %s: %d bytes of shared memory: %w",
			f.name, bytes, f.m.c.result("cuFuncSetAttribute", r))
	}
	return nil
}

// unusable says why a stream cannot launch the function.
func (f *Function) unusable(s *Stream) error {
	if f.m.module == nil {
		return fmt.Errorf("cuda: kernel %s: the module %s %w", f.name, f.m.name, errClosed)
	}
	return fmt.Errorf("cuda: kernel %s is of another context than the stream, of device %d", f.name, s.c.device.Index)
}

// refused is the error of a launch.
func (f *Function) refused(r C.int, grid, block [3]int, shared, bytes int) error {
	return fmt.Errorf("cuda: kernel %s, %d blocks of %d threads, %d bytes of shared memory, %d of parameters: %w",
		f.name, grid, block, shared, bytes, f.m.c.result("cuLaunchKernel", r))
}
