// Package onnxtest writes small ONNX files for tests, sound ones and others: it
// checks nothing.
package onnxtest

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Message is a protobuf message: fields one behind the other.
type Message []byte

// Int adds a number.
func (m Message) Int(field int, v int64) Message {
	m = protowire.AppendTag(m, protowire.Number(field), protowire.VarintType)
	return protowire.AppendVarint(m, uint64(v))
}

// Text adds a text, bytes or a message.
func (m Message) Text(field int, s string) Message {
	m = protowire.AppendTag(m, protowire.Number(field), protowire.BytesType)
	return protowire.AppendString(m, s)
}

// Msg adds a message.
func (m Message) Msg(field int, sub Message) Message { return m.Text(field, string(sub)) }

// Float adds a float32.
func (m Message) Float(field int, v float32) Message {
	m = protowire.AppendTag(m, protowire.Number(field), protowire.Fixed32Type)
	return protowire.AppendFixed32(m, math.Float32bits(v))
}

// The types of elements.
const (
	Float32 = 1
	Int64   = 7
	String  = 8
)

// Tensor is a TensorProto of a type with raw data.
func Tensor(name string, dtype int64, dims []int64, raw string) Message {
	m := Message{}
	for _, d := range dims {
		m = m.Int(1, d)
	}
	return m.Int(2, dtype).Text(8, name).Text(9, raw)
}

// Floats is the raw data of floats.
func Floats(v ...float32) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return string(b)
}

// Ints is the raw data of integers.
func Ints(v ...int64) string {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return string(b)
}

// External is a TensorProto of floats whose data lie in another file.
func External(name, location string, dims ...int64) Message {
	m := Message{}
	for _, d := range dims {
		m = m.Int(1, d)
	}
	return m.Int(2, Float32).Text(8, name).Msg(13, Message{}.Text(1, "location").Text(2, location)).Int(14, 1)
}

// Node is a NodeProto, named as its operator is.
func Node(op string, in, out []string, attrs ...Message) Message {
	m := Message{}
	for _, s := range in {
		m = m.Text(1, s)
	}
	for _, s := range out {
		m = m.Text(2, s)
	}
	m = m.Text(3, "the "+op).Text(4, op)
	for _, a := range attrs {
		m = m.Msg(5, a)
	}
	return m
}

// Attribute is an AttributeProto of an integer.
func Attribute(name string, v int64) Message { return Message{}.Text(1, name).Int(3, v).Int(20, 2) }

// AttributeInts is one of integers.
func AttributeInts(name string, v ...int64) Message {
	m := Message{}.Text(1, name).Int(20, 7)
	for _, x := range v {
		m = m.Int(8, x)
	}
	return m
}

// Info is a ValueInfoProto of floats; a size of -1 is open.
func Info(name string, dims ...int64) Message {
	shape := Message{}
	for _, d := range dims {
		dim := Message{}.Text(2, "N")
		if d >= 0 {
			dim = Message{}.Int(1, d)
		}
		shape = shape.Msg(1, dim)
	}
	return Message{}.Text(1, name).Msg(2, Message{}.Msg(1, Message{}.Int(1, Float32).Msg(2, shape)))
}

// A Graph is what a model is made of.
type Graph struct {
	Nodes, Tensors, Inputs, Outputs []Message
	Opset                           int64
}

// Bytes is the file.
func (g Graph) Bytes() []byte {
	m := Message{}
	for _, part := range []struct {
		field int
		list  []Message
	}{{1, g.Nodes}, {5, g.Tensors}, {11, g.Inputs}, {12, g.Outputs}} {
		for _, x := range part.list {
			m = m.Msg(part.field, x)
		}
	}
	return File(m, g.Opset)
}

// File is the file of a graph's message.
func File(graph Message, opset int64) []byte {
	m := Message{}.Int(1, 8).Msg(7, graph)
	if opset < 0 {
		return m // without a set of operators
	}
	return m.Msg(8, Message{}.Text(1, "").Int(2, opset))
}

// Small is a classifier of images [N,1,4,4]: a convolution, ReLU, the mean and a
// Gemm to two classes.
func Small() Graph {
	return Graph{
		Opset: 17,
		Nodes: []Message{
			Node("Conv", []string{"x", "conv.weight", "conv.bias"}, []string{"c"}, AttributeInts("pads", 1, 1, 1, 1)),
			Node("Relu", []string{"c"}, []string{"r"}),
			Node("GlobalAveragePool", []string{"r"}, []string{"p"}),
			Node("Flatten", []string{"p"}, []string{"f"}),
			Node("Gemm", []string{"f", "fc.weight", "fc.bias"}, []string{"y"}, Attribute("transB", 1)),
		},
		Tensors: []Message{
			Tensor("conv.weight", Float32, []int64{2, 1, 3, 3}, Floats(1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -2, -3, -4, -5, -6, -7, -8, -9)),
			Tensor("conv.bias", Float32, []int64{2}, Floats(0.5, 1)),
			Tensor("fc.weight", Float32, []int64{2, 2}, Floats(1, 2, 3, 4)),
			Tensor("fc.bias", Float32, []int64{2}, Floats(0, 1)),
		},
		Inputs:  []Message{Info("x", -1, 1, 4, 4)},
		Outputs: []Message{Info("y", -1, 2)},
	}
}
