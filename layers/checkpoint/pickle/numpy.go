package pickle

import (
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// An Array is a NumPy array or scalar of plain numbers.
type Array struct {
	Shape []int // empty for scalars and arrays of no dimensions
	// DType is the element type in PyTorch's words: "float32", "uint8", "bool".
	DType string
	// Fortran says that Data are in column-major order.
	Fortran bool
	// Data are the elements, little-endian, as many as Shape asks for.
	Data Bytes

	made   bool // Data have been given
	budget *named.Budget
}

// A dtype is NumPy's description of an element.
type dtype struct {
	name string // PyTorch's
	size int
	code string // NumPy's
}

// dtypes are NumPy's codes without the byte order.
var dtypes = map[string]dtype{
	"f8": {name: "float64", size: 8}, "f4": {name: "float32", size: 4}, "f2": {name: "float16", size: 2},
	"i8": {name: "int64", size: 8}, "i4": {name: "int32", size: 4}, "i2": {name: "int16", size: 2}, "i1": {name: "int8", size: 1},
	"u8": {name: "uint64", size: 8}, "u4": {name: "uint32", size: 4}, "u2": {name: "uint16", size: 2}, "u1": {name: "uint8", size: 1},
	"b1": {name: "bool", size: 1},
}

const fixArray = "store plain arrays of numbers"

// NumPy returns the names that arrays and scalars of NumPy need, before and
// after version 2 renamed numpy.core, in every protocol.
func NumPy(b *named.Budget) map[string]Func {
	n := &numPy{b}
	globals := map[string]Func{
		"numpy ndarray": nil, "numpy dtype": newDType,
		"_codecs encode":    n.encode,
		"__builtin__ bytes": emptyBytes, "builtins bytes": emptyBytes, "builtins bytearray": emptyBytes, "__builtin__ bytearray": emptyBytes,
	}
	for _, core := range []string{"numpy.core", "numpy._core"} {
		globals[core+".multiarray _reconstruct"] = n.reconstruct
		globals[core+".multiarray scalar"] = n.scalar
		globals[core+".numeric _frombuffer"] = n.fromBuffer
	}
	return globals
}

type numPy struct{ budget *named.Budget }

// newDType is numpy.dtype(code, align, copy).
func newDType(args Tuple) (any, error) {
	if len(args) == 0 {
		return nil, named.Damaged("a numpy.dtype has no code")
	}
	code, ok := args[0].(string)
	if !ok {
		return nil, named.Damaged("the code of a numpy.dtype is %s", Describe(args[0]))
	}
	d, ok := dtypes[strings.TrimLeft(code, "<|=")]
	switch {
	case strings.HasPrefix(code, "O"):
		return nil, named.Refused(fixArray, "it holds a NumPy array of objects (dtype %s), which could hold anything", named.Quote(code))
	case strings.HasPrefix(code, ">"):
		return nil, bigEndian(code)
	case !ok:
		return nil, named.Refused(fixArray, "it holds a NumPy array of dtype %s, which is not a plain number", named.Quote(code))
	}
	d.code = code
	return &d, nil
}

func bigEndian(code string) error {
	return named.Refused("store it with .newbyteorder('<') or on a little-endian machine", "it holds a big-endian NumPy array (dtype %s)", named.Quote(code))
}

// SetState checks the state of a dtype: (version, byte order, subarray, names,
// fields, item size, alignment, flags).
func (d *dtype) SetState(state any) error {
	t, ok := state.(Tuple)
	if !ok || len(t) < 5 {
		return named.Damaged("the state of a numpy.dtype is %s of the wrong length", Describe(state))
	}
	order, ok := t[1].(string)
	switch {
	case !ok:
		return named.Damaged("the byte order of a numpy.dtype is %s", Describe(t[1]))
	case order == ">":
		return bigEndian(">" + strings.TrimLeft(d.code, "<|="))
	case order != "<" && order != "|" && order != "=":
		return named.Damaged("the byte order of a numpy.dtype is %s", named.Quote(order))
	case t[2] != nil || t[3] != nil || t[4] != nil:
		return named.Refused(fixArray, "it holds a NumPy array of records or subarrays")
	}
	return nil
}

// reconstruct is numpy's _reconstruct(ndarray, (0,), b'b'): an array that gets
// its content by SetState.
func (n *numPy) reconstruct(args Tuple) (any, error) {
	if len(args) > 0 {
		if g, ok := args[0].(*Global); ok && g.Module == "numpy" && g.Name == "ndarray" {
			return &Array{budget: n.budget}, nil
		}
	}
	return nil, named.Damaged("a NumPy array is made of something other than numpy.ndarray")
}

// SetState takes the content of an array: (version, shape, dtype, is Fortran's
// order, data).
func (a *Array) SetState(state any) error {
	t, ok := state.(Tuple)
	if !ok || len(t) != 5 {
		return named.Damaged("the state of a NumPy array is %s of the wrong length", Describe(state))
	}
	if a.made {
		return named.Damaged("a NumPy array gets its state twice")
	}
	d, ok := t[2].(*dtype)
	if !ok {
		return named.Damaged("the dtype of a NumPy array is %s", Describe(t[2]))
	}
	fortran := t[3] == true || t[3] == int64(1)
	return a.fill(t[1], d, fortran, t[4])
}

func (a *Array) fill(shape any, d *dtype, fortran bool, data any) error {
	dims, ok := Ints(shape)
	if !ok {
		return named.Damaged("the shape of a NumPy array is not a tuple of at most 64 ints")
	}
	n, ok := named.Volume(dims)
	if !ok {
		return named.Damaged("a NumPy array has the impossible shape %v", dims)
	}
	if err := a.budget.Take(len(dims), 16); err != nil {
		return err
	}
	var b Bytes
	switch data := data.(type) {
	case Bytes:
		b = data
	case string:
		if err := a.budget.Take(1, len(data)); err != nil {
			return err
		}
		b = Bytes(data)
	default:
		return named.Damaged("the data of a NumPy array are %s", Describe(data))
	}
	if len(b)%d.size != 0 || len(b)/d.size != n {
		return named.Damaged("a NumPy array of %s%v has %d bytes of data", d.name, dims, len(b))
	}
	*a = Array{Shape: dims, DType: d.name, Fortran: fortran && len(dims) > 1, Data: b, made: true}
	return nil
}

// scalar is numpy's scalar(dtype, bytes).
func (n *numPy) scalar(args Tuple) (any, error) {
	if len(args) != 2 {
		return nil, named.Damaged("a NumPy scalar is made of %d values instead of 2", len(args))
	}
	d, ok := args[0].(*dtype)
	if !ok {
		return nil, named.Damaged("the dtype of a NumPy scalar is %s", Describe(args[0]))
	}
	a := &Array{budget: n.budget}
	return a, a.fill(Tuple{}, d, false, args[1])
}

// fromBuffer is numpy's _frombuffer(buffer, dtype, shape, order) of protocol 5.
func (n *numPy) fromBuffer(args Tuple) (any, error) {
	if len(args) != 4 {
		return nil, named.Damaged("a NumPy array is made of %d values instead of 4", len(args))
	}
	d, ok := args[1].(*dtype)
	if !ok {
		return nil, named.Damaged("the dtype of a NumPy array is %s", Describe(args[1]))
	}
	a := &Array{budget: n.budget}
	return a, a.fill(args[2], d, args[3] == "F", args[0])
}

// encode is _codecs.encode(text, 'latin1'), which stands for bytes in
// protocols 0 to 2.
func (n *numPy) encode(args Tuple) (any, error) {
	if len(args) != 2 || args[1] != "latin1" && args[1] != "latin-1" {
		return nil, named.Damaged("its pickle encodes a text other than in latin1")
	}
	s, ok := args[0].(string)
	if !ok {
		return nil, named.Damaged("its pickle encodes %s instead of a str", Describe(args[0]))
	}
	if err := n.budget.Take(1, len(s)); err != nil {
		return nil, err
	}
	b := make(Bytes, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, named.Damaged("its pickle encodes a text in latin1 that has other letters")
		}
		b = append(b, byte(r))
	}
	return b, nil
}

// emptyBytes is bytes() or bytes(b), as protocols 0 to 2 write empty bytes.
func emptyBytes(args Tuple) (any, error) {
	if len(args) == 1 {
		if b, ok := args[0].(Bytes); ok {
			return b, nil
		}
	}
	if len(args) != 0 {
		return nil, named.Damaged("its pickle makes bytes of %s", Describe(args[0]))
	}
	return Bytes{}, nil
}
