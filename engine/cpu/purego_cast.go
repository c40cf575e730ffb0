//go:build !cgo

package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine/half"
)

// A stored is an element of an activation. Kernels with it as type parameter
// compute in float32: get widens what they read, and put rounds what they write.
type stored interface{ float32 | half.BFloat16 }

func get[E stored](x E) float32 {
	if h, ok := any(x).(half.BFloat16); ok {
		return h.Float32()
	}
	return float32(x)
}

func put[E stored](y *E, v float32) {
	switch y := any(y).(type) {
	case *half.BFloat16:
		*y = half.ToBFloat16(v)
	case *float32:
		*y = v
	}
}

// elems is the array of n elements at p; nil for a null pointer.
func elems[E stored](p ptr, n int64) []E {
	if p == nil {
		return nil
	}
	return unsafe.Slice((*E)(p), n)
}

func widen[E stored](p ptr, task int64) {
	a := (*castArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	x, y := elems[E](a.x, a.n)[lo:hi], f32(a.y, a.n)[lo:hi]
	for i, v := range x {
		y[i] = get(v)
	}
}

func narrow[E stored](p ptr, task int64) {
	a := (*castArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	x, y := f32(a.x, a.n)[lo:hi], elems[E](a.y, a.n)[lo:hi]
	for i, v := range x {
		put(&y[i], v)
	}
}
