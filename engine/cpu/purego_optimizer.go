//go:build !cgo

package cpu

import (
	"math"
	"unsafe"
)

// spanAt is one of the spans of an argument struct.
func spanAt(spans ptr, task int64) *span {
	return (*span)(unsafe.Add(spans, uintptr(task)*unsafe.Sizeof(span{})))
}

func adam(p ptr, task int64) {
	a := (*optimArgs)(p)
	s := spanAt(a.spans, task)
	hyper, scale := f32(a.hyper, 8), *(*float32)(a.scale)
	b1, b2, eps := float32(a.beta1), float32(a.beta2), float32(a.eps)
	lr, decay := hyper[0], hyper[1]
	step, root := lr/hyper[2], 1/float32(math.Sqrt(float64(hyper[3])))
	w, m, v := f32(s.p, s.n), f32(s.m, s.n), f32(s.v, s.n)
	for i, g := range f32(s.g, s.n) {
		g *= scale
		if a.decoupled != 0 {
			w[i] -= lr * decay * w[i]
		} else {
			g += decay * w[i]
		}
		m[i] = b1*m[i] + (1-b1)*g
		v[i] = b2*v[i] + (1-b2)*g*g
		w[i] -= step * m[i] / (float32(math.Sqrt(float64(v[i])))*root + eps)
	}
}

func sgd(p ptr, task int64) {
	a := (*optimArgs)(p)
	s := spanAt(a.spans, task)
	hyper, scale, mu := f32(a.hyper, 8), *(*float32)(a.scale), float32(a.beta1)
	w, b := f32(s.p, s.n), f32(s.m, s.n)
	for i, g := range f32(s.g, s.n) {
		g = scale*g + hyper[1]*w[i]
		if b != nil {
			if hyper[4] != 0 {
				b[i] = g
			} else {
				b[i] = mu*b[i] + g
			}
			if a.decoupled != 0 {
				g += mu * b[i]
			} else {
				g = b[i]
			}
		}
		w[i] -= hyper[0] * g
	}
}

func mixSpans(p ptr, task int64) {
	a := (*mixArgs)(p)
	s := spanAt(a.spans, task)
	keep, take := 1-*(*float32)(a.s), float32(a.weight)
	if a.ema != 0 {
		keep, take = 1-keep, keep
	}
	w := f32(s.p, s.n)
	for i, g := range f32(s.g, s.n) {
		v := float32(take * g) // rounded before it is added, as engine.AllReduce has it
		if keep != 0 {
			v += keep * w[i]
		}
		w[i] = v
	}
}

func sumSq(p ptr, task int64) {
	a := (*clipArgs)(p)
	s := spanAt(a.spans, task)
	total := 0.0
	for _, g := range f32(s.g, s.n) {
		total += float64(g) * float64(g)
	}
	f64(a.part, a.tasks)[task] = total
}

func clip(p ptr, _ int64) {
	a := (*clipArgs)(p)
	total := 0.0
	for _, v := range f64(a.part, a.tasks) {
		total += v
	}
	norm := math.Sqrt(total)
	*(*float32)(a.norm) = float32(norm)
	*(*float32)(a.scale) = 1
	if a.maxNorm > 0 {
		*(*float32)(a.scale) = float32(math.Min(1, a.maxNorm/(norm+1e-6)))
	}
}
