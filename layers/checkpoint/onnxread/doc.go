// Package onnxread reads ONNX files (onnx.ai) into a graph of named nodes: the
// model, its operators with their attributes, and the values of its constants.
// What the nodes compute is package onnxnet's business.
//
//	Read(path string) (*Model, error)
//	Decode(b []byte) (*Model, error)
//	Sniff(head []byte) bool
//	ReadTensor(path string) (*Tensor, error)
//
// The format is onnx.proto3, decoded here field by field; the numbers of its
// fields stand beside them. Files come from strangers, so that nothing is
// believed: the file's bytes bound what is allocated ([named.Expansion] bytes
// for each, and a constant), numbers of nodes, tensors and dimensions are
// limited, no tensor has 2^31 elements or more, data must have the length of
// their shape, names must be unique, every input must be made by an earlier
// node, and graphs within nodes are not descended into, so that nesting has no
// depth. Values beside the file ("external data") are read from files inside
// the model's folder only; a path or a link that leads out of it is refused.
//
// Every error is a [named.FormatError]: one line.
package onnxread
