package fake

import "testing"

// Make calls a function of the stand-in driver as other code of the process
// would, on the calling goroutine's thread: one that writes a handle or an
// address through its first parameter and takes up to two numbers after it, such
// as "cuCtxCreate_v2" (flags, device), "cuStreamCreate" (flags) or
// "cuMemAlloc_v2" (bytes). It returns what was written. The stand-in must have
// been loaded.
func Make(t testing.TB, call string, args ...uintptr) uintptr {
	t.Helper()
	out, err := invoke(Dir(t), call, true, args)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Do calls a function of the stand-in driver, as Make does, that takes up to
// four numbers, such as "cuCtxSetCurrent", "cuMemFree_v2" or "cuMemsetD8Async".
func Do(t testing.TB, call string, args ...uintptr) {
	t.Helper()
	if _, err := invoke(Dir(t), call, false, args); err != nil {
		t.Fatal(err)
	}
}
