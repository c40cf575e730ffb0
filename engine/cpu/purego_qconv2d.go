//go:build !cgo

package cpu

import "unsafe"

// pixel adds the products of one pixel of a group to acc, one for each output of the
// group.
func (a *qconvArgs) pixel(acc []int32, pixel, g int64) {
	x, w := u8(a.x, a.n*a.h*a.wd*a.c), unsafe.Slice((*int8)(a.w), a.k*a.o)
	j, i, image := pixel%a.ow, pixel/a.ow%a.oh, pixel/a.ow/a.oh
	for u := range a.kh {
		for v := range a.kw {
			r, s := i*a.sh+u*a.dilh-a.top, j*a.sw+v*a.dilw-a.left
			if r < 0 || r >= a.h || s < 0 || s >= a.wd {
				continue
			}
			px := x[((image*a.h+r)*a.wd+s)*a.c+g*a.cg:][:a.cg]
			for e, q := range px {
				d := int32(q) - int32(a.xzero)
				row := w[((u*a.kw+v)*a.cg+int64(e))*a.o+g*a.og:][:len(acc)]
				for o, b := range row {
					acc[o] += d * int32(b)
				}
			}
		}
	}
}

// outputs computes the outputs of a group at one pixel.
func (a *qconvArgs) outputs(acc []int32, pixel, g int64) {
	first := g * a.og
	copy(acc, unsafe.Slice((*int32)(a.bias), a.o)[first:])
	a.pixel(acc, pixel, g)
	m := f32(a.m, a.o)[first:]
	for o, v := range acc {
		at := pixel*a.o + first + int64(o)
		y := float32(v) * m[o]
		if a.floats != 0 {
			f32(a.y, at+1)[at] = y
		} else {
			u8(a.y, at+1)[at] = code(y, a.yzero, a.lo, a.hi)
		}
	}
}

// qconv has the tasks of its twin in C; the first part of the outputs has all.
func qconv(p ptr, task int64) {
	a := (*qconvArgs)(p)
	if task%a.splits != 0 {
		return
	}
	task /= a.splits
	lo, hi := taskRange(task/a.groups, a.block, a.n*a.oh*a.ow)
	acc := make([]int32, a.og)
	for pixel := lo; pixel < hi; pixel++ {
		a.outputs(acc, pixel, task%a.groups)
	}
}

func qdepthwise(p ptr, task int64) {
	a := (*qconvArgs)(p)
	lo, hi := taskRange(task, a.block, a.n*a.oh)
	acc := make([]int32, a.og)
	for pixel := lo * a.ow; pixel < hi*a.ow; pixel++ {
		for g := range a.groups {
			a.outputs(acc, pixel, g)
		}
	}
}
