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
	around := func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer, run func(in, out []engine.Tensor)) {
		copies := unsafe.Add(ws, own)
		wideIn, copies := widenedTensors(in, copies)
		wideOut, _ := widenedTensors(out, copies)
		for i, t := range in {
			if t.DType == engine.BFloat16 {
				pushCast(q, kWiden, t.Spec, at(t), at(wideIn[i]))
			}
		}
		run(wideIn, wideOut)
		for i, t := range out {
			if t.DType == engine.BFloat16 {
				pushCast(q, kNarrow, t.Spec, at(wideOut[i]), at(t))
			}
		}
	}
	w.lower = func(q *queue, in, out []engine.Tensor, ws unsafe.Pointer) {
		around(q, in, out, ws, func(in, out []engine.Tensor) { k.lower(q, in, out, ws) })
	}
	if k.once != nil && !mixed(pick(in, k.once.inputs)) {
		once := *k.once
		once.lower = func(q *queue, in, out []engine.Tensor, ws, kept unsafe.Pointer) {
			around(q, in, out, ws, func(in, out []engine.Tensor) { k.once.lower(q, in, out, ws, kept) })
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

// widenedTensors returns the tensors with copies of those in bfloat16 in their
// place, which lie from p on, and what is behind them.
func widenedTensors(ts []engine.Tensor, p unsafe.Pointer) ([]engine.Tensor, unsafe.Pointer) {
	ts = slices.Clone(ts)
	for i, t := range ts {
		if t.DType == engine.BFloat16 {
			t.DType = engine.Float32
			ts[i] = engine.Tensor{Spec: t.Spec, Buf: &buffer{p: p, bytes: t.Bytes()}}
			p = floats(p, roundUp(t.Len()))
		}
	}
	return ts, p
}

// pushCast enqueues kWiden or kNarrow for activations of a type.
func pushCast(q *queue, k kernelID, s engine.Spec, x, y unsafe.Pointer) {
	n, tasks := cut(s)
	push(q, k.of(s.DType), tasks, castArgs{x: x, y: y, n: n})
}
