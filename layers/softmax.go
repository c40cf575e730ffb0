package layers

import "github.com/potstill/potstill/engine"

func init() {
	Register(Softmax{})
	Register(LogSoftmax{})
}

// overChannels is the part that kinds have in common in which every channel
// depends on all: none can be cut.
type overChannels struct{ unary }

// Tie implements Kind.
func (overChannels) Tie(t *Ties) {
	t.Fix(t.Input(0), t.at.Name+" is taken over all of them")
	t.Output(t.Input(0))
}

// Softmax is PyTorch's nn.Softmax over the channels, [N,H,W,C] or [N,C].
type Softmax struct{ overChannels }

// Build implements Kind.
func (Softmax) Build(c *Call) *engine.Value { return c.One(engine.Softmax{}, c.In[0]) }

// Keep implements Kind.
func (k Softmax) Keep([][]int, []int) (Kind, error) { return k, nil }

// LogSoftmax is PyTorch's nn.LogSoftmax over the channels, [N,H,W,C] or [N,C].
type LogSoftmax struct{ overChannels }

// Build implements Kind.
func (LogSoftmax) Build(c *Call) *engine.Value { return c.One(engine.Softmax{Log: true}, c.In[0]) }

// Keep implements Kind.
func (k LogSoftmax) Keep([][]int, []int) (Kind, error) { return k, nil }
