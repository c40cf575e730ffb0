package onnxread

import (
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// order puts the nodes into an order of execution, the file's own where that is
// one, and makes sure that every name is made once and that what is read is made.
func (m *Model) order() error {
	const graph = -1
	maker := make(map[string]int)
	for _, in := range m.Inputs {
		if _, twice := maker[in.Name]; twice {
			return named.Refused(fixONNX, "two inputs are named %s", named.Quote(in.Name))
		}
		maker[in.Name] = graph
	}
	for name := range m.Constants {
		maker[name] = graph
	}
	for i, n := range m.Nodes {
		for _, out := range n.Out {
			if out == "" {
				continue
			}
			if _, twice := maker[out]; twice {
				return named.Refused(fixONNX, "%s: its output %s is made twice", n.Label(), named.Quote(out))
			}
			maker[out] = i
		}
	}
	// waits counts the inputs that each node still waits for.
	waits, readers := make([]int, len(m.Nodes)), make([][]int, len(m.Nodes))
	for i, n := range m.Nodes {
		for _, in := range n.In {
			if in == "" {
				continue
			}
			from, ok := maker[in]
			if !ok {
				return named.Refused(fixONNX, "%s: its input %s is no input of the graph, no tensor of the file and no node's output", n.Label(), named.Quote(in))
			}
			if from != graph {
				waits[i]++
				readers[from] = append(readers[from], i)
			}
		}
	}
	for _, out := range m.Outputs {
		if _, ok := maker[out.Name]; !ok {
			return named.Refused(fixONNX, "its output %s is made by no node", named.Quote(out.Name))
		}
	}
	return m.sort(waits, readers)
}

// sort takes, again and again, the first nodes that wait for none.
func (m *Model) sort(waits []int, readers [][]int) error {
	sorted := make([]*Node, 0, len(m.Nodes))
	var next []int
	take := func(i int) {
		next = append(next[:0], i)
		for len(next) > 0 {
			k := next[0]
			next = next[1:]
			sorted = append(sorted, m.Nodes[k])
			waits[k] = -1
			for _, r := range readers[k] {
				if waits[r]--; waits[r] == 0 && r < i {
					next = append(next, r) // it was passed over
				}
			}
		}
	}
	for i := range m.Nodes {
		if waits[i] == 0 {
			take(i)
		}
	}
	if len(sorted) == len(m.Nodes) {
		m.Nodes = sorted
		return nil
	}
	for i, n := range m.Nodes {
		if waits[i] > 0 {
			return named.Refused(fixONNX, "%s: it waits for its own output, so that the graph is a cycle", n.Label())
		}
	}
	return nil
}
