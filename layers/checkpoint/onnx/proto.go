package onnx

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The types of elements that are written, as TensorProto.DataType counts them.
const (
	typeFloat = 1
	typeUint8 = 2
	typeInt8  = 3
	typeInt32 = 6
	typeInt64 = 7
)

// The types of attributes, as AttributeProto.AttributeType counts them.
const (
	attrFloat  = 1
	attrInt    = 2
	attrString = 3
	attrInts   = 7
)

// A message is a protobuf message being written.
type message []byte

func (m *message) int(field protowire.Number, v int64) {
	*m = protowire.AppendTag(*m, field, protowire.VarintType)
	*m = protowire.AppendVarint(*m, uint64(v))
}

func (m *message) string(field protowire.Number, s string) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendString(*m, s)
}

func (m *message) bytes(field protowire.Number, b []byte) {
	*m = protowire.AppendTag(*m, field, protowire.BytesType)
	*m = protowire.AppendBytes(*m, b)
}

func (m *message) float(field protowire.Number, v float32) {
	*m = protowire.AppendTag(*m, field, protowire.Fixed32Type)
	*m = protowire.AppendFixed32(*m, math.Float32bits(v))
}

// ints writes a repeated int64, packed.
func (m *message) ints(field protowire.Number, v []int64) {
	var body []byte
	for _, x := range v {
		body = protowire.AppendVarint(body, uint64(x))
	}
	m.bytes(field, body)
}

// An attr is a node's attribute: an int, a list of ints, a float or a text.
type attr struct {
	name  string
	kind  int64
	ints  []int64
	float float32
	text  string
}

func intAttr(name string, v int) attr {
	return attr{name: name, kind: attrInt, ints: []int64{int64(v)}}
}

func intsAttr(name string, v ...int) attr {
	a := attr{name: name, kind: attrInts}
	for _, x := range v {
		a.ints = append(a.ints, int64(x))
	}
	return a
}

func floatAttr(name string, v float32) attr { return attr{name: name, kind: attrFloat, float: v} }

func stringAttr(name, v string) attr { return attr{name: name, kind: attrString, text: v} }

// encode returns the AttributeProto.
func (a attr) encode() (m message) {
	m.string(1, a.name)
	switch a.kind {
	case attrFloat:
		m.float(2, a.float)
	case attrInt:
		m.int(3, a.ints[0])
	case attrString:
		m.string(4, a.text)
	default:
		m.ints(8, a.ints)
	}
	m.int(20, a.kind)
	return m
}

// A node applies an operator of ONNX to tensors, by name.
type node struct {
	op, name string
	in       []string
	out      string
	attrs    []attr
}

// encode returns the NodeProto.
func (n node) encode() (m message) {
	for _, s := range n.in {
		m.string(1, s)
	}
	m.string(2, n.out)
	m.string(3, n.name)
	m.string(4, n.op)
	for _, a := range n.attrs {
		m.bytes(5, a.encode())
	}
	return m
}

// A tensor is an initializer: its values are little-endian bytes.
type tensor struct {
	name  string
	dtype int64
	shape []int
	raw   []byte
}

// encode returns the TensorProto.
func (t tensor) encode() message {
	m := make(message, 0, len(t.raw)+len(t.name)+64)
	var dims []int64
	for _, d := range t.shape {
		dims = append(dims, int64(d))
	}
	if len(dims) > 0 {
		m.ints(1, dims)
	}
	m.int(2, t.dtype)
	m.string(8, t.name)
	m.bytes(9, t.raw)
	return m
}

// batchName is the name of the axis of any length.
const batchName = "N"

// batchOf returns the ValueInfoProto of a float32 tensor of shape [N, shape…].
func batchOf(name string, shape ...int) (m message) {
	var batch, dims message
	batch.string(2, batchName)
	dims.bytes(1, batch)
	for _, d := range shape {
		var dim message
		dim.int(1, int64(d))
		dims.bytes(1, dim)
	}
	var t, typ message
	t.int(1, typeFloat)
	t.bytes(2, dims)
	typ.bytes(1, t)
	m.string(1, name)
	m.bytes(2, typ)
	return m
}
