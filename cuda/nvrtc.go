//go:build linux && cgo

package cuda

/*
#include <stdlib.h>
#include "nvrtc.h"

#cgo noescape ps_nvrtc_open
#cgo nocallback ps_nvrtc_open
*/
import "C"

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// A compiler is NVRTC with its disk cache. Several goroutines may use one.
type compiler struct {
	lib   *library
	api   *C.ps_nvrtc
	archs []int // that it can compile for, empty if it does not tell
	id    []string
	fix   string
	cache cache
	log   *slog.Logger
	tell  sync.Once
	// older is NVRTC of the CUDA before, which still knows older devices.
	older func() (*compiler, error)
}

// nvrtc opens the compiler once.
func (d *Driver) nvrtc() (*compiler, error) {
	d.compilerOnce.Do(func() {
		d.compiler, d.compilerErr = newCompiler(d.loader, cache{d.cacheDir}, d.log)
	})
	return d.compiler, d.compilerErr
}

func newCompiler(l *loader, store cache, log *slog.Logger) (*compiler, error) {
	lib, err := l.library("libnvrtc")
	if err != nil {
		return nil, err
	}
	var missing *C.char
	api := C.ps_nvrtc_open(lib.handle, &missing)
	if api == nil {
		return nil, fmt.Errorf("%s has no %s: %s", lib.path, C.GoString(missing), lib.fix(l.major))
	}
	if l.major > 0 && lib.number > l.major {
		return nil, fmt.Errorf("%s is of CUDA %s, but the driver supports only CUDA %d: %s",
			lib.path, lib.version, l.major, lib.fix(l.major))
	}
	c := &compiler{lib: lib, api: api, fix: lib.fix(l.major), cache: store, log: log}
	var archs [256]C.int
	for _, a := range archs[:C.ps_nvrtc_archs(api, &archs[0], C.int(len(archs)))] {
		c.archs = append(c.archs, int(a))
	}
	// By its version alone, so that what was compiled on one machine serves on
	// another with the same NVRTC, wherever that lies there.
	c.id = []string{lib.version}
	c.older = sync.OnceValues(func() (*compiler, error) {
		before := newLoader(l.dirs, lib.number-1)
		for _, k := range before.libraries { // a name without a version may be this one's
			k.so = slices.DeleteFunc(k.so, func(so string) bool { return so == "libnvrtc.so" })
		}
		return newCompiler(before, store, log)
	})
	log.Debug("cuda: NVRTC opened", "path", lib.path, "version", lib.version)
	return c, nil
}

// of returns the compiler for an architecture: the one of the CUDA before where
// this one no longer knows it.
func (c *compiler) of(arch int) *compiler {
	if len(c.archs) == 0 || arch >= slices.Min(c.archs) || c.lib.number <= 12 {
		return c
	}
	if older, err := c.older(); err == nil {
		return older.of(arch)
	}
	return c
}

// target returns what NVRTC compiles for, so that it runs on a device of an
// architecture such as 90: that one, or where NVRTC is too old to know it, PTX of
// the newest that it knows, which the driver compiles on.
func (c *compiler) target(arch int) (name string, ptx bool, err error) {
	if len(c.archs) == 0 || slices.Contains(c.archs, arch) {
		return fmt.Sprintf("sm_%d", arch), false, nil
	}
	nearest := 0
	for _, a := range c.archs {
		if a < arch {
			nearest = max(nearest, a)
		}
	}
	switch {
	case nearest == 0:
		return "", false, fmt.Errorf("%s %s no longer compiles for sm_%d, install an older one beside it: %s",
			c.lib.path, c.lib.version, arch, c.lib.fix(c.lib.number-1))
	case C.ps_nvrtc_ptx(c.api) == 0:
		return "", false, fmt.Errorf("%s %s cannot compile for sm_%d, only for sm_%d to sm_%d, install a newer one: %s",
			c.lib.path, c.lib.version, arch, slices.Min(c.archs), slices.Max(c.archs), c.fix)
	}
	c.tell.Do(func() {
		c.log.Warn("cuda: NVRTC is older than the device, a newer one makes faster kernels", "path", c.lib.path, "version", c.lib.version,
			"device", fmt.Sprintf("sm_%d", arch), "compiled for", fmt.Sprintf("compute_%d", nearest), "fix", c.fix)
	})
	return fmt.Sprintf("compute_%d", nearest), true, nil
}

// cubin compiles a source for an architecture such as 90, or takes what an
// earlier run compiled, unless fresh. It reports whether it did. What it returns
// is PTX where target says so.
func (c *compiler) cubin(name, source string, arch int, options []string, fresh bool) (b []byte, kept bool, err error) {
	target, ptx, err := c.target(arch)
	if err != nil {
		return nil, false, err
	}
	if strings.IndexByte(source, 0) >= 0 {
		return nil, false, errors.New("the source has a zero byte")
	}
	options = append([]string{"--gpu-architecture=" + target, "--std=c++17"}, options...)
	key := keyOf(slices.Concat([]string{name, source}, c.id, options)...)
	if !fresh {
		b, err := c.cache.get(key)
		if err == nil {
			return b, true, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			c.log.Warn("cuda: a compiled kernel is not usable, and compiled again", "kernel", name, "error", err)
		}
	}
	start := time.Now()
	b, err = c.compile(name, source, options, ptx)
	if err != nil {
		return nil, false, err
	}
	c.log.Debug("cuda: compiled", "kernel", name, "options", options, "bytes", len(b), "time", time.Since(start))
	if err := c.cache.put(key, b); err != nil {
		c.log.Warn("cuda: a compiled kernel could not be kept", "kernel", name, "error", err)
	}
	return b, false, nil
}

func (c *compiler) compile(name, source string, options []string, ptx bool) ([]byte, error) {
	src, title := C.CString(source), C.CString(name+".cu")
	defer C.free(unsafe.Pointer(src))
	defer C.free(unsafe.Pointer(title))
	opts := (*[1 << 16]*C.char)(C.calloc(C.size_t(len(options)+1), C.size_t(unsafe.Sizeof(src))))[:len(options)+1]
	defer C.free(unsafe.Pointer(&opts[0]))
	for i, o := range options {
		opts[i] = C.CString(o)
		defer C.free(unsafe.Pointer(opts[i]))
	}
	var out C.ps_compiled
	r := C.ps_nvrtc_compile(c.api, src, title, C.int(len(options)), &opts[0], truth(ptx), &out)
	defer C.ps_nvrtc_release(&out)
	log := ""
	if out.log != nil {
		log = strings.TrimSpace(C.GoString(out.log))
	}
	if r != 0 || out.call != nil {
		c.log.Debug("cuda: not compiled", "kernel", name, "options", options, "log", log)
		e := &Error{Call: C.GoString(out.call), Code: "NVRTC_ERROR", Number: int(r), Detail: firstError(log)}
		if out.code != nil {
			e.Code = C.GoString(out.code)
		}
		return nil, e
	}
	if log != "" {
		c.log.Debug("cuda: the compiler says", "kernel", name, "log", log)
	}
	return C.GoBytes(unsafe.Pointer(out.image), C.int(out.size)), nil
}
