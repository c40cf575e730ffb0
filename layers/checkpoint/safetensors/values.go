package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Float32s returns the elements of an F32, F16 or BF16 tensor. Each of their
// values is a float32, exactly.
func Float32s(t *Tensor) ([]float32, error) {
	switch t.DType {
	case F32:
		return elements(t, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case F16:
		return elements(t, func(b []byte) float32 { return half.Float16(binary.LittleEndian.Uint16(b)).Float32() })
	case BF16:
		return elements(t, func(b []byte) float32 { return half.BFloat16(binary.LittleEndian.Uint16(b)).Float32() })
	}
	return nil, wrongType(t, "F32, F16 or BF16")
}

// Float64s returns the elements of an F64, F32, F16 or BF16 tensor, exactly.
func Float64s(t *Tensor) ([]float64, error) {
	if t.DType == F64 {
		return elements(t, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) })
	}
	narrow, err := Float32s(t)
	if err != nil {
		return nil, err
	}
	wide := make([]float64, len(narrow))
	for i, v := range narrow {
		wide[i] = float64(v)
	}
	return wide, nil
}

// Int64s returns the elements of a tensor of integers or truth values.
func Int64s(t *Tensor) ([]int64, error) {
	switch t.DType {
	case I64:
		return elements(t, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	case I32:
		return elements(t, func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) })
	case I16:
		return elements(t, func(b []byte) int64 { return int64(int16(binary.LittleEndian.Uint16(b))) })
	case I8:
		return elements(t, func(b []byte) int64 { return int64(int8(b[0])) })
	case U32:
		return elements(t, func(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) })
	case U16:
		return elements(t, func(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) })
	case U8, BOOL:
		return elements(t, func(b []byte) int64 { return int64(b[0]) })
	}
	return nil, wrongType(t, "I64, I32, I16, I8, U32, U16, U8 or BOOL")
}

// Uint8s returns a copy of the elements of a U8 tensor.
func Uint8s(t *Tensor) ([]uint8, error) {
	if t.DType != U8 {
		return nil, wrongType(t, "U8")
	}
	return elements(t, func(b []byte) uint8 { return b[0] })
}

// Uint16s returns the bit patterns of the elements of an F16, BF16, I16 or U16
// tensor.
func Uint16s(t *Tensor) ([]uint16, error) {
	if t.DType.Size() != 2 {
		return nil, wrongType(t, "F16, BF16, I16 or U16")
	}
	return elements(t, binary.LittleEndian.Uint16)
}

// FromFloat32 returns an F32 tensor with a copy of the values. Here and below,
// values that do not fill the shape are refused when the file is written.
func FromFloat32(name string, shape []int, v []float32) Tensor {
	return build(name, F32, shape, v, func(b []byte, f float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(f)) })
}

// FromFloat64 returns an F64 tensor with a copy of the values.
func FromFloat64(name string, shape []int, v []float64) Tensor {
	return build(name, F64, shape, v, func(b []byte, f float64) { binary.LittleEndian.PutUint64(b, math.Float64bits(f)) })
}

// FromFloat16 returns an F16 tensor of the values rounded to float16, ties to
// even; see [half.ToFloat16].
func FromFloat16(name string, shape []int, v []float32) Tensor {
	return build(name, F16, shape, v, func(b []byte, f float32) { binary.LittleEndian.PutUint16(b, uint16(half.ToFloat16(f))) })
}

// FromBFloat16 returns a BF16 tensor of the values rounded to bfloat16, ties to
// even; see [half.ToBFloat16].
func FromBFloat16(name string, shape []int, v []float32) Tensor {
	return build(name, BF16, shape, v, func(b []byte, f float32) { binary.LittleEndian.PutUint16(b, uint16(half.ToBFloat16(f))) })
}

// FromFloat16Bits returns an F16 tensor of values given as bit patterns.
func FromFloat16Bits(name string, shape []int, v []uint16) Tensor {
	return build(name, F16, shape, v, binary.LittleEndian.PutUint16)
}

// FromInt64 returns an I64 tensor with a copy of the values.
func FromInt64(name string, shape []int, v []int64) Tensor {
	return build(name, I64, shape, v, func(b []byte, n int64) { binary.LittleEndian.PutUint64(b, uint64(n)) })
}

// FromInt32 returns an I32 tensor with a copy of the values.
func FromInt32(name string, shape []int, v []int32) Tensor {
	return build(name, I32, shape, v, func(b []byte, n int32) { binary.LittleEndian.PutUint32(b, uint32(n)) })
}

// FromInt8 returns an I8 tensor with a copy of the values, a byte each.
func FromInt8(name string, shape []int, v []byte) Tensor {
	return build(name, I8, shape, v, func(b []byte, n byte) { b[0] = n })
}

// FromUint8 returns a U8 tensor with a copy of the values.
func FromUint8(name string, shape []int, v []uint8) Tensor {
	return build(name, U8, shape, v, func(b []byte, n uint8) { b[0] = n })
}

func elements[T any](t *Tensor, get func([]byte) T) ([]T, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	size := t.DType.Size()
	v := make([]T, len(t.Data)/size)
	for i := range v {
		v[i] = get(t.Data[i*size : (i+1)*size])
	}
	return v, nil
}

func build[T any](name string, d DType, shape []int, v []T, put func([]byte, T)) Tensor {
	size := d.Size()
	data := make([]byte, len(v)*size)
	for i, x := range v {
		put(data[i*size:(i+1)*size], x)
	}
	return Tensor{Name: name, DType: d, Shape: slices.Clone(shape), Data: data}
}

func wrongType(t *Tensor, want string) error {
	return fmt.Errorf("safetensors: tensor %s is %s, not %s", named.Quote(t.Name), t.DType, want)
}
