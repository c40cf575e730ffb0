//go:build linux && cgo

package fake

/*
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

typedef int (*fake_words)(uintptr_t, uintptr_t, uintptr_t, uintptr_t);

static int fake_invoke(void *h, const char *call, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d) {
	fake_words f = (fake_words)dlsym(h, call);
	return f ? f(a, b, c, d) : -1;
}
static int fake_make(void *h, const char *call, uintptr_t *out, uintptr_t b, uintptr_t c) {
	*out = 0;
	return fake_invoke(h, call, (uintptr_t)out, b, c, 0);
}
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// invoke calls a function of the driver with numbers, the first of them the
// address of what is returned if it makes something.
func invoke(dir, call string, makes bool, args []uintptr) (out uintptr, err error) {
	var a [4]C.uintptr_t
	room := len(a)
	if makes {
		room = 2
	}
	if len(args) > room {
		return 0, fmt.Errorf("fake: %s cannot be given %d numbers", call, len(args))
	}
	for i, v := range args {
		a[i] = C.uintptr_t(v)
	}
	err = with(dir, func(h unsafe.Pointer) error {
		name := C.CString(call)
		defer C.free(unsafe.Pointer(name))
		var rc C.int
		if makes {
			var made C.uintptr_t
			rc = C.fake_make(h, name, &made, a[0], a[1])
			out = uintptr(made)
		} else {
			rc = C.fake_invoke(h, name, a[0], a[1], a[2], a[3])
		}
		if rc != 0 {
			return fmt.Errorf("fake: %s returns %d", call, rc)
		}
		return nil
	})
	return out, err
}
