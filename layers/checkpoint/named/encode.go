package named

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine/half"
)

// Stored returns the type that the values of t are written in: its DType, or
// "float32" for a coded tensor or one of floats that has none, "int64" for one
// of integers that has none.
func (t *Tensor) Stored() string {
	switch {
	case t.Coded:
		return "float32"
	case t.DType != "":
		return t.DType
	case t.Int != nil:
		return "int64"
	}
	return "float32"
}

// Encode returns the values of t, little-endian, in the type [Tensor.Stored].
// What [Decode] gave comes back bit by bit. Values that the type cannot hold
// are rounded if they are floats and refused if they are integers.
func (t *Tensor) Encode() ([]byte, error) {
	dtype := t.Stored()
	size := Size(dtype)
	if size == 0 {
		return nil, fmt.Errorf("tensor %s has the unknown type %s", Quote(t.Name), Plain(dtype))
	}
	n, ok := Volume(t.Shape)
	if !ok {
		return nil, fmt.Errorf("tensor %s has the impossible shape %v", Quote(t.Name), t.Shape)
	}
	has := len(t.Float)
	write := narrowers[dtype]
	table := float8s[dtype]
	if table != nil {
		write = func(b []byte, v float32) { b[0] = toFloat8(table, v) }
	}
	switch {
	case write == nil:
		has = len(t.Int)
	case dtype == "float64" && t.Double != nil:
		has = len(t.Double)
	}
	if has != n {
		return nil, fmt.Errorf("tensor %s has %d values of %s, but the shape %v needs %d", Quote(t.Name), has, dtype, t.Shape, n)
	}
	b := make([]byte, n*size)
	switch {
	case write == nil:
		return b, t.encodeInts(b, dtype, size)
	case dtype == "float64" && t.Double != nil:
		for i, v := range t.Double {
			binary.LittleEndian.PutUint64(b[i*8:], math.Float64bits(v))
		}
	default:
		for i, v := range t.Float {
			write(b[i*size:], v)
		}
	}
	return b, nil
}

func (t *Tensor) encodeInts(b []byte, dtype string, size int) error {
	read := integers[dtype]
	for i, v := range t.Int {
		var wide [8]byte
		binary.LittleEndian.PutUint64(wide[:], uint64(v))
		copy(b[i*size:(i+1)*size], wide[:])
		if read(b[i*size:]) != v || v < 0 && dtype == "uint64" {
			return fmt.Errorf("tensor %s has the value %d, which is no %s", Quote(t.Name), v, dtype)
		}
	}
	return nil
}

// narrowers write a value in the type of floats.
var narrowers = map[string]func([]byte, float32){
	"float64":  func(b []byte, v float32) { binary.LittleEndian.PutUint64(b, math.Float64bits(float64(v))) },
	"float32":  func(b []byte, v float32) { binary.LittleEndian.PutUint32(b, math.Float32bits(v)) },
	"float16":  func(b []byte, v float32) { binary.LittleEndian.PutUint16(b, float16(v)) },
	"bfloat16": func(b []byte, v float32) { binary.LittleEndian.PutUint16(b, bfloat16(v)) },
}

// float16 rounds as package half does, but keeps a NaN that is a float16's as
// it is, even a signalling one, which half would make quiet.
func float16(v float32) uint16 {
	u := math.Float32bits(v)
	if narrow := uint16(u>>16&0x8000 | 0x7c00 | u>>13&0x3ff); v != v && u&0x1fff == 0 {
		return narrow
	}
	return uint16(half.ToFloat16(v))
}

// bfloat16 is float16's like.
func bfloat16(v float32) uint16 {
	if u := math.Float32bits(v); v != v && u&0xffff == 0 {
		return uint16(u >> 16)
	}
	return uint16(half.ToBFloat16(v))
}
