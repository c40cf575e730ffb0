//go:build !cgo

package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine/random"
)

func fill(p ptr, task int64) {
	a := (*fillArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	y := f32(a.y, a.n)[lo:hi]
	for i := range y {
		y[i] = float32(a.value)
	}
}

func add(p ptr, task int64) {
	a := (*addArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	xs, w := unsafe.Slice((*ptr)(a.x), a.k), f64(a.w, a.k)
	y := f32(a.y, a.n)[lo:hi]
	for k, x := range xs {
		x, w := f32(x, a.n)[lo:hi], float32(w[k])
		if k == 0 {
			for i, v := range x {
				y[i] = w * v
			}
			continue
		}
		axpy(w, x, y)
	}
}

func transpose(p ptr, task int64) {
	a := (*transposeArgs)(p)
	size := a.rows * a.cols
	x, y := f32(a.x, a.n*size)[task*size:][:size], f32(a.y, a.n*size)[task*size:][:size]
	for i := range a.rows {
		for j := range a.cols {
			y[j*a.rows+i] = x[i*a.cols+j]
		}
	}
}

func dropout(p ptr, task int64) {
	a := (*dropoutArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n)
	x, y := f32(a.x, a.n), f32(a.y, a.n)
	counter := unsafe.Slice((*uint32)(a.counter), 4)
	for i := lo; i < hi; i += 4 {
		words := random.Philox([4]uint32{uint32(i / 4), uint32(a.stream), counter[2], counter[3]}, [2]uint32(counter))
		for j := i; j < min(i+4, hi); j++ {
			y[j] = x[j] * float32(a.scale)
			if words[j-i] < uint32(a.threshold) {
				y[j] = 0
			}
		}
	}
}

func stochasticDepth(p ptr, task int64) {
	a := (*depthArgs)(p)
	lo, hi := taskRange(task, spanFloats, a.n*a.each)
	x, y := f32(a.x, a.n*a.each), f32(a.y, a.n*a.each)
	counter := unsafe.Slice((*uint32)(a.counter), 4)
	for i := lo; i < hi; {
		image := i / a.each
		words := random.Philox([4]uint32{uint32(image / 4), uint32(a.stream), counter[2], counter[3]}, [2]uint32(counter))
		drop := words[image%4] < uint32(a.threshold)
		for ; i < min(hi, (image+1)*a.each); i++ {
			y[i] = x[i] * float32(a.scale)
			if drop {
				y[i] = 0
			}
		}
	}
}
