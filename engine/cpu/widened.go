package cpu

import (
	"slices"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// mixed reports whether one of the tensors is bfloat16.
func mixed(specs []engine.Spec) bool {
	return slices.ContainsFunc(specs, func(s engine.Spec) bool { return s.DType == engine.BFloat16 })
}

// widenedSpecs returns the specs with float32 in the place of bfloat16.
func widenedSpecs(specs []engine.Spec) []engine.Spec {
	specs = slices.Clone(specs)
	for i, s := range specs {
		if s.DType == engine.BFloat16 {
			specs[i].DType = engine.Float32
		}
	}
	return specs
}

// widenedBytes returns the bytes that copies of the bfloat16 tensors take.
func widenedBytes(specs []engine.Spec) (bytes int) {
	for _, s := range specs {
		if s.DType == engine.BFloat16 {
			bytes += 4 * roundUp(s.Len())
		}
	}
	return bytes
}

// widened returns a kernel for tensors of which some are bfloat16, given the one
// for float32: copies of these in float32 lie in its workspace, behind that of
// k. Inputs are copied before, outputs behind it.
func (k *kernel) widened(in, out []engine.Spec) *kernel {
	own := 4 * roundUp(ceilDiv(k.ws, 4))
	w := &kernel{ws: own + widenedBytes(in) + widenedBytes(out)}
	wideIn, wideOut := widenedTensors(in), widenedTensors(out) // made once: to enqueue a kernel allocates nothing
	widen := func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		placeWidened(wideOut, out, placeWidened(wideIn, in, unsafe.Add(ws, own)))
		for i, t := range in {
			if t.DType == engine.BFloat16 {
				pushCast(q, kWiden, t.Spec, at(t), at(wideIn[i]))
			}
		}
	}
	narrow := func(q *queue, out []engine.Tensor) {
		for i, t := range out {
			if t.DType == engine.BFloat16 {
				pushCast(q, kNarrow, t.Spec, at(wideOut[i]), at(t))
			}
		}
	}
	w.lower = func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		widen(q, in, out, ws)
		k.lower(q, wideIn, wideOut, ws)
		narrow(q, out)
	}
	if k.once != nil && !mixed(pick(in, k.once.inputs)) {
		once := *k.once
		once.lower = func(q *queue, in, out []engine.Tensor, ws, kept unsafe.Pointer) {
			widen(q, in, out, ws)
			k.once.lower(q, wideIn, wideOut, ws, kept)
			narrow(q, out)
		}
		w.once = &once
	}
	return w
}

// pick returns the specs at some places.
func pick(specs []engine.Spec, places []int) (some []engine.Spec) {
	for _, i := range places {
		some = append(some, specs[i])
	}
	return some
}

// widenedTensors returns room for tensors of these specs, with memory of their own in float32 in the
// place of bfloat16.
func widenedTensors(specs []engine.Spec) []engine.Tensor {
	ts := make([]engine.Tensor, len(specs))
	for i, s := range widenedSpecs(specs) {
		ts[i].Spec = s
		if specs[i].DType == engine.BFloat16 {
			ts[i].Buf = &buffer{bytes: s.Bytes()}
		}
	}
	return ts
}

// placeWidened has wide stand for the tensors, of which copies of those in bfloat16 lie from p on,
// and returns what is behind them.
func placeWidened(wide, ts []engine.Tensor, p unsafe.Pointer) unsafe.Pointer {
	for i, t := range ts {
		if t.DType == engine.BFloat16 {
			wide[i].Buf.(*buffer).p = p
			p = floats(p, roundUp(t.Len()))
		} else {
			wide[i] = t
		}
	}
	return p
}

// pushCast enqueues kWiden or kNarrow for activations of a type.
func pushCast(q *queue, k kernelID, s engine.Spec, x, y unsafe.Pointer) {
	n, tasks := cut(s)
	push(q, k.of(s.DType), tasks, castArgs{x: x, y: y, n: n})
}
