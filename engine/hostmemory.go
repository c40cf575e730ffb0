package engine

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// HostMemory returns the bytes that this process can still take of the machine's
// memory, -1 where that is not known: the least of what the system has
// available, of what the limits of the process's control groups leave, and of
// what Go's own limit (GOMEMLIMIT) leaves.
func HostMemory() int {
	left := systemMemory()
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 {
		runtime.GC() // what was closed before counts as free: without cgo, it is Go's memory
		s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
		metrics.Read(s)
		used := int64(s[0].Value.Uint64() - s[1].Value.Uint64() - s[2].Value.Uint64())
		left = least(left, int(max(limit-used, 0)))
	}
	return left
}

// least returns the smaller one of those that are known.
func least(a, b int) int {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// A HostBacked backend takes its memory from the machine's own, which others
// use too: Available is HostMemory.
type HostBacked interface {
	Backend
	Available() int
}

// FreeMemory returns the bytes that a backend has left for programs, -1 if it
// cannot tell.
func FreeMemory(b Backend) int {
	switch m := b.(type) {
	case Metered:
		if free, _, err := m.Memory(); err == nil {
			return free
		}
	case HostBacked:
		return m.Available()
	}
	return -1
}
