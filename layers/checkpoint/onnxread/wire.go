package onnxread

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// A field is one of a message: a number, or bytes.
type field struct {
	num  protowire.Number
	typ  protowire.Type
	n    uint64
	body []byte
}

// fields calls each for the fields of a message, in their order.
func fields(what string, b []byte, each func(f field) error) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return named.Damaged("%s cannot be read as protobuf", what)
		}
		b = b[n:]
		f := field{num: num, typ: typ}
		switch typ {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.n = uint64(v)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.body, n = protowire.ConsumeBytes(b)
		default:
			return named.Damaged("%s has a group, which ONNX does not use", what)
		}
		if n < 0 {
			return named.Damaged("%s ends in the middle of field %d", what, num)
		}
		b = b[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

// A reader decodes messages within a budget of memory.
type reader struct {
	budget *named.Budget
	// open finds the bytes beside the file; nil where there is no folder.
	open func(location string, offset, length int64) ([]byte, error)
	// extra are the bytes that were read beside the file.
	extra int64
}

// text returns a field of text.
func (r *reader) text(f field) (string, error) {
	if err := r.budget.Take(1, len(f.body)+16); err != nil {
		return "", err
	}
	return string(f.body), nil
}

// ints adds the integers of a repeated field, packed or one by one.
func (r *reader) ints(to []int64, what string, f field) ([]int64, error) {
	if f.typ != protowire.BytesType {
		if err := r.budget.Take(1, 16); err != nil {
			return nil, err
		}
		return append(to, int64(f.n)), nil
	}
	n := 0
	for _, c := range f.body {
		if c < 0x80 {
			n++
		}
	}
	if err := r.budget.Take(n, 8); err != nil {
		return nil, err
	}
	out := make([]int64, len(to), len(to)+n)
	copy(out, to)
	for b := f.body; len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return nil, named.Damaged("%s has numbers that end in the middle", what)
		}
		out, b = append(out, int64(v)), b[n:]
	}
	return out, nil
}

// fixed adds the bytes of a repeated field of numbers of a fixed size, packed or
// one by one.
func (r *reader) fixed(to []byte, what string, f field, size int) ([]byte, error) {
	if f.typ == protowire.BytesType {
		if len(f.body)%size != 0 {
			return nil, named.Damaged("%s has numbers that end in the middle", what)
		}
		if to == nil {
			return f.body, nil // shared with the file's bytes, and not changed
		}
		if err := r.budget.Take(len(f.body), 2); err != nil {
			return nil, err
		}
		return append(to[:len(to):len(to)], f.body...), nil
	}
	if err := r.budget.Take(size, 4); err != nil {
		return nil, err
	}
	for i := range size {
		to = append(to, byte(f.n>>(8*i)))
	}
	return to, nil
}
