package layers

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() {
	Register(Add{})
	Register(Concat{})
	Register(Slice{})
	Register(ChannelShuffle{Groups: 2})
}

// Add is the sum of its inputs, which have one shape: a residual connection.
type Add struct{}

// Check implements Kind.
func (Add) Check(inputs int) error {
	if inputs < 2 {
		return takes("two inputs or more", inputs)
	}
	return nil
}

// Params implements Kind.
func (Add) Params() []Param { return nil }

// Build implements Kind.
func (Add) Build(c *Call) *engine.Value { return c.One(engine.Add{}, c.In...) }

// Tie implements Kind: the inputs' channels of one number are one.
func (Add) Tie(t *Ties) {
	for i := 1; i < t.Inputs(); i++ {
		t.Unite(t.Input(0), t.Input(i))
	}
	t.Output(t.Input(0))
}

// Keep implements Kind.
func (k Add) Keep([][]int, []int) (Kind, error) { return k, nil }

// Concat is PyTorch's torch.cat along the channels: the inputs' channels one
// behind the other, [N,H,W,C_k] to [N,H,W,ΣC_k], or [N,C_k] to [N,ΣC_k].
type Concat struct{}

// Check implements Kind.
func (Concat) Check(inputs int) error {
	if inputs < 1 {
		return takes("one input or more", inputs)
	}
	return nil
}

// Params implements Kind.
func (Concat) Params() []Param { return nil }

// Build implements Kind.
func (Concat) Build(c *Call) *engine.Value { return c.One(engine.Concat{}, c.In...) }

// Tie implements Kind.
func (Concat) Tie(t *Ties) {
	var y []Elem
	for i := range t.Inputs() {
		y = append(y, t.Input(i)...)
	}
	t.Output(y)
}

// Keep implements Kind.
func (k Concat) Keep([][]int, []int) (Kind, error) { return k, nil }

// Slice is the channels from Start up to but without End, [N,H,W,C] or [N,C]:
// what PyTorch's split and chunk make several of.
type Slice struct {
	unary
	Start int `json:"start"`
	End   int `json:"end"`
}

// Check implements Kind.
func (k Slice) Check(inputs int) error {
	if k.End == 0 {
		return errors.New("it has no end; give the number of the first channel that is not taken")
	}
	if k.Start < 0 || k.Start >= k.End || k.End > maxFeatures {
		return fmt.Errorf("channels from %d up to %d: at least one is needed", k.Start, k.End)
	}
	return one(inputs)
}

// Build implements Kind.
func (k Slice) Build(c *Call) *engine.Value {
	return c.One(engine.Slice{Start: k.Start, End: k.End}, c.In[0])
}

// Tie implements Kind.
func (k Slice) Tie(t *Ties) { t.Output(t.Input(0)[k.Start:k.End]) }

// Keep implements Kind: the ends move down by the channels before them that go.
func (k Slice) Keep(in [][]int, _ []int) (Kind, error) {
	if in[0] == nil {
		return k, nil
	}
	var start, end int
	for _, at := range in[0] {
		if at < k.Start {
			start++
		}
		if at < k.End {
			end++
		}
	}
	k.Start, k.End = start, end
	return k, nil
}

// ChannelShuffle is PyTorch's nn.ChannelShuffle (Zhang et al., "ShuffleNet",
// arXiv:1707.01083), [N,H,W,C] to the same: output channel o is input channel
// (o mod g)·(C/g) + ⌊o/g⌋ for g Groups.
type ChannelShuffle struct {
	unary
	Groups int `json:"groups"`
}

// Check implements Kind.
func (k ChannelShuffle) Check(inputs int) error {
	if k.Groups < 1 || k.Groups > maxWidth {
		return fmt.Errorf("%d groups; give a number from 1 to %d", k.Groups, maxWidth)
	}
	return one(inputs)
}

// Build implements Kind.
func (k ChannelShuffle) Build(c *Call) *engine.Value {
	return c.One(engine.ChannelShuffle{Groups: k.Groups}, c.In[0])
}

// Tie implements Kind: what has one number in its group is cut alike, so that
// the rest is a shuffle again.
func (k ChannelShuffle) Tie(t *Ties) {
	x := t.Input(0)
	each := len(x) / k.Groups
	y := make([]Elem, len(x))
	for o := range y {
		y[o] = x[o%k.Groups*each+o/k.Groups]
	}
	for g := 1; g < k.Groups; g++ {
		t.Unite(x[:each], x[g*each:(g+1)*each])
	}
	t.Output(y)
}

// Keep implements Kind.
func (k ChannelShuffle) Keep([][]int, []int) (Kind, error) { return k, nil }

// fill returns n, or where it is 0 the channels of the first input.
func fill(n int, in []engine.Spec) int {
	if n == 0 && len(in) > 0 && len(in[0].Shape) > 0 {
		return in[0].Shape[len(in[0].Shape)-1]
	}
	return n
}
