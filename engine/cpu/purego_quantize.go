//go:build !cgo

package cpu

import (
	"math"
	"unsafe"
)

// u8 is the array of n codes at p.
func u8(p ptr, n int64) []uint8 { return unsafe.Slice((*uint8)(p), n) }

// code is the code of v, for least = lo-zero and most = hi-zero.
func code(v float32, zero, lo, hi int64) uint8 {
	least, most := float32(lo-zero), float32(hi-zero)
	if !(v >= least) {
		v = least
	}
	return uint8(int64(math.RoundToEven(float64(min(v, most)))) + zero)
}

func (a *codesArgs) code(v float32) uint8 { return code(v, a.yzero, a.lo, a.hi) }

func quantize(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	y, scale := u8(a.y, a.n)[lo:hi], float32(a.m)
	for i, x := range f32(a.x, a.n)[lo:hi] {
		y[i] = a.code(x / scale)
	}
}

func dequantize(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	y, scale := f32(a.y, a.n)[lo:hi], float32(a.m)
	for i, x := range u8(a.x, a.n)[lo:hi] {
		y[i] = float32(int64(x)-a.xzero) * scale
	}
}

func lookup(p ptr, task int64) {
	a := (*codesArgs)(p)
	lo, hi := taskRange(task, a.each, a.n)
	y, table := u8(a.y, a.n)[lo:hi], u8(a.b, 256)
	for i, x := range u8(a.x, a.n)[lo:hi] {
		y[i] = table[x]
	}
}
