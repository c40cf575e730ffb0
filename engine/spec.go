package engine

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// A DType is the type of one element of a tensor.
type DType uint8

// The element types. Float32 is what every operator computes in. BFloat16, the
// upper half of a float32, stores the activations of mixed precision; Uint8, Int8 and
// Int32 are activations, weights and sums of nets in integers (see Codes); the others
// serve pixels, counters and bookkeeping.
const (
	Float32 DType = iota
	Int64
	Uint32
	Uint8
	BFloat16
	Int8
	Int32
)

var dtypes = [...]struct {
	name string
	size int
}{Float32: {"float32", 4}, Int64: {"int64", 8}, Uint32: {"uint32", 4}, Uint8: {"uint8", 1}, BFloat16: {"bfloat16", 2}, Int8: {"int8", 1}, Int32: {"int32", 4}}

// Size returns the bytes of one element.
func (d DType) Size() int { return dtypes[d].size }

func (d DType) String() string { return dtypes[d].name }

// A Spec is the shape and element type of a tensor. Images are NHWC, matrices
// are row-major; an empty shape is a scalar.
type Spec struct {
	Shape []int
	DType DType
}

// F32 returns the Spec of a float32 tensor.
func F32(shape ...int) Spec { return Spec{Shape: shape, DType: Float32} }

// Len returns the number of elements.
func (s Spec) Len() int {
	n := 1
	for _, d := range s.Shape {
		n *= d
	}
	return n
}

// Bytes returns the bytes of the tensor, without padding.
func (s Spec) Bytes() int { return s.Len() * s.DType.Size() }

// Equal reports whether the two specs have the same shape and element type.
func (s Spec) Equal(o Spec) bool { return s.DType == o.DType && slices.Equal(s.Shape, o.Shape) }

// String renders the spec as in "32x28x28x3" or "10:uint8".
func (s Spec) String() string {
	var b strings.Builder
	for i, d := range s.Shape {
		if i > 0 {
			b.WriteByte('x')
		}
		fmt.Fprint(&b, d)
	}
	if len(s.Shape) == 0 {
		b.WriteString("scalar")
	}
	if s.DType != Float32 {
		b.WriteString(":" + s.DType.String())
	}
	return b.String()
}

// NHWC returns the four extents of an image tensor; ok is false if the spec is
// not of rank four.
func (s Spec) NHWC() (n, h, w, c int, ok bool) {
	if len(s.Shape) != 4 {
		return 0, 0, 0, 0, false
	}
	return s.Shape[0], s.Shape[1], s.Shape[2], s.Shape[3], true
}

// Bytes returns the memory of s as bytes, without a copy: the form in which
// host data are bound to a program's inputs. The elements of bfloat16 tensors are
// uint16 (half.BFloat16).
func Bytes[T float32 | float64 | int64 | uint32 | uint16 | uint8 | int8 | int32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}
