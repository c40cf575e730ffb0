package engine

import (
	"runtime/debug"
	"testing"
)

// TestHostMemoryObeysTheLimit: Go's memory limit bounds what is left.
func TestHostMemoryObeysTheLimit(t *testing.T) {
	before := HostMemory()
	const limit = 64 << 20
	old := debug.SetMemoryLimit(limit)
	defer debug.SetMemoryLimit(old)
	if n := HostMemory(); n < 0 || n > limit || before >= 0 && n > before {
		t.Errorf("%d bytes are left under a limit of %d; without one, %d", n, limit, before)
	}
	debug.SetMemoryLimit(1)
	if n := HostMemory(); n != 0 {
		t.Errorf("%d bytes are left under a limit of 1", n)
	}
}
