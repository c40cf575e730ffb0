//go:build linux && cgo

package fake

/*
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>

static void *fake_loaded(const char *path) { return dlopen(path, RTLD_NOLOAD | RTLD_NOW); }
static int fake_fail(void *h, const char *call, int code, long after) {
	int (*f)(const char *, int, long) = (int (*)(const char *, int, long))dlsym(h, "fakeFail");
	return f ? f(call, code, after) : 0;
}
static long fake_count(void *h, const char *call) {
	long (*f)(const char *) = (long (*)(const char *))dlsym(h, "fakeCount");
	return f ? f(call) : -1;
}
static void fake_alive(void *h, long n[7]) {
	void (*f)(long *) = (void (*)(long *))dlsym(h, "fakeLive");
	if (f)
		f(n);
}
typedef struct {
	char name[64];
	long count, overlaps, read, written;
} fake_work;
static int fake_worked(void *h, fake_work *work, int most) {
	int (*f)(fake_work *, int) = (int (*)(fake_work *, int))dlsym(h, "fakeWork");
	return f ? f(work, most) : 0;
}
static void fake_close(void *h) { dlclose(h); }
*/
import "C"

import (
	"fmt"
	"path/filepath"
	"unsafe"
)

func unusable() string { return "" }

// with calls f with the loaded stand-in libcuda.
func with(dir string, f func(h unsafe.Pointer) error) error {
	path := C.CString(filepath.Join(dir, "libcuda.so.1"))
	defer C.free(unsafe.Pointer(path))
	h := C.fake_loaded(path)
	if h == nil {
		return errNotLoaded(dir)
	}
	defer C.fake_close(h)
	return f(h)
}

// plant injects a failure; an empty call takes all away.
func plant(dir, call string, code, after int) error {
	return with(dir, func(h unsafe.Pointer) error {
		var name *C.char
		if call != "" {
			name = C.CString(call)
			defer C.free(unsafe.Pointer(name))
		}
		if C.fake_fail(h, name, C.int(code), C.long(after)) == 0 {
			return fmt.Errorf("fake: no room for a failure of %s", call)
		}
		return nil
	})
}

func calls(dir, call string) (n int, err error) {
	err = with(dir, func(h unsafe.Pointer) error {
		name := C.CString(call)
		defer C.free(unsafe.Pointer(name))
		n = int(C.fake_count(h, name))
		return nil
	})
	return n, err
}

func live(dir string) (n [7]int, err error) {
	err = with(dir, func(h unsafe.Pointer) error {
		var c [7]C.long
		C.fake_alive(h, &c[0])
		for i := range c {
			n[i] = int(c[i])
		}
		return nil
	})
	return n, err
}

func worked(dir string) (all []Work, err error) {
	err = with(dir, func(h unsafe.Pointer) error {
		c := make([]C.fake_work, 512)
		for _, w := range c[:C.fake_worked(h, &c[0], C.int(len(c)))] {
			all = append(all, Work{C.GoString(&w.name[0]), int(w.count), int(w.overlaps), int(w.read), int(w.written)})
		}
		return nil
	})
	return all, err
}
