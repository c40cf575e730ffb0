package quant

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers"
)

// points say where a net gets quantizers.
type points struct {
	// weights are the convolutions and linear layers, in the order of execution;
	// all of them also read integers.
	weights []string
	// outputs are the modules whose outputs are rounded, inputs those whose inputs
	// are, because what they read is not rounded where it is made.
	outputs, inputs []string
	// floats says why a module stays in float32.
	floats map[string]string
}

// A role is how a kind of module takes part in a net of integers.
type role int

const (
	stays    role = iota // computed in float32
	weighted             // a convolution or a linear layer
	sums                 // makes new numbers of integers: sums, products, means, functions
	moves                // passes integers on as they are, with their scale
	clips                // ReLU and ReLU6: part of what is before, where nothing else reads that
)

// roleOf returns the role of a kind.
func roleOf(k layers.Kind) role {
	switch k.(type) {
	case layers.Conv2d, layers.Linear:
		return weighted
	case layers.Add, layers.Mul, layers.Concat, layers.AvgPool2d, layers.AdaptiveAvgPool2d,
		layers.Hardswish, layers.Hardsigmoid, layers.Sigmoid, layers.SiLU, layers.LeakyReLU, layers.Tanh, layers.ELU, layers.GELU, layers.Mish, layers.Hardtanh:
		return sums
	case layers.MaxPool2d, layers.AdaptiveMaxPool2d, layers.Flatten, layers.Dropout, layers.ChannelShuffle, layers.Slice, layers.StochasticDepth:
		return moves
	case layers.ReLU, layers.ReLU6:
		return clips
	}
	return stays
}

// pointsOf plans the quantizers of a net whose batch norms are folded. Convolutions
// and linear layers round their weight and read rounded numbers; what follows
// them, sums, products, pools and activations round what they make. ReLU and ReLU6
// are part of what is before them, so that the range is that behind them. The
// logits are not rounded: the last layer's sums are multiplied by its scale.
// What reads a value in float32 computes in float32, but for layers with weights,
// which then round what they read.
func pointsOf(n *layers.Net, skip func(module string) bool) points {
	p := points{floats: make(map[string]string)}
	integer := map[string]bool{}
	round := map[string]bool{}
	readers := map[string][]*layers.Module{}
	for i := range n.Modules {
		for _, from := range n.Modules[i].In {
			readers[from] = append(readers[from], &n.Modules[i])
		}
	}
	for i := range n.Modules {
		m := &n.Modules[i]
		kind := roleOf(m.Kind)
		floating := slices.IndexFunc(m.In, func(from string) bool { return !integer[from] })
		switch {
		case skip != nil && skip(m.Name):
			p.floats[m.Name] = "it was asked to stay"
			continue
		case kind == stays:
			p.floats[m.Name] = fmt.Sprintf("a %s has no form in integers", layers.KindName(m.Kind))
			continue
		case kind == weighted:
			p.weights = append(p.weights, m.Name)
			if floating >= 0 {
				p.inputs = append(p.inputs, m.Name)
			}
		case floating >= 0 && m.In[floating] == layers.Image && kind == moves:
			continue // what reads it rounds
		case floating >= 0:
			p.floats[m.Name] = fmt.Sprintf("it reads %s in float32", m.In[floating])
			continue
		}
		integer[m.Name] = true
		if m.Name != n.Output && kind != moves {
			round[m.Name] = true
		}
		// What is only read by a ReLU is rounded behind it.
		if next := readers[m.Name]; (kind == weighted || kind == sums) && len(next) == 1 && roleOf(next[0].Kind) == clips && fuses(m.Kind) {
			delete(round, m.Name)
		}
	}
	p.drop(n, readers, round)
	return p
}

// fuses reports whether a ReLU behind such a module is part of it.
func fuses(k layers.Kind) bool {
	switch k.(type) {
	case layers.Conv2d, layers.Linear, layers.Add:
		return true
	}
	return false
}

// drop leaves out roundings that no integer layer reads, and lists the others.
func (p *points) drop(n *layers.Net, readers map[string][]*layers.Module, round map[string]bool) {
	used := map[string]bool{}
	for i := len(n.Modules) - 1; i >= 0; i-- {
		m := &n.Modules[i]
		for _, r := range readers[m.Name] {
			switch {
			case slices.Contains(p.weights, r.Name), round[r.Name]:
				used[m.Name] = true
			case p.floats[r.Name] == "" && used[r.Name]:
				used[m.Name] = true
			}
		}
		if round[m.Name] && !used[m.Name] {
			delete(round, m.Name)
		}
	}
	for i := range n.Modules {
		if name := n.Modules[i].Name; round[name] {
			p.outputs = append(p.outputs, name)
		}
	}
}
