package layers

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

// Linear is PyTorch's nn.Linear with a bias: y = x·Wᵀ + b.
//
// Tensors: weight [O,I] and bias [O], both uniform in ±1/√I at the start.
type Linear struct {
	base
	in, out int
	slots   []Slot
}

// NewLinear returns a linear layer from in to out features.
func NewLinear(name string, in, out int) *Linear {
	l := &Linear{base: base{name}, in: in, out: out}
	if l.check() != nil {
		return l
	}
	init := Uniform(1 / math.Sqrt(float64(in)))
	l.slots = []Slot{
		l.parameter("weight", OI, init, in, out),
		l.parameter("bias", Same, init, out),
	}
	return l
}

func (l *Linear) check() error {
	if l.in < 1 || l.out < 1 {
		return fmt.Errorf("%s: %d to %d features: both must be positive", l.name, l.in, l.out)
	}
	return nil
}

// Slots implements Layer.
func (l *Linear) Slots() []Slot { return l.slots }

// Forward implements Layer: [N,I] to [N,O].
func (l *Linear) Forward(b *engine.Builder, x *engine.Value, _ bool) *engine.Value {
	if err := l.check(); err != nil {
		b.Fail(err)
		return x
	}
	return l.one(b, engine.Linear{}, x, b.Variable(l.slots[0].Variable), b.Variable(l.slots[1].Variable))
}
