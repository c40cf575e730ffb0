package onnxnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// The sets of operators that are understood.
const (
	minOpset = 7
	maxOpset = 28
)

// A graph is a model made ready: what is constant whatever the image is folded,
// patterns that stand for one operator are that operator, and what leads to no
// output is gone.
type graph struct {
	model  *onnxread.Model
	opset  int
	nodes  []*onnxread.Node
	consts map[string]*array
	maker  map[string]*onnxread.Node
	fold   folder
	// folded counts the nodes that were, found the patterns by what they stand for.
	folded int
	found  map[string]int
}

// newGraph makes a model ready.
func newGraph(m *onnxread.Model) (*graph, error) {
	if m.Opset < minOpset || m.Opset > maxOpset {
		return nil, named.Refused(fmt.Sprintf("export it with an operator set from %d to %d, as opset_version=17", minOpset, maxOpset),
			"it uses version %d of ONNX's operators", m.Opset)
	}
	g := &graph{
		model: m, opset: int(m.Opset), fold: folder{left: maxFolded}, found: make(map[string]int),
		consts: make(map[string]*array, len(m.Constants)), maker: make(map[string]*onnxread.Node, len(m.Nodes)),
	}
	for name, t := range m.Constants {
		g.consts[name] = fromTensor(t)
	}
	for _, n := range m.Nodes {
		ok, err := g.foldNode(n)
		if err != nil {
			return nil, err
		}
		if ok {
			g.folded++
			continue
		}
		g.nodes = append(g.nodes, n)
		for _, out := range n.Out {
			if out != "" {
				g.maker[out] = n
			}
		}
	}
	g.recognize()
	g.prune()
	return g, nil
}

// foldNode computes a node if all that it reads is constant.
func (g *graph) foldNode(n *onnxread.Node) (bool, error) {
	in := make([]*array, len(n.In))
	for i, name := range n.In {
		if name != "" {
			if in[i] = g.consts[name]; in[i] == nil {
				return false, nil
			}
		}
	}
	out, ok, err := g.fold.fold(n, g.opset, in)
	if err != nil {
		return false, refused(n, err)
	}
	if !ok {
		return false, nil
	}
	for i, name := range n.Out {
		if name != "" && i < len(out) {
			g.consts[name] = out[i]
		}
	}
	return true, nil
}

// prune drops the nodes that lead to no output.
func (g *graph) prune() {
	needed := make(map[string]bool)
	for _, out := range g.model.Outputs {
		needed[out.Name] = true
	}
	kept := g.nodes[:0:0]
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		if !slices.ContainsFunc(n.Out, func(s string) bool { return needed[s] }) {
			continue
		}
		for _, in := range n.In {
			needed[in] = true
		}
		kept = append(kept, n)
	}
	slices.Reverse(kept)
	g.nodes = kept
}

// readers returns how many nodes and outputs of the graph read each tensor.
func (g *graph) readers() map[string]int {
	count := make(map[string]int)
	for _, n := range g.nodes {
		for _, in := range n.In {
			count[in]++
		}
	}
	for _, out := range g.model.Outputs {
		count[out.Name]++
	}
	return count
}

// fixSimplify is what may help with a graph that is not understood.
const fixSimplify = "export the classifier alone, in evaluation mode, or replace that part of it before the export"

// refused is an error about a node, with its name and its operator.
func refused(n *onnxread.Node, err error) error {
	if f, ok := err.(*named.FormatError); ok {
		if strings.HasPrefix(f.Reason, "node ") {
			return f
		}
		return &named.FormatError{Reason: n.Label() + ": " + f.Reason, Fix: f.Fix}
	}
	return named.Refused(fixSimplify, "%s: %v", n.Label(), err)
}
