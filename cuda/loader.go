//go:build linux && cgo

package cuda

/*
#cgo CFLAGS: -std=gnu11 -Wall -O2
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "loader.h"
#include "nccl.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// A library is one that is opened at first use, and then stays open: code of
// it may be on any thread's stack, so none is ever unloaded.
type library struct {
	known
	major   int // of the CUDA that it must work with, 0 if that is not known
	once    sync.Once
	handle  unsafe.Pointer // the loader's
	path    string         // the file that was opened
	version string
	number  int // libcudnn, libcublasLt and libnccl: what their GetVersion gives; libnvrtc: the major version
	err     error
	looked  []string // where it is not, if err is that
}

// A loader knows the libraries and where to look for them.
type loader struct {
	dirs      []string
	major     int // the driver's
	libraries []*library
	// older looks for the libraries of CUDA 12, where this one takes those of 13.
	older func() *loader
}

func newLoader(dirs []string, major int) *loader {
	l := &loader{dirs: dirs, major: major}
	for _, k := range knowns(major) {
		l.libraries = append(l.libraries, &library{known: k, major: major})
	}
	l.older = sync.OnceValue(func() *loader {
		before := newLoader(dirs, 12)
		for _, k := range before.libraries { // a name without a version may be of 13
			k.so = slices.DeleteFunc(k.so, func(so string) bool { return so == k.name+".so" })
		}
		return before
	})
	return l
}

// firstOf13 is the oldest architecture that CUDA 13 supports: its libraries
// refuse Volta and what came before.
const firstOf13 = 75

// dropped reports whether CUDA 13 no longer supports a device.
func (d Device) dropped() bool { return d.Major*10+d.Minor < firstOf13 }

// of returns the loader of what works with a device.
func (l *loader) of(d Device) *loader {
	if l.major >= 13 && d.dropped() {
		return l.older()
	}
	return l
}

// library opens one of the known libraries that works with the context's device.
func (c *Context) library(name string) (*library, error) {
	l := c.driver.of(c.device)
	lib, err := l.library(name)
	if err != nil && l != c.driver.loader {
		err = fmt.Errorf("%s (sm_%d%d) needs CUDA 12's, which 13 no longer supports: %w", c.device.Name, c.device.Major, c.device.Minor, err)
	}
	return lib, err
}

// adopt takes a library that another loader opened.
func (l *loader) adopt(lib *library) {
	for i, k := range l.libraries {
		if k.name == lib.name {
			l.libraries[i] = lib
		}
	}
}

// library opens one of the known libraries once and keeps it, or the error.
func (l *loader) library(name string) (*library, error) {
	i := slices.IndexFunc(l.libraries, func(k *library) bool { return k.name == name })
	if i < 0 {
		return nil, fmt.Errorf("%s %w: no such library is known", name, ErrNotFound)
	}
	lib := l.libraries[i]
	lib.once.Do(func() { lib.open(l.dirs) })
	if lib.err != nil {
		return nil, fmt.Errorf("%w: %s", lib.err, lib.fix(l.major))
	}
	return lib, nil
}

func (l *library) open(dirs []string) {
	path, broken, ok := find(l.so, dirs, func(path string) error {
		handle, err := dlopen(path)
		if err == nil {
			l.handle = handle
			err = l.fits(path)
		}
		return err
	})
	if !ok {
		l.err = fmt.Errorf("%s %w", strings.Join(l.so, ", "), ErrNotFound)
		l.looked = dirs
		if broken != nil {
			l.err = fmt.Errorf("%s %w: what is there cannot be opened: %w", l.so[0], ErrNotFound, broken)
			l.looked = nil
		}
		return
	}
	l.path = path
	var buf [4096]C.char
	C.ps_path(l.handle, &buf[0], C.size_t(len(buf)))
	if real := C.GoString(&buf[0]); real != "" {
		l.path = real
	}
	l.ask()
	if l.name == "libnvrtc" {
		// NVRTC opens this one by its bare name when it compiles first. That
		// finds what is open already, wherever it lies.
		for _, builtins := range newest(filepath.Join(escape(filepath.Dir(l.path)), "libnvrtc-builtins.so.*")) {
			if _, err := dlopen(builtins); err == nil {
				break
			}
		}
	}
}

// fits returns why a library that is open is none for the loader's CUDA. cuDNN
// is one whose name does not tell: it has the same for CUDA 12 and 13, of which
// the latter works neither with a driver nor with a device that is too old.
func (l *library) fits(path string) error {
	if l.name != "libcudnn" || l.major == 0 {
		return nil
	}
	f, err := l.symbol("cudnnGetCudartVersion")
	if err != nil {
		return nil // then NewDNN says what is wrong
	}
	if built := int(C.ps_version_number(f)); built/1000 > l.major {
		return fmt.Errorf("%s is built for CUDA %d.%d, not for %d", path, built/1000, built%1000/10, l.major)
	}
	return nil
}

// ask finds out the version.
func (l *library) ask() {
	switch l.name {
	case "libnvrtc":
		if f, err := l.symbol("nvrtcVersion"); err == nil {
			var major, minor C.int
			if C.ps_version_pair(f, &major, &minor) == 0 {
				l.number = int(major)
				l.version = fmt.Sprintf("%d.%d", major, minor)
			}
		}
	case "libcudnn", "libcublasLt":
		name := map[string]string{"libcudnn": "cudnnGetVersion", "libcublasLt": "cublasLtGetVersion"}[l.name]
		if f, err := l.symbol(name); err == nil {
			l.number = int(C.ps_version_number(f))
			l.version = fmt.Sprintf("%d.%d.%d", l.number/10000, l.number/100%100, l.number%100)
		}
	case "libnccl":
		if f, err := l.symbol("ncclGetVersion"); err == nil {
			l.number = int(C.ps_nccl_version(f))
			l.version = fmt.Sprintf("%d.%d.%d", l.number/10000, l.number/100%100, l.number%100)
			if l.number < 10000 { // before 2.9
				l.version = fmt.Sprintf("%d.%d.%d", l.number/1000, l.number/100%10, l.number%100)
			}
		}
	}
}

// symbol returns the address of a function of the library.
func (l *library) symbol(name string) (unsafe.Pointer, error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	p := C.ps_symbol(l.handle, c)
	if p == nil {
		return nil, fmt.Errorf("%s has no %s: it is too old, or another library of that name: %s", l.path, name, l.fix(0))
	}
	return p, nil
}

// reportFor is report for what works with the devices: where CUDA 13 supports
// none of them, that is what is of CUDA 12.
func (l *loader) reportFor(devices []Device) []Library {
	if len(devices) > 0 && l.major >= 13 && !slices.ContainsFunc(devices, func(d Device) bool { return !d.dropped() }) {
		older := l.older().report()
		older[0] = l.report()[0] // the driver
		return older
	}
	return l.report()
}

// report opens every library and says what came of it.
func (l *loader) report() []Library {
	var all []Library
	for _, lib := range l.libraries {
		lib.once.Do(func() { lib.open(l.dirs) })
		r := Library{Name: lib.name, Path: lib.path, Version: lib.version, Err: lib.err}
		if lib.err != nil {
			r.Fix = lib.fix(l.major)
			if len(lib.looked) > 0 {
				r.Err = fmt.Errorf("%w in %s", lib.err, describe(lib.looked))
			}
		}
		all = append(all, r)
	}
	return all
}

func dlopen(path string) (unsafe.Pointer, error) {
	var err [1024]C.char
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	handle := C.ps_open(c, &err[0], C.size_t(len(err)))
	if handle == nil {
		return nil, errors.New(C.GoString(&err[0]))
	}
	return handle, nil
}
