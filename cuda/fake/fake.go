// Package fake stands in for CUDA's libraries, so that what drives a GPU can be
// tested where there is none.
//
// [Build] compiles libcuda.so.1, libnvrtc.so.12, libcudnn.so.9, libcublasLt.so.12
// and libnccl.so.2 from C sources of its own. They have the entry points that
// package cuda calls, with the errors that the real ones give. The device is
// the host: its memory is ordinary memory, a program that NVRTC compiles becomes
// a shared object (see csrc/prelude.h for what of CUDA it may use), and a launch
// runs the grid's blocks one after the other, a block's threads as coroutines
// that change at barriers and shuffles. A thread runs as far as it can before
// another one starts, so that a missing barrier gives wrong numbers every time.
//
// The stand-ins are stricter than a device:
//
//   - memory and shared memory are NaN until written; freed memory is forbidden;
//   - what is written beside an allocation or beyond the dynamic shared memory
//     is CUDA_ERROR_ILLEGAL_ADDRESS at the next synchronisation or free, what is
//     accessed further off is so at once;
//   - a thread that ends, or waits elsewhere, while others wait at a barrier is
//     CUDA_ERROR_LAUNCH_FAILED, with the line and the thread in the error's text;
//   - the argument of a launch must have the size of the kernel's struct;
//   - a thread of a launch that may begin before what is earlier in its stream has
//     ended must wait for that before it ends, and, where accesses are watched
//     (FAKE_RACES, FAKE_TRAFFIC), before it touches the device's memory;
//   - asynchronous copies want pinned host memory.
//
// As on a device, such an error stays with the context: every later call
// returns it until the primary context has been released.
//
// Ranks of NCCL are processes of one machine, up to eight. One that is gone is waited for
// until the communicator is aborted.
//
// These variables of the environment are read while a process runs:
//
//	FAKE_MEMORY    bytes of device memory (default 256 MiB)
//	FAKE_DEVICES   number of devices (default 1)
//	FAKE_MULTIPROCESSORS
//	               of a device (default 4; an H100 has 132)
//	FAKE_CAPABILITY
//	               of a device (default 90, which is 9.0; the stand-in for NVRTC
//	               knows 80, too)
//	FAKE_DRIVER    version of the driver (default 13000)
//	FAKE_ORDER     "reverse" runs threads and blocks from the last to the first,
//	               "interleave" has all threads of a block come to their next
//	               barrier or shuffle before one goes on behind it
//	FAKE_RACES     not 0: a launch fails in which two threads come to one place of
//	               shared or device memory, one of them to write, and no
//	               barrier, __syncwarp or atomic with a fence orders them
//	FAKE_TRAFFIC   not 0: the bytes that kernels move are counted (see [Worked]).
//	               This and FAKE_RACES are read when a kernel is compiled, too: such
//	               kernels are ten times slower, serve either, and want a folder of
//	               cached kernels of their own
//	FAKE_QUEUE     "lazy" does a stream's work only when somebody waits for it
//	FAKE_FAIL      failures, "call:code:after,…", as [Fail] injects them
//	FAKE_NCCL_NOTICES
//	               not 0: NCCL notices that a rank is gone, and says so as an
//	               asynchronous error
//	FAKE_NCCL_VERSION
//	               what NCCL says of its version (default 23007, which is 2.30.7)
//	CC             the C compiler
package fake

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

var built struct {
	sync.Once
	dir string
	err error
}

// Dir returns a directory that holds the stand-ins, for cuda.Options.Search.
// They are built once a machine, in the user's cache directory. Where they
// cannot be built or loaded, as without a C compiler or cgo, the test is skipped.
func Dir(t testing.TB) string {
	t.Helper()
	if why := unusable(); why != "" {
		t.Skip("fake: " + why)
	}
	built.Do(func() { built.dir, built.err = build() })
	if built.err != nil {
		if errors.Is(built.err, errNoCompiler) {
			t.Skip(built.err)
		}
		t.Fatal(built.err)
	}
	return built.dir
}

// stale is how long the stand-ins of another version are kept.
const stale = 7 * 24 * time.Hour

func build() (string, error) {
	root := ""
	if cache, err := os.UserCacheDir(); err == nil {
		root = filepath.Join(cache, "potstill", "fake")
	}
	if root == "" || os.MkdirAll(root, 0o755) != nil {
		root = filepath.Join(os.TempDir(), fmt.Sprintf("potstill-fake-%d", os.Getuid()))
	}
	dir := filepath.Join(root, key())
	if complete(dir) {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	}
	if err := Build(dir); err != nil {
		return "", err
	}
	return dir, tidy(root, dir)
}

func complete(dir string) bool {
	for _, l := range libraries {
		if _, err := os.Stat(filepath.Join(dir, l.file)); err != nil {
			return false
		}
	}
	return true
}

// tidy removes the stand-ins that were last used long ago.
func tidy(root, keep string) error {
	entries, err := os.ReadDir(root)
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		if info, err := e.Info(); err == nil && path != keep && time.Since(info.ModTime()) > stale {
			_ = os.RemoveAll(path) // somebody else tidies too
		}
	}
	return err
}
