package cpu

import "unsafe"

// f32 is the array of n floats at p; nil for a null pointer.
func f32(p ptr, n int64) []float32 {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*float32)(p), n)
}

// f64 is the array of n doubles at p.
func f64(p ptr, n int64) []float64 { return unsafe.Slice((*float64)(p), n) }

// taskRange is the part of n things that a task of size each covers.
func taskRange(task, each, n int64) (lo, hi int64) {
	lo = task * each
	return lo, min(lo+each, n)
}
