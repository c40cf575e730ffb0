package named

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/potstill/potstill/engine/half"
)

// sizes are the bytes of an element of each type that is taken.
var sizes = map[string]int{
	"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
	"int64": 8, "int32": 4, "int16": 2, "int8": 1,
	"uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
	"float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}

// Size returns the number of bytes of an element of the type, or 0 for a type
// that is not taken.
func Size(dtype string) int { return sizes[dtype] }

// A View places the elements of a tensor in a run of elements: that of index
// (i, j, …) lies at Offset + i·Stride[0] + j·Stride[1] + …
type View struct {
	Shape, Stride []int
	Offset        int
}

// Contiguous returns the view of a whole array in row-major order, or in
// column-major (Fortran's).
func Contiguous(shape []int, fortran bool) View {
	v := View{Shape: shape, Stride: make([]int, len(shape))}
	step := 1
	for i := range shape {
		axis := len(shape) - 1 - i
		if fortran {
			axis = i
		}
		v.Stride[axis] = step
		step *= max(shape[axis], 1)
	}
	return v
}

// Within says why the view does not lie within n elements, if so.
func (v View) Within(n int) error {
	volume, ok := Volume(v.Shape)
	switch {
	case !ok:
		return Damaged("it has the impossible shape %v", v.Shape)
	case len(v.Stride) != len(v.Shape):
		return Damaged("it has %d strides for %d dimensions", len(v.Stride), len(v.Shape))
	case v.Offset < 0:
		return Damaged("it begins at element %d", v.Offset)
	case volume == 0:
		return nil
	}
	last := uint64(v.Offset)
	for i, d := range v.Shape {
		if v.Stride[i] < 0 {
			return Damaged("it has the stride %d", v.Stride[i])
		}
		hi, lo := bits.Mul64(uint64(d-1), uint64(v.Stride[i]))
		sum, carry := bits.Add64(last, lo, 0)
		if hi != 0 || carry != 0 {
			return Damaged("it reaches beyond its storage of %d elements", n)
		}
		last = sum
	}
	if last >= uint64(n) {
		return Damaged("it reaches to element %d of a storage of %d", last, n)
	}
	return nil
}

// contiguous reports whether the elements follow one another from Offset on.
func (v View) contiguous() bool {
	step := 1
	for i := len(v.Shape) - 1; i >= 0; i-- {
		if v.Shape[i] != 1 && v.Stride[i] != step {
			return false
		}
		step *= v.Shape[i]
	}
	return true
}

// each calls f with every element's place, in row-major order of the index.
func (v View) each(n int, f func(i, at int)) {
	if v.contiguous() {
		for i := range n {
			f(i, v.Offset+i)
		}
		return
	}
	index, at := make([]int, len(v.Shape)), v.Offset
	for i := range n {
		f(i, at)
		for axis := len(index) - 1; axis >= 0; axis-- {
			index[axis]++
			at += v.Stride[axis]
			if index[axis] < v.Shape[axis] {
				break
			}
			at -= v.Stride[axis] * v.Shape[axis]
			index[axis] = 0
		}
	}
}

// Decode returns the tensor that a view of little-endian elements holds. The
// view is checked, and the values are taken from the budget.
func Decode(name, dtype string, data []byte, v View, b *Budget) (Tensor, error) {
	t := Tensor{Name: name, Shape: v.Shape, DType: dtype}
	size := Size(dtype)
	if size == 0 {
		if err := b.Take(1, 2*tensorCost); err != nil {
			return t, err
		}
		e := Refused("store it in one of PyTorch's plain types", "tensor %s is of type %s", Quote(name), Plain(dtype))
		e.unread = true
		return t, e
	}
	if err := v.Within(len(data) / size); err != nil {
		e := *err.(*FormatError)
		e.Reason = "tensor " + Quote(name) + ": " + e.Reason
		return t, &e
	}
	n, _ := Volume(v.Shape)
	each := 8 // bytes of memory an element
	switch dtype {
	case "float64":
		each = 12
	case "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu":
		each = 4
	}
	if err := b.Take(n, each); err != nil {
		return t, err
	}
	if err := b.Take(1, 8*len(v.Shape)); err != nil {
		return t, err
	}
	if table := float8s[dtype]; table != nil {
		t.Float = make([]float32, n)
		v.each(n, func(i, at int) { t.Float[i] = table[data[at]] })
		return t, nil
	}
	if read := floats[dtype]; read != nil {
		t.Float = make([]float32, n)
		v.each(n, func(i, at int) { t.Float[i] = read(data[at*size:]) })
		return t, nil
	}
	if dtype == "float64" {
		t.Float, t.Double = make([]float32, n), make([]float64, n)
		v.each(n, func(i, at int) {
			t.Double[i] = math.Float64frombits(binary.LittleEndian.Uint64(data[at*size:]))
			t.Float[i] = float32(t.Double[i])
		})
		return t, nil
	}
	t.Int = make([]int64, n)
	read, beyond := integers[dtype], false
	v.each(n, func(i, at int) {
		t.Int[i] = read(data[at*size:])
		beyond = beyond || t.Int[i] < 0
	})
	if beyond && dtype == "uint64" {
		e := Refused("store it as int64", "tensor %s has values beyond int64", Quote(name))
		e.unread = true
		return t, e
	}
	return t, nil
}

var floats = map[string]func([]byte) float32{
	"float32":  func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) },
	"float16":  func(b []byte) float32 { return half.Float16(binary.LittleEndian.Uint16(b)).Float32() },
	"bfloat16": func(b []byte) float32 { return half.BFloat16(binary.LittleEndian.Uint16(b)).Float32() },
}

var integers = map[string]func([]byte) int64{
	"int64":  func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) },
	"int32":  func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) },
	"int16":  func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) },
	"int8":   func(b []byte) int64 { return int64(int8(b[0])) },
	"uint64": func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) },
	"uint32": func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) },
	"uint16": func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) },
	"uint8":  func(b []byte) int64 { return int64(b[0]) },
	"bool": func(b []byte) int64 {
		if b[0] != 0 {
			return 1
		}
		return 0
	},
}

// Negate changes the sign of every value, as PyTorch resolves the negative bit of
// a view: integers wrap round in their type.
func (t *Tensor) Negate() {
	for i, v := range t.Float {
		t.Float[i] = math.Float32frombits(math.Float32bits(v) ^ 1<<31)
	}
	for i, v := range t.Double {
		t.Double[i] = math.Float64frombits(math.Float64bits(v) ^ 1<<63)
	}
	read := integers[t.DType]
	for i, v := range t.Int {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(-v))
		t.Int[i] = read(b[:])
	}
}
