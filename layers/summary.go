package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// A Summary is what a net costs for one image. Its JSON field names are an
// interface.
type Summary struct {
	Arch  Arch  `json:"arch"`
	Input []int `json:"input"` // C, H, W
	// Params counts parameters as torchsummary does: weights and biases, not
	// the running statistics of BatchNorm2d. All of them are trainable.
	Params    int `json:"params"`
	Trainable int `json:"trainable"`
	// MACs counts multiply-adds of convolutions and linear layers, one forward
	// pass.
	MACs int64 `json:"macs"`
	// Bytes is the size of all tensors of the state_dict, unquantised:
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
}

// Summary lists the layers in the order of their execution for one image of
// inH×inW pixels. The rows are torchsummary's: every leaf module once a call,
// and every BasicBlock behind its parts, with no parameters of its own.
func (m *Model) Summary(inH, inW int) (Summary, error) {
	if inH < 1 || inW < 1 {
		return Summary{}, fmt.Errorf("summary of %s: an image of %dx%d pixels has none", m.arch.Family, inH, inW)
	}
	c := m.inChannels()
	s := Summary{Arch: m.Arch(), Input: []int{c, inH, inW}}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("image", engine.F32(1, inH, inW, c))
	done, seen, outputs := 0, make(map[Layer]bool), int64(0)
	trace(m.net, b, x, false, func(l Layer, y *engine.Value) {
		row := LayerSummary{Name: l.Name(), Type: typeName(l), Output: outputShape(l, y)}
		for _, n := range b.Graph().Nodes()[done:] {
			row.MACs += macs(n)
		}
		done = len(b.Graph().Nodes())
		if _, ok := l.(container); !ok && !seen[l] {
			row.Params, row.Bytes = params(l.Slots()), stateBytes(l.Slots())
		}
		seen[l] = true
		outputs += int64(y.Len())
		s.MACs += row.MACs
		s.Layers = append(s.Layers, row)
	})
	if err := b.Err(); err != nil {
		return Summary{}, fmt.Errorf("summary of %s for %dx%dx%d: %w", m.arch.Family, c, inH, inW, err)
	}
	const mb = 1 << 20
	s.Params, s.Trainable, s.Bytes = m.Params(), m.Params(), stateBytes(m.slots)
	s.InputMB = 4 * float64(c*inH*inW) / mb
	s.ForwardBackwardMB = 2 * 4 * float64(outputs) / mb
	s.ParamsMB = 4 * float64(s.Params) / mb
	s.TotalMB = s.InputMB + s.ForwardBackwardMB + s.ParamsMB
	return s, nil
}

// inChannels returns the channels of the image that the net takes: the Arch's,
// or for a composed net those of its first convolution.
func (m *Model) inChannels() int {
	if m.arch.InChannels > 0 {
		return m.arch.InChannels
	}
	c := 3
	var walk func(l Layer) bool
	walk = func(l Layer) bool {
		if conv, ok := l.(*Conv2d); ok {
			c = conv.in
			return true
		}
		if parent, ok := l.(container); ok {
			for _, part := range parent.children() {
				if walk(part) {
					return true
				}
			}
		}
		return false
	}
	walk(m.net)
	return c
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

func stateBytes(slots []Slot) int64 {
	var n int64
	for _, s := range slots {
		n += int64(s.Variable.Bytes())
	}
	return n
}

// typeName returns the layer's type without its package.
func typeName(l Layer) string {
	s := fmt.Sprintf("%T", l)
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '.' || s[i] == '*' {
			return s[i+1:]
		}
	}
	return s
}

// outputShape returns PyTorch's shape of the layer's output, without the batch.
func outputShape(l Layer, y *engine.Value) []int {
	if _, h, w, c, ok := y.NHWC(); ok {
		return []int{c, h, w}
	}
	if len(y.Shape) == 0 {
		return []int{}
	}
	shape := y.Shape[1:]
	if _, ok := l.(*AdaptiveAvgPool2d); ok {
		return []int{shape[0], 1, 1}
	}
	return append([]int{}, shape...)
}
