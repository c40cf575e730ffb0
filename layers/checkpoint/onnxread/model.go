package onnxread

import "github.com/potstill/potstill/layers/checkpoint/named"

// A Model is the content of an ONNX file.
type Model struct {
	// Path is the file, "" where bytes were decoded.
	Path string
	// IR is the version of the format, Opset that of the standard operators.
	IR, Opset int64
	Producer  string
	// Metadata are the entries of metadata_props, key and value.
	Metadata [][2]string
	// Name is the graph's.
	Name string
	// Nodes are in an order of execution: each reads what stands before it.
	Nodes []*Node
	// Inputs are those of the graph that no initializer has a value for.
	Inputs  []Info
	Outputs []Info
	// Constants are the initializers, by name.
	Constants map[string]*Tensor
	// Bytes is the size of the file and of the external data that were read.
	Bytes int64
}

// A Node applies an operator to tensors, which have names. An input that is
// left out has the name "".
type Node struct {
	Name, Op string
	In, Out  []string
	Attrs    map[string]*Attr
	// Scope is the path of the PyTorch module that the node comes from, "" where
	// the exporter does not tell.
	Scope string
}

// An Attr is an attribute of a node. One of its values is set.
type Attr struct {
	Int    int64
	Float  float32
	Text   string
	Ints   []int64
	Floats []float32
	Texts  []string
	Tensor *Tensor
	// Graph says that the attribute is a graph, which is not read.
	Graph bool
}

// A Tensor is a constant, in row-major order.
type Tensor struct {
	Name  string
	Shape []int
	// DType is the type of the elements as PyTorch spells it: see named.Tensor.
	DType string
	// Float holds the values of floats, Int those of integers and truth values.
	Float []float32
	Int   []int64
	// Double holds those of float64 in full.
	Double []float64
	// External says that they lay in a file beside the model.
	External bool
}

// Bytes returns how many bytes the elements have.
func (t *Tensor) Bytes() int64 {
	return int64(max(len(t.Float), len(t.Int))) * int64(named.Size(t.DType))
}

// An Info describes an input or an output of the graph.
type Info struct {
	Name string
	// DType is the type of the elements, "" where it is not told.
	DType string
	// Dims are its sizes, -1 where one is open; HasShape says whether they are told.
	Dims     []int
	HasShape bool
	// Params name the open sizes, "" for those without a name.
	Params []string
}

// Int returns an attribute that is an integer, or what it is if left out.
func (n *Node) Int(name string, otherwise int) int {
	if a := n.Attrs[name]; a != nil {
		return int(a.Int)
	}
	return otherwise
}

// Float returns an attribute that is a float, or what it is if left out.
func (n *Node) Float(name string, otherwise float32) float32 {
	if a := n.Attrs[name]; a != nil {
		return a.Float
	}
	return otherwise
}

// Text returns an attribute that is a text, or what it is if left out.
func (n *Node) Text(name, otherwise string) string {
	if a := n.Attrs[name]; a != nil {
		return a.Text
	}
	return otherwise
}

// Ints returns an attribute that is a list of integers, nil if left out.
func (n *Node) Ints(name string) []int {
	a := n.Attrs[name]
	if a == nil {
		return nil
	}
	out := make([]int, len(a.Ints))
	for i, v := range a.Ints {
		out[i] = int(v)
	}
	return out
}

// Has reports whether the node has the attribute.
func (n *Node) Has(name string) bool { return n.Attrs[name] != nil }

// Input returns the name of an input, "" where it is left out.
func (n *Node) Input(i int) string {
	if i < len(n.In) {
		return n.In[i]
	}
	return ""
}
