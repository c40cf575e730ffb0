package layers

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/yamldoc"
)

func init() {
	Register(ConstantPad2d{})
	Register(ReflectionPad2d{})
	Register(ReplicationPad2d{})
}

// Borders is the padding of PyTorch's padding layers: [left, right, top, bottom].
// Files hold a number where all four are equal.
type Borders [4]int

// Pads returns the same in the order of convolutions.
func (b Borders) Pads() Pads { return Pads{b[2], b[0], b[3], b[1]} }

// MarshalJSON implements json.Marshaler.
func (b Borders) MarshalJSON() ([]byte, error) {
	if b == (Borders{b[0], b[0], b[0], b[0]}) {
		return json.Marshal(b[0])
	}
	return json.Marshal([4]int(b))
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *Borders) UnmarshalJSON(text []byte) error { return setJSON(text, b.set) }

// DecodeNode implements yamldoc.NodeDecoder.
func (b *Borders) DecodeNode(n *yamldoc.Node) error { return setNode(n, b.set) }

func (b *Borders) set(n []int) error {
	switch len(n) {
	case 1:
		*b = Borders{n[0], n[0], n[0], n[0]}
	case 4:
		*b = Borders(n)
	default:
		return fmt.Errorf("%d numbers; give one, or [left, right, top, bottom]", len(n))
	}
	return nil
}

// check looks at the settings of a padding layer.
func (b Borders) check(inputs int) error {
	if !b.Pads().within(0, maxWidth) {
		return fmt.Errorf("a padding of %v: give numbers from 0 to %d", [4]int(b), maxWidth)
	}
	return one(inputs)
}

func (b Borders) build(c *Call, mode engine.PadMode, value float64) *engine.Value {
	if b == (Borders{}) {
		return c.In[0]
	}
	return c.One(engine.Pad2D{Pad: engine.Pads(b.Pads()), Mode: mode, Value: float32(value)}, c.In[0])
}

// ConstantPad2d is PyTorch's nn.ConstantPad2d: Value around the picture, [N,H,W,C]
// to [N,top+H+bottom,left+W+right,C].
type ConstantPad2d struct {
	unary
	Padding Borders `json:"padding"`
	Value   float64 `json:"value"`
}

// Check implements Kind.
func (k ConstantPad2d) Check(inputs int) error {
	if v := float64(float32(k.Value)); math.IsInf(v, 0) || math.IsNaN(v) {
		return fmt.Errorf("a value of %g; give a number that float32 can hold", k.Value)
	}
	return k.Padding.check(inputs)
}

// Build implements Kind.
func (k ConstantPad2d) Build(c *Call) *engine.Value {
	return k.Padding.build(c, engine.PadConstant, k.Value)
}

// Keep implements Kind.
func (k ConstantPad2d) Keep([][]int, []int) (Kind, error) { return k, nil }

// ReflectionPad2d is PyTorch's nn.ReflectionPad2d: the picture mirrored at its
// first and last pixels, by less than its extent.
type ReflectionPad2d struct {
	unary
	Padding Borders `json:"padding"`
}

// Check implements Kind.
func (k ReflectionPad2d) Check(inputs int) error { return k.Padding.check(inputs) }

// Build implements Kind.
func (k ReflectionPad2d) Build(c *Call) *engine.Value {
	return k.Padding.build(c, engine.PadReflect, 0)
}

// Keep implements Kind.
func (k ReflectionPad2d) Keep([][]int, []int) (Kind, error) { return k, nil }

// ReplicationPad2d is PyTorch's nn.ReplicationPad2d: the first and the last pixels
// again.
type ReplicationPad2d struct {
	unary
	Padding Borders `json:"padding"`
}

// Check implements Kind.
func (k ReplicationPad2d) Check(inputs int) error { return k.Padding.check(inputs) }

// Build implements Kind.
func (k ReplicationPad2d) Build(c *Call) *engine.Value {
	return k.Padding.build(c, engine.PadEdge, 0)
}

// Keep implements Kind.
func (k ReplicationPad2d) Keep([][]int, []int) (Kind, error) { return k, nil }
