package onnx

import (
	"cmp"
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// The names of the file's input and output.
const (
	inputName  = "images"
	outputName = "logits"
)

// A net is a model's inference graph for one image, with the names that its
// values have in the file.
type net struct {
	graph         *engine.Graph
	input, logits *engine.Value
	names         map[*engine.Value]string
	uses          map[*engine.Value][]*engine.Node
	taken         map[string]bool
}

// newNet builds the graph of m for batches of the given number of images of
// size×size pixels.
func newNet(m *layers.Model, batch, size int) (*net, error) {
	b := engine.NewBuilder(engine.NewGraph())
	n := &net{
		graph: b.Graph(),
		names: make(map[*engine.Value]string),
		uses:  make(map[*engine.Value][]*engine.Node),
		taken: map[string]bool{inputName: true, outputName: true},
	}
	n.input = b.Input(inputName, engine.F32(batch, size, size, m.Net().Input.Channels))
	n.logits = m.Forward(b, n.input, false)
	if err := b.Err(); err != nil {
		return nil, fmt.Errorf("images of %dx%d pixels: %w", size, size, err)
	}
	if len(n.logits.Shape) != 2 || n.logits == n.input {
		return nil, fmt.Errorf("the net's output is %v; logits are [N,classes]", n.logits.Spec)
	}
	n.names[n.input], n.names[n.logits] = inputName, outputName
	for _, node := range n.graph.Nodes() {
		for _, v := range node.In {
			n.uses[v] = append(n.uses[v], node)
		}
		if v := node.Out[0]; v != n.logits {
			n.names[v] = n.unique(nodeName(node))
		}
	}
	return n, nil
}

// nodeName is the name of the module that the node was built for.
func nodeName(n *engine.Node) string { return cmp.Or(n.Scope, engine.OpName(n.Op)) }

// unique returns the name, with a number behind it where it is taken.
func (n *net) unique(name string) string {
	free := name
	for i := 1; n.taken[free]; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	n.taken[free] = true
	return free
}

// soleUser returns the node that alone reads v, nil if there is none or v is
// the net's output.
func (n *net) soleUser(v *engine.Value) *engine.Node {
	if u := n.uses[v]; len(u) == 1 && v != n.logits {
		return u[0]
	}
	return nil
}
