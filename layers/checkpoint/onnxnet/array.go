package onnxnet

import (
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// An array is a constant: an initializer, or what was folded from others. It is
// never changed. One of f and i holds its values, and with splat one value
// stands for all.
type array struct {
	name  string // of the initializer that it is, "" for others
	shape []int
	f     []float32
	i     []int64
	ints  bool
	splat bool
	// dtype is the type of an initializer, coding that of codes which f was decoded of.
	dtype  string
	coding *coding
}

// fromTensor takes a tensor of a file over.
func fromTensor(t *onnxread.Tensor) *array {
	ints := t.Int != nil || t.Float == nil && isInteger(t.DType)
	return &array{name: t.Name, shape: t.Shape, f: t.Float, i: t.Int, ints: ints, dtype: t.DType}
}

func isInteger(dtype string) bool {
	switch dtype {
	case "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool":
		return true
	}
	return codeTypes[dtype].bits > 0
}

// len returns the number of elements.
func (a *array) len() int { return volume(a.shape) }

// volume returns the number of elements of a shape that has been checked.
func volume(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// at returns an element as a float64.
func (a *array) at(k int) float64 {
	if a.splat {
		k = 0
	}
	if a.ints {
		return float64(a.i[k])
	}
	return float64(a.f[k])
}

// int returns an element as an integer, cut toward zero.
func (a *array) int(k int) int {
	if a.splat {
		k = 0
	}
	if a.ints {
		return int(a.i[k])
	}
	return int(a.f[k])
}

// list returns all elements as integers.
func (a *array) list() []int {
	out := make([]int, a.len())
	for k := range out {
		out[k] = a.int(k)
	}
	return out
}

// scalar returns the value that all elements have, if they have one.
func (a *array) scalar() (v float64, ok bool) {
	n := a.len()
	if n == 0 {
		return 0, false
	}
	v = a.at(0)
	if a.splat {
		return v, true
	}
	for k := 1; k < n; k++ {
		if a.at(k) != v {
			return 0, false
		}
	}
	return v, true
}

// view returns the same values under another shape.
func (a *array) view(shape []int) *array {
	b := *a
	b.shape = shape
	return &b
}

func intArray(shape []int, v ...int64) *array { return &array{shape: shape, i: v, ints: true} }

// empty returns an array with room for the values that are added to it.
func empty(shape []int, ints bool) *array {
	a := &array{shape: shape, ints: ints}
	if n := volume(shape); ints {
		a.i = make([]int64, 0, n)
	} else {
		a.f = make([]float32, 0, n)
	}
	return a
}

// vectorOf returns a list of integers as a constant.
func vectorOf(v []int) *array {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return intArray([]int{len(v)}, out...)
}

// The most elements that constants may have that a file does not hold but
// announces (ConstantOfShape, Expand, Tile), or that are computed from others.
const maxFolded = 1 << 28

// A folder makes constants of constants, within limits.
type folder struct{ left int }

// take accounts for n new elements.
func (f *folder) take(n int) error {
	if n < 0 || n > f.left {
		return named.Refused("it was made to exhaust memory; do not use it", "its constants unfold to more than %d numbers", maxFolded)
	}
	f.left -= n
	return nil
}

// whole returns the values as floats, one for each element.
func (f *folder) whole(a *array) ([]float32, error) {
	n := a.len()
	if !a.splat && !a.ints {
		return a.f, nil
	}
	if err := f.take(n); err != nil {
		return nil, err
	}
	out := make([]float32, n)
	for k := range out {
		out[k] = float32(a.at(k))
	}
	if a.splat {
		a.f, a.splat, a.ints, a.i = out, false, false, nil // it is the same constant, kept whole from now on
	}
	return out, nil
}

// strides returns the row-major strides of a shape.
func strides(shape []int) []int {
	s := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = step
		step *= shape[i]
	}
	return s
}

// pick returns an array of the given shape whose element at an index is that of
// a at offset plus the sum of index times stride.
func (f *folder) pick(a *array, shape, stride []int, offset int) (*array, error) {
	n := volume(shape)
	out := &array{shape: shape, ints: a.ints}
	if a.splat {
		b := a.view(shape)
		b.name = ""
		return b, nil
	}
	if err := f.take(n); err != nil {
		return nil, err
	}
	if a.ints {
		out.i = make([]int64, n)
	} else {
		out.f = make([]float32, n)
	}
	index := make([]int, len(shape))
	at := offset
	for k := range n {
		if a.ints {
			out.i[k] = a.i[at]
		} else {
			out.f[k] = a.f[at]
		}
		for axis := len(index) - 1; axis >= 0; axis-- {
			index[axis]++
			at += stride[axis]
			if index[axis] < shape[axis] {
				break
			}
			at -= stride[axis] * shape[axis]
			index[axis] = 0
		}
	}
	return out, nil
}

// transpose permutes the axes of a.
func (f *folder) transpose(a *array, perm []int) (*array, error) {
	from := strides(a.shape)
	shape, stride := make([]int, len(perm)), make([]int, len(perm))
	for i, p := range perm {
		shape[i], stride[i] = a.shape[p], from[p]
	}
	return f.pick(a, shape, stride, 0)
}

// broadcast returns the shape of two that are broadcast as NumPy does.
func broadcast(a, b []int) (shape []int, ok bool) {
	n := max(len(a), len(b))
	shape = make([]int, n)
	for i := range n {
		x, y := 1, 1
		if k := len(a) - n + i; k >= 0 {
			x = a[k]
		}
		if k := len(b) - n + i; k >= 0 {
			y = b[k]
		}
		switch {
		case x == y || y == 1:
			shape[i] = x
		case x == 1:
			shape[i] = y
		default:
			return nil, false
		}
	}
	return shape, true
}

// expand returns a broadcast to a shape.
func (f *folder) expand(a *array, shape []int) (*array, error) {
	from := strides(a.shape)
	stride := make([]int, len(shape))
	for i := range shape {
		if k := len(a.shape) - len(shape) + i; k >= 0 && a.shape[k] != 1 {
			stride[i] = from[k]
		}
	}
	return f.pick(a, shape, stride, 0)
}
