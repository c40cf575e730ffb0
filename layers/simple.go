package layers

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// unary is the part that kinds of one input without tensors have in common,
// whose channels stay what they are.
type unary struct{}

// Check implements Kind.
func (unary) Check(inputs int) error { return one(inputs) }

// Params implements Kind.
func (unary) Params() []Param { return nil }

// Tie implements Kind: every output channel is the input channel of its number.
func (unary) Tie(t *Ties) { t.Output(t.Input(0)) }

func init() {
	Register(ReLU{})
	Register(ReLU6{})
	Register(Flatten{})
	Register(Dropout{P: 0.5})
	Register(Identity{})
}

// Identity is PyTorch's nn.Identity: x passes. With a quantizer of its output it is
// where an image, or a value that others read as it was, is rounded.
type Identity struct{ unary }

// Build implements Kind.
func (Identity) Build(c *Call) *engine.Value { return c.In[0] }

// Keep implements Kind.
func (k Identity) Keep([][]int, []int) (Kind, error) { return k, nil }

// ReLU is PyTorch's nn.ReLU: max(x, 0).
type ReLU struct{ unary }

// Build implements Kind.
func (ReLU) Build(c *Call) *engine.Value { return c.One(engine.Activation{F: engine.ReLU}, c.In[0]) }

// Keep implements Kind.
func (k ReLU) Keep([][]int, []int) (Kind, error) { return k, nil }

// ReLU6 is PyTorch's nn.ReLU6: min(max(x, 0), 6).
type ReLU6 struct{ unary }

// Build implements Kind.
func (ReLU6) Build(c *Call) *engine.Value { return c.One(engine.Activation{F: engine.ReLU6}, c.In[0]) }

// Keep implements Kind.
func (k ReLU6) Keep([][]int, []int) (Kind, error) { return k, nil }

// Flatten is PyTorch's nn.Flatten: [N,H,W,C] to [N,C·H·W] in PyTorch's order,
// element (c·H+h)·W+w. What is already [N,C] passes.
type Flatten struct{ unary }

// Build implements Kind.
func (Flatten) Build(c *Call) *engine.Value {
	if len(c.In[0].Shape) != 4 {
		return c.In[0]
	}
	return c.One(engine.Flatten{}, c.In[0])
}

// Tie implements Kind: channel c is the H·W features from c·H·W on.
func (Flatten) Tie(t *Ties) {
	x := t.Input(0)
	_, h, w, _, ok := t.Spec(0).NHWC()
	if !ok {
		t.Output(x)
		return
	}
	y := make([]Elem, 0, len(x)*h*w)
	for _, e := range x {
		for range h * w {
			y = append(y, e)
		}
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Flatten) Keep([][]int, []int) (Kind, error) { return k, nil }

// Dropout is PyTorch's nn.Dropout: in training each element is zeroed with
// probability P and the others are divided by 1-P; in evaluation x passes.
//
// Its random numbers are those of the graph's input engine.DropoutInput and of
// the module's name.
type Dropout struct {
	unary
	P float64 `json:"p"`
}

// Check implements Kind.
func (k Dropout) Check(inputs int) error {
	if !(k.P >= 0 && float32(k.P) < 1) { // it is computed in float32
		return fmt.Errorf("a dropout probability of %v is not in [0, 1)", k.P)
	}
	return one(inputs)
}

// Build implements Kind.
func (k Dropout) Build(c *Call) *engine.Value {
	if !c.Train || k.P == 0 {
		return c.In[0]
	}
	return c.One(engine.Dropout{P: float32(k.P), Stream: c.Stream()}, c.In[0], c.DropoutCounter())
}

// Keep implements Kind.
func (k Dropout) Keep([][]int, []int) (Kind, error) { return k, nil }
