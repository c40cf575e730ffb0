// Package study8 reads and writes the study's compressed files: a pickled dict
// with, under each tensor's name,
//
//	(min, max, codes)  8 bits: the range, two NumPy float64, and a uint8 array
//	array              16 bits: a float16 array (or of any other plain type)
//	scalar             what has no dimensions, as it is
//
// Codes stand for q/255·(max-min)+min, evaluated in float64 (package affine).
// Files of protocols 0 to 5 are read, of NumPy before and after version 2;
// written are those that CPython's pickler of protocol 3 and the NumPy of the
// study gave, byte for byte, which every later NumPy reads too.
//
// # Limits
//
// Nothing is executed, and beside NumPy's arrays, scalars and types of plain
// numbers only collections.OrderedDict may be named. Arrays of objects, records
// and big-endian arrays are refused. Files have at most [named.MaxFile] bytes;
// every length is held against the file before memory is allocated, and all
// that reading allocates is taken from a [named.Budget] of [named.Expansion]
// bytes for each byte of the file.
package study8

import (
	"bytes"
	"math"

	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
)

// The formats of what [Decode] reads.
const (
	Format8     = "8-bit pickle"
	Format16    = "16-bit pickle"
	FormatPlain = "pickle"
)

const (
	fix      = "pickle a dict of NumPy arrays and of (min, max, codes), or save a state_dict with torch.save"
	fixShape = "pickle a dict {name: (min, max, uint8 array) or array}"
)

// Sniff reports whether a file that begins with head is a pickle that may hold
// a dict. PyTorch's legacy files, which are pickles too, are to be sought first.
func Sniff(head []byte) bool {
	if len(head) < 2 {
		return false
	}
	for _, begin := range []string{"(d", "}q", "}.", "}(", "}r", "ccollections\n"} {
		if bytes.HasPrefix(head, []byte(begin)) {
			return true
		}
	}
	return head[0] == 0x80 && head[1] <= 32
}

// Decode decodes the bytes of a whole file. Every error is a
// [*named.FormatError] without a path.
func Decode(b []byte) (*named.File, error) { return DecodeWeights(b, "") }

// DecodeWeights is Decode of the tensors whose names begin with weights and a
// dot, which are removed; of all for "".
func DecodeWeights(b []byte, weights string) (*named.File, error) {
	budget := named.NewBudget(len(b))
	globals := pickle.NumPy(budget)
	globals["collections OrderedDict"] = func(args pickle.Tuple) (any, error) {
		if len(args) > 0 {
			return nil, named.Refused(fixShape, "a dict is made of %s", pickle.Describe(args[0]))
		}
		return &pickle.Dict{}, nil
	}
	root, n, err := (&pickle.Decoder{Globals: globals, Budget: budget, Fix: fix}).Decode(b)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, named.Damaged("%d bytes follow its pickle", len(b)-n)
	}
	d, ok := root.(*pickle.Dict)
	if !ok {
		return nil, named.Refused(fixShape, "its pickle holds %s, not a dict of tensors", pickle.Describe(root))
	}
	if len(d.Keys) == 0 {
		return nil, named.Refused(fixShape, "its pickle holds an empty dict")
	}
	f := &named.File{Format: FormatPlain}
	if err := budget.Take(len(d.Keys), 256); err != nil {
		return nil, err
	}
	f.Tensors = make([]named.Tensor, 0, len(d.Keys))
	for i, k := range d.Keys {
		name, ok := k.(string)
		if !ok {
			return nil, named.Refused(fixShape, "its pickle holds a dict with %s as a key, not a name", pickle.Describe(k))
		}
		if err := f.Take(entry(name, d.Values[i], budget)); err != nil {
			return nil, err
		}
	}
	f.Format = format(d, f)
	return f, f.Settle(weights, budget)
}

// format tells 8-bit files from 16-bit ones and those of plain arrays.
func format(d *pickle.Dict, f *named.File) string {
	half := false
	for i := range f.Tensors {
		if _, coded := d.Values[i].(pickle.Tuple); coded {
			return Format8
		}
		half = half || f.Tensors[i].DType == "float16" && len(f.Tensors[i].Shape) > 0
	}
	if half {
		return Format16
	}
	return FormatPlain
}

// entry decodes what stands under a name.
func entry(name string, v any, b *named.Budget) (named.Tensor, error) {
	switch v := v.(type) {
	case *pickle.Array:
		return array(name, v, b)
	case float64:
		return named.Tensor{Name: name, Shape: []int{}, DType: "float64", Float: []float32{float32(v)}, Double: []float64{v}}, nil
	case int64:
		return named.Tensor{Name: name, Shape: []int{}, DType: "int64", Int: []int64{v}}, nil
	case pickle.Tuple:
		return coded(name, v, b)
	}
	return named.Tensor{}, named.Refused(fixShape, "under the name %s it has %s, not an array", named.Quote(name), pickle.Describe(v))
}

func array(name string, a *pickle.Array, b *named.Budget) (named.Tensor, error) {
	if a.DType == "" {
		return named.Tensor{}, named.Damaged("the array %s has no content", named.Quote(name))
	}
	if err := b.Take(len(a.Shape), 16); err != nil {
		return named.Tensor{}, err
	}
	return named.Decode(name, a.DType, a.Data, named.Contiguous(a.Shape, a.Fortran), b)
}

// coded decodes (min, max, codes).
func coded(name string, v pickle.Tuple, b *named.Budget) (t named.Tensor, err error) {
	if len(v) != 3 {
		return t, named.Refused(fixShape, "under the name %s it has a tuple of %d, not (min, max, codes)", named.Quote(name), len(v))
	}
	lo, loOK := number(v[0])
	hi, hiOK := number(v[1])
	a, ok := v[2].(*pickle.Array)
	if !loOK || !hiOK || !ok || a.DType != "uint8" {
		return t, named.Refused(fixShape, "under the name %s it has a tuple that is not two numbers and a uint8 array", named.Quote(name))
	}
	finite := func(v float64) bool { return v-v == 0 && math.Abs(v) <= math.MaxFloat32 }
	if !finite(lo) || !finite(hi) || lo > hi {
		return t, named.Damaged("the codes of %s lie on the impossible range from %g to %g", named.Quote(name), lo, hi)
	}
	t, err = array(name, a, b)
	if err != nil {
		return t, err
	}
	if err := b.Take(len(t.Int), 5); err != nil {
		return t, err
	}
	t.Codes = make([]uint8, len(t.Int))
	for i, q := range t.Int {
		t.Codes[i] = uint8(q)
	}
	t.Int, t.Float = nil, make([]float32, len(t.Codes))
	t.Coded, t.Min, t.Max = true, lo, hi
	return t, affine.Decode8(t.Codes, lo, hi, t.Float)
}

// number returns the value of a scalar of NumPy's or Python's.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case *pickle.Array:
		if len(v.Shape) > 0 || v.DType == "" {
			return 0, false
		}
		t, err := named.Decode("", v.DType, v.Data, named.Contiguous(nil, false), named.NewBudget(0))
		switch {
		case err != nil:
		case t.Double != nil:
			return t.Double[0], true
		case t.Float != nil:
			return float64(t.Float[0]), true
		case t.Int != nil:
			return float64(t.Int[0]), true
		}
	}
	return 0, false
}
