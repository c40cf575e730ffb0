package yamldoc

import (
	"reflect"

	"github.com/goccy/go-yaml/ast"
)

// A NodeDecoder decodes itself from a node of a document, for example because
// which keys it has depends on one of them. The method is called on a pointer
// to the value; if it decodes the node into the value itself, it has to do so
// through a type without the method, so that it does not call itself.
type NodeDecoder interface {
	DecodeNode(n *Node) error
}

// A Node is a part of a document: keys and values, a list, or a single value.
type Node struct {
	d    *decoding
	node ast.Node
	path string
}

// Path returns where the node stands, "steps.student.from[0]".
func (n *Node) Path() string { return n.path }

// Errorf returns the *[Error] at the value of key, or of the node itself if key
// is "".
func (n *Node) Errorf(key, format string, args ...any) error {
	if key == "" {
		return n.d.errAt(n.node, format, args...)
	}
	return n.d.source.Errorf(Join(n.path, key), format, args...)
}

// Decode decodes the node into out, a pointer, as Decoder.Decode does. If out
// points to a struct, the keys in except are passed over: they are known, but
// are not the struct's.
func (n *Node) Decode(out any, except ...string) error {
	return n.d.value(n.node, reflect.ValueOf(out).Elem(), n.path, except)
}

// Key decodes the value of one key into out, a pointer. It reports whether the
// node, which must be keys and values, has the key.
func (n *Node) Key(key string, out any) (found bool, err error) {
	err = n.Each(func(k string, v *Node) error {
		if k != key {
			return nil
		}
		found = true
		return v.Decode(out)
	})
	return found, err
}

// Each calls f for each key and its value, in the document's order. The node
// must be keys and values.
func (n *Node) Each(f func(key string, value *Node) error) error {
	return n.d.mapping(n.node, n.path, func(key string, _, child ast.Node) error {
		return f(key, &Node{n.d, child, Join(n.path, key)})
	})
}
