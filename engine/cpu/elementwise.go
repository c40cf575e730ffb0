package cpu

import (
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// lowerElementwise lowers the ops that work element by element, and the
// transpositions; nil for any other.
func lowerElementwise(op engine.Op, in, out []engine.Spec) lowering {
	n := out[0].Len()
	tasks := ceilDiv(n, spanFloats)
	switch op := op.(type) {
	case engine.Fill:
		return func(q *queue, _, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kFill, tasks, fillArgs{y: at(out[0]), n: int64(n), value: float64(op.Value)})
		}
	case engine.Add:
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			x, w := make([]ptr, len(in)), make([]float64, len(in))
			for k := range in {
				x[k], w[k] = at(in[k]), float64(op.Weight(k))
			}
			push(q, kAdd, tasks, addArgs{y: at(out[0]), x: keep(&q.memory, x), w: keep(&q.memory, w), k: int64(len(in)), n: int64(n)})
		}
	case engine.Activation:
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kAct, tasks, actArgs{x: at(in[0]), y: at(out[0]), n: int64(n), act: int64(op.F)})
		}
	case engine.Cast: // a copy: bfloat16 has been refused
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kAct, tasks, actArgs{x: at(in[0]), y: at(out[0]), n: int64(n), act: int64(engine.Identity)})
		}
	case engine.ActivationBackward:
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kActBackward, tasks, actArgs{x: at(in[0]), dy: at(in[1]), y: at(out[0]), n: int64(n), act: int64(op.F)})
		}
	case engine.Dropout:
		return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
			push(q, kDropout, tasks, dropoutArgs{x: at(in[0]), counter: at(in[1]), y: at(out[0]), n: int64(n),
				stream: int64(op.Stream), threshold: int64(op.Threshold()), scale: 1 / (1 - float64(op.P))})
		}
	case engine.Flatten:
		return lowerTranspose(in[0].Shape[0], in[0].Shape[1]*in[0].Shape[2], in[0].Shape[3])
	case engine.FlattenBackward:
		return lowerTranspose(op.X.Shape[0], op.X.Shape[3], op.X.Shape[1]*op.X.Shape[2])
	}
	return nil
}

func lowerTranspose(n, rows, cols int) lowering {
	return func(q *queue, in, out []engine.Tensor, _ unsafe.Pointer) {
		push(q, kTranspose, n, transposeArgs{x: at(in[0]), y: at(out[0]), n: int64(n), rows: int64(rows), cols: int64(cols)})
	}
}
