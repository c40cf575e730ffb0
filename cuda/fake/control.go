package fake

import (
	"fmt"
	"testing"
)

// Codes of CUDA's driver that failures are made of. LaunchFailed and
// IllegalAddress stay with the context until it is released; OutOfMemory does not.
const (
	InvalidValue   = 1
	OutOfMemory    = 2
	ECC            = 214
	IllegalAddress = 700
	LaunchFailed   = 719
	Unknown        = 999
)

// Fail lets a call of the driver (such as "cuMemAlloc_v2"), or the execution of
// a kernel by its name, succeed so many times more and then fail once with the
// code. A kernel's failure shows, as on a device, at a later call. What is left
// of it is taken away when the test ends. The stand-in must have been loaded.
func Fail(t testing.TB, call string, code, after int) {
	t.Helper()
	if err := plant(Dir(t), call, code, after); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plant(Dir(t), "", 0, 0) })
}

// Calls says how often a call of the driver, or a kernel by its name, was made
// in this process.
func Calls(t testing.TB, call string) int {
	t.Helper()
	n, err := calls(Dir(t), call)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A Work is what has run under one name: a kernel's, a library's call such as
// "cublasLtProduct", "copy" and "fill" within the device, "upload" or "download".
// Overlaps counts launches that may have begun before what was earlier in their stream
// had ended. Read and Written are bytes of the device's memory, each counted once a run. What
// kernels move is known with FAKE_TRAFFIC only, and of a library neither its scratch
// memory nor in how many kernels it does its work.
type Work struct {
	Name                           string
	Count, Overlaps, Read, Written int
}

// Worked returns what has run in this process since it was called last, in the
// order in which the names were first met.
func Worked(t testing.TB) []Work {
	t.Helper()
	all, err := worked(Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Alive counts what lives in the driver, with what lived still when its context
// was released. Graphs counts captured and instantiated ones.
type Alive struct{ Memory, Host, Streams, Events, Modules, Graphs, Contexts int }

// Live returns what lives in the driver in this process.
func Live(t testing.TB) Alive {
	t.Helper()
	n, err := live(Dir(t))
	if err != nil {
		t.Fatal(err)
	}
	return Alive{n[0], n[1], n[2], n[3], n[4], n[5], n[6]}
}

func errNotLoaded(dir string) error {
	return fmt.Errorf("fake: %s/libcuda.so.1 is not loaded in this process", dir)
}
