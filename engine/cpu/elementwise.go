package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

func init() {
	lowersAlone(func(op engine.Fill, _, out []engine.Spec) lowering {
		n, tasks := cut(out[0])
		return func(q *queue, _, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kFill, tasks, fillArgs{y: at(out[0]), n: n, value: float64(op.Value)})
		}
	})
	lowersCompiledAlone(func(op engine.Add, _, out []engine.Spec) lowering {
		return lowerAdd(op, out[0])
	})
	lowersAlone(func(_ engine.Cast, in, _ []engine.Spec) lowering { return lowerCast(kWiden, in[0]) })
	lowersBFloat16(func(_ engine.Cast, in, out []engine.Spec) (int, lowering, error) {
		switch {
		case out[0].DType == engine.Float32:
			return 0, lowerCast(kWiden, in[0]), nil
		case in[0].DType == engine.Float32:
			return 0, lowerCast(kNarrow, out[0]), nil
		}
		return 0, nil, errWidened
	})
	lowersCompiledAlone(func(op engine.Dropout, _, out []engine.Spec) lowering {
		n, tasks := cut(out[0])
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kDropout.of(out[0].DType), tasks, dropoutArgs{x: at(in[0]), counter: at(in[1]), y: at(out[0]), n: n,
				stream: int64(op.Stream), threshold: int64(op.Threshold()), scale: 1 / (1 - float64(op.P))})
		}
	})
	lowersCompiledAlone(func(_ engine.Flatten, in, _ []engine.Spec) lowering {
		x := in[0].Shape
		return lowerTranspose(x[0], x[1]*x[2], x[3])
	})
	lowersCompiledAlone(func(op engine.FlattenBackward, _, _ []engine.Spec) lowering {
		x := op.X.Shape
		return lowerTranspose(x[0], x[3], x[1]*x[2])
	})
}

// cut returns the elements of a tensor and into how many tasks they are cut.
func cut(s engine.Spec) (n int64, tasks int) { return int64(s.Len()), ceilDiv(s.Len(), spanFloats) }

// lowerAdd lowers a weighted sum.
func lowerAdd(op engine.Add, y engine.Spec) lowering {
	n, tasks := cut(y)
	var x []ptr // made once: to enqueue a kernel allocates nothing
	var w []float64
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		x, w = x[:0], w[:0]
		for k := range in {
			x, w = append(x, at(in[k])), append(w, float64(op.Weight(k)))
		}
		push(q, kAdd.of(out[0].DType), tasks, addArgs{y: at(out[0]), x: keep(&q.memory, x), w: keep(&q.memory, w), k: int64(len(in)), n: n})
	}
}

// lowerCast lowers kWiden or kNarrow for activations of a type.
func lowerCast(k kernelID, stored engine.Spec) lowering {
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		pushCast(q, k, stored, at(in[0]), at(out[0]))
	}
}

func lowerTranspose(n, rows, cols int) lowering {
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		push(q, kTranspose.of(out[0].DType), n, transposeArgs{x: at(in[0]), y: at(out[0]), n: int64(n), rows: int64(rows), cols: int64(cols)})
	}
}
