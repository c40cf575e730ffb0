//go:build !cgo

package cpu

func pointwise(p ptr, task int64) {
	t := (*pointwiseArgs)(p)
	lo, hi := taskRange(task, spanFloats, t.n)
	a, b, y := f32(t.a, t.n)[lo:hi], f32(t.b, t.n)[lo:hi], f32(t.y, t.n)[lo:hi]
	switch t.op {
	case opProduct:
		for i, v := range a {
			y[i] = v * b[i]
		}
	case opQuotient:
		for i, v := range a {
			y[i] = v / b[i]
		}
	case opLarger:
		for i, v := range a {
			y[i] = max(v, b[i])
		}
	case opSmaller:
		for i, v := range a {
			y[i] = min(v, b[i])
		}
	default:
		for i, d := range f32(t.dy, t.n)[lo:hi] {
			u, v := a[i], b[i]
			if t.op == opSmallerBackward {
				u, v = -u, -v
			}
			switch {
			case u > v:
				y[i] = d
			case u == v:
				y[i] = d / 2
			default:
				y[i] = 0
			}
		}
	}
}
