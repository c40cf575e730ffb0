package layers

import (
	"fmt"
	"strings"

	"github.com/potstill/potstill/engine"
)

// A Summary is what a net costs for one image. Its JSON field names are an
// interface.
type Summary struct {
	Arch  Arch  `json:"arch"`
	Input []int `json:"input"` // C, H, W
	// Params counts parameters as torchsummary does: weights and biases, not
	// the running statistics of BatchNorm2d. Trainable are those that are not frozen.
	Params    int `json:"params"`
	Trainable int `json:"trainable"`
	// MACs counts multiply-adds of convolutions and linear layers, one forward
	// pass.
	MACs int64 `json:"macs"`
	// MultAdds counts them as torchinfo does: each weight of a convolution and
	// each bias of one once a pixel of its output, every other parameter once.
	MultAdds int64 `json:"mult_adds"`
	// Bytes is the size of all tensors of the state_dict, in full:
	// parameters, running statistics and counters.
	Bytes int64 `json:"bytes"`
	// The sizes in MB (2²⁰ bytes) as torchsummary prints them: the input, all
	// layers' outputs counted twice (forward and backward), the parameters,
	// and their sum.
	InputMB           float64        `json:"input_mb"`
	ForwardBackwardMB float64        `json:"forward_backward_mb"`
	ParamsMB          float64        `json:"params_mb"`
	TotalMB           float64        `json:"total_mb"`
	Layers            []LayerSummary `json:"layers"`
}

// A LayerSummary is one layer's part in a Summary.
type LayerSummary struct {
	Name   string `json:"name"`
	Type   string `json:"type"`   // PyTorch's, as in "Conv2d"
	Output []int  `json:"output"` // [C,H,W], or [C]
	Params int    `json:"params"`
	MACs   int64  `json:"macs"`
	Bytes  int64  `json:"bytes"` // of the layer's tensors, buffers included
	// Quantizers are the layer's: see Summary.AddQuantizers.
	Quantizers []QuantizerSummary `json:"quantizers,omitempty"`
}

// A QuantizerSummary tells of a quantizer.
type QuantizerSummary struct {
	Of     string  `json:"of"` // weight, input or output
	Bits   int     `json:"bits"`
	Scales int     `json:"scales"` // one, or one a channel
	Min    float64 `json:"min"`    // the least number that a code stands for
	Max    float64 `json:"max"`
}

// AddQuantizers adds the quantizers of the net and their ranges in a state of it.
func (s *Summary) AddQuantizers(n *Net, state StateDict) error {
	all, err := n.Quantizers(state)
	if err != nil {
		return err
	}
	for _, q := range all {
		for i := range s.Layers {
			if l := &s.Layers[i]; l.Name == q.Module {
				least, most := q.Range()
				l.Quantizers = append(l.Quantizers, QuantizerSummary{Of: q.Role, Bits: q.Bits, Scales: len(q.Scale), Min: least, Max: most})
			}
		}
	}
	return nil
}

// Summary lists the modules in the order of their execution for one image of
// inH×inW pixels. The rows are torchsummary's, every leaf module once a call,
// but for what PyTorch's modules hide: a sum of two branches (Add) is a row,
// and a block around modules (BasicBlock) is not.
func (m *Model) Summary(inH, inW int) (Summary, error) {
	n := m.net
	if inH < 1 || inW < 1 {
		return Summary{}, fmt.Errorf("summary of %s: an image of %dx%d pixels has none", n, inH, inW)
	}
	c := n.Input.Channels
	s := Summary{Arch: m.Arch(), Input: []int{c, inH, inW}}
	b := engine.NewBuilder(engine.NewGraph())
	o := m.Build(b, b.Input(Image, engine.F32(1, inH, inW, c)), false)
	if err := b.Err(); err != nil {
		return Summary{}, fmt.Errorf("summary of %s for %dx%dx%d: %w", n, c, inH, inW, err)
	}
	cost := make(map[string]int64)
	for _, node := range b.Graph().Nodes() {
		cost[node.Scope] += macs(node)
	}
	seen, outputs := make(map[string]bool), int64(0)
	for i := range n.Modules {
		mod := &n.Modules[i]
		y := o.At(mod.Name)
		row := LayerSummary{Name: mod.Name, Type: KindName(mod.Kind), Output: outputShape(mod.Kind, y), MACs: cost[mod.Name]}
		uses := int64(1) // of a parameter, as torchinfo counts
		if strings.Contains(row.Type, "Conv") {
			uses = int64(y.Len() / row.Output[0])
		}
		for _, p := range mod.Params() {
			if !p.Buffer {
				s.MultAdds += uses * int64(p.Spec.Len())
			}
			if name := mod.Tensor(p.Role); !seen[name] {
				seen[name] = true
				row.Bytes += int64(p.Spec.Bytes())
				if !p.Buffer {
					row.Params += p.Spec.Len()
				}
			}
		}
		outputs += int64(y.Len())
		s.MACs += row.MACs
		s.Bytes += row.Bytes
		s.Layers = append(s.Layers, row)
	}
	const mb = 1 << 20
	s.Params = m.Params()
	for _, slot := range m.slots {
		if slot.Variable.Trainable {
			s.Trainable += slot.Variable.Len()
		}
	}
	s.InputMB = 4 * float64(c*inH*inW) / mb
	s.ForwardBackwardMB = 2 * 4 * float64(outputs) / mb
	s.ParamsMB = 4 * float64(s.Params) / mb
	s.TotalMB = s.InputMB + s.ForwardBackwardMB + s.ParamsMB
	return s, nil
}

// macs returns the multiply-adds of a node, 0 for ops that are not counted.
func macs(n *engine.Node) int64 {
	c, ok := n.Op.(engine.Coster)
	if !ok {
		return 0
	}
	return c.Cost(specs(n.In), specs(n.Out)) / 2
}

func specs(vs []*engine.Value) []engine.Spec {
	out := make([]engine.Spec, len(vs))
	for i, v := range vs {
		out[i] = v.Spec
	}
	return out
}

// outputShape returns PyTorch's shape of the layer's output, without the batch.
func outputShape(k Kind, y *engine.Value) []int {
	if _, h, w, c, ok := y.NHWC(); ok {
		return []int{c, h, w}
	}
	if len(y.Shape) == 0 {
		return []int{}
	}
	shape := y.Shape[1:]
	switch k.(type) {
	case AdaptiveAvgPool2d, AdaptiveMaxPool2d:
		return []int{shape[0], 1, 1}
	}
	return append([]int{}, shape...)
}
