package onnxread

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// types are the names of TensorProto.DataType; those that are not here are not
// read.
var types = map[int64]string{
	1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
	11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16",
	17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu",
	21: "uint4", 22: "int4", 25: "uint2", 26: "int2",
}

// others are the types that are not read, for messages.
var others = map[int64]string{8: "string", 14: "complex64", 15: "complex128", 23: "float4e2m1"}

// typeName returns the name of a type for a message.
func typeName(t int64) string {
	for _, m := range []map[int64]string{types, others} {
		if name, ok := m[t]; ok {
			return name
		}
	}
	return "number " + strconv.FormatInt(t, 10)
}

// MaxElements is how many elements a tensor may have at most.
const MaxElements = math.MaxInt32

// maxRank is how many dimensions a tensor may have.
const maxRank = 64

// A rawTensor is a TensorProto: its values in one of several fields.
type rawTensor struct {
	name     string
	dims     []int64
	typ      int64
	raw      []byte
	hasRaw   bool
	small    []int64 // int32_data: of most integer types, and 16-bit floats
	wide     []int64 // int64_data and uint64_data
	floats   []byte  // float_data
	doubles  []byte  // double_data
	external bool
	entries  map[string]string
	texts    bool
}

// tensor decodes a TensorProto.
func (r *reader) tensor(b []byte) (*Tensor, error) {
	t, err := r.rawTensor(b)
	if err != nil {
		return nil, err
	}
	what := "tensor " + named.Quote(t.name)
	shape, n, err := shapeOf(what, t.dims)
	if err != nil {
		return nil, err
	}
	dtype, ok := types[t.typ]
	if !ok || t.texts {
		return nil, named.Refused("store it as float32 or int64", "%s is of type %s, which is not read", what, typeName(t.typ))
	}
	data, err := r.data(what, t, dtype, n)
	if err != nil {
		return nil, err
	}
	if size := sizeOf(dtype, n); len(data) != size {
		return nil, named.Damaged("%s has %d bytes of data, but its shape %v of %s needs %d", what, len(data), shape, dtype, size)
	}
	stored := dtype
	if packedBits[dtype] > 0 {
		if err := r.budget.Take(n, 1); err != nil {
			return nil, err
		}
		data, stored = unpack(data, dtype, n)
	}
	d, err := named.Decode(t.name, stored, data, named.Contiguous(shape, false), r.budget)
	if err != nil {
		return nil, err
	}
	return &Tensor{Name: t.name, Shape: shape, DType: dtype, Float: d.Float, Int: d.Int, Double: d.Double, External: t.external}, nil
}

// rawTensor reads the fields of a TensorProto.
func (r *reader) rawTensor(b []byte) (*rawTensor, error) {
	t := &rawTensor{}
	err := fields("a tensor", b, func(f field) (err error) {
		switch f.num {
		case 1:
			t.dims, err = r.ints(t.dims, "a tensor's shape", f)
			if err == nil && len(t.dims) > maxRank {
				err = named.Damaged("a tensor has more than %d dimensions", maxRank)
			}
		case 2:
			t.typ = int64(f.n)
		case 3:
			err = named.Refused("store each tensor whole", "a tensor is cut into segments")
		case 4:
			t.floats, err = r.fixed(t.floats, "a tensor", f, 4)
		case 5:
			t.small, err = r.ints(t.small, "a tensor", f)
		case 6:
			t.texts = true
		case 7, 11:
			t.wide, err = r.ints(t.wide, "a tensor", f)
		case 8:
			t.name, err = r.text(f)
		case 9:
			t.raw, t.hasRaw = f.body, true
		case 10:
			t.doubles, err = r.fixed(t.doubles, "a tensor", f, 8)
		case 13:
			err = r.externalEntry(t, f)
		case 14:
			t.external = f.n == 1
		}
		return err
	})
	return t, err
}

// shapeOf checks a shape, whose elements may be 2^31-1 at most.
func shapeOf(what string, dims []int64) (shape []int, n int, err error) {
	shape = make([]int, len(dims))
	for i, d := range dims {
		if d < 0 || d > MaxElements {
			return nil, 0, named.Damaged("%s has the impossible shape %v", what, dims)
		}
		shape[i] = int(d)
	}
	n, ok := named.Volume(shape)
	if !ok || n > MaxElements {
		return nil, 0, named.Damaged("%s has the impossible shape %v, of more than %d elements", what, dims, MaxElements)
	}
	return shape, n, nil
}

// data returns the little-endian bytes of a tensor's elements, wherever they are.
func (r *reader) data(what string, t *rawTensor, dtype string, n int) ([]byte, error) {
	size := named.Size(dtype)
	switch {
	case t.external:
		b, err := r.external(what, t)
		if err != nil {
			return nil, err
		}
		return b, nil
	case t.hasRaw:
		return t.raw, nil
	case dtype == "float32":
		return t.floats, nil
	case dtype == "float64":
		return t.doubles, nil
	}
	list := t.small
	if dtype == "int64" || dtype == "uint64" || dtype == "uint32" {
		list = t.wide
	}
	if packedBits[dtype] > 0 { // a value is a byte of them
		n, size = sizeOf(dtype, n), 1
	}
	if len(list) != n {
		return nil, named.Damaged("%s has %d values, but its shape %v needs %d", what, len(list), t.dims, n)
	}
	if err := r.budget.Take(n, size); err != nil {
		return nil, err
	}
	out := make([]byte, 0, n*size)
	var eight [8]byte
	for _, v := range list {
		binary.LittleEndian.PutUint64(eight[:], uint64(v))
		out = append(out, eight[:size]...)
	}
	return out, nil
}

// externalEntry reads a StringStringEntryProto of external data.
func (r *reader) externalEntry(t *rawTensor, f field) error {
	key, value, err := r.entry(f.body)
	if err != nil {
		return err
	}
	if t.entries == nil {
		t.entries = make(map[string]string)
	}
	if len(t.entries) > 16 {
		return named.Damaged("a tensor says in more than 16 ways where its data are")
	}
	t.entries[key] = value
	return nil
}

// entry reads a StringStringEntryProto.
func (r *reader) entry(b []byte) (key, value string, err error) {
	err = fields("an entry", b, func(f field) (err error) {
		switch f.num {
		case 1:
			key, err = r.text(f)
		case 2:
			value, err = r.text(f)
		}
		return err
	})
	return key, value, err
}

// external returns the bytes of a tensor that lie in a file beside the model.
func (r *reader) external(what string, t *rawTensor) ([]byte, error) {
	location := t.entries["location"]
	number := func(key string, otherwise int64) (int64, error) {
		text, ok := t.entries[key]
		if !ok {
			return otherwise, nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return 0, named.Damaged("%s lies at the impossible %s %s of its external data", what, key, named.Quote(text))
		}
		return n, nil
	}
	offset, err := number("offset", 0)
	if err != nil {
		return nil, err
	}
	length, err := number("length", -1)
	if err != nil {
		return nil, err
	}
	if r.open == nil {
		return nil, named.Refused("name the model's file, with its data beside it", "%s lies in another file, %s", what, named.Quote(location))
	}
	if length < 0 {
		_, n, err := shapeOf(what, t.dims)
		if err != nil {
			return nil, err
		}
		length = int64(sizeOf(types[t.typ], n))
	}
	b, err := r.open(location, offset, length)
	if err != nil {
		return nil, named.Refused("keep the file of its data in the model's folder, as the exporter wrote it",
			"%s lies in %s, %s", what, named.Quote(location), fmt.Sprint(err))
	}
	r.extra += int64(len(b))
	r.budget.Grow(len(b))
	return b, nil
}
