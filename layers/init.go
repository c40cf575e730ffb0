package layers

import (
	"fmt"
	"hash/fnv"
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/random"
)

// An Init is the distribution that a tensor starts from. Its zero value is the
// constant 0.
type Init struct {
	dist  dist
	scale float64
}

type dist uint8

const (
	constant dist = iota
	uniform
	normal
	truncated
)

// Constant starts every element at c.
func Constant(c float64) Init { return Init{constant, c} }

// Uniform draws from the uniform distribution on [-bound, bound).
func Uniform(bound float64) Init { return Init{uniform, bound} }

// Normal draws from the normal distribution with mean 0 and the given standard
// deviation.
func Normal(std float64) Init { return Init{normal, std} }

// TruncatedNormal draws from a normal distribution with mean 0 whose tails
// beyond two of its own standard deviations are drawn again, and which has the
// given standard deviation afterwards.
func TruncatedNormal(std float64) Init { return Init{truncated, std / truncatedStd} }

// truncatedStd is the standard deviation of a standard normal distribution that
// is cut at ±2: √(1 - 4φ(2)/(2Φ(2)-1)).
const truncatedStd = 0.8796256610342398

// useInit keeps initialization apart from the other users of random numbers.
const useInit = random.UseOther

// fill draws a tensor. Its values depend on seed and name alone, not on the
// net that the tensor is part of or on the tensors drawn before.
func (d Init) fill(dst []float32, seed uint64, name string) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	id := h.Sum64()
	r := random.New(seed, int(id>>32), int(id&math.MaxUint32), useInit)
	for i := range dst {
		switch d.dist {
		case uniform:
			dst[i] = float32(r.Uniform(-d.scale, d.scale))
		case normal:
			dst[i] = float32(r.NormFloat64() * d.scale)
		case truncated:
			z := r.NormFloat64()
			for z < -2 || z > 2 {
				z = r.NormFloat64()
			}
			dst[i] = float32(z * d.scale)
		default:
			dst[i] = float32(d.scale)
		}
	}
}

// Init sets every variable of the model in store to its initial value:
// what its kind says, which is PyTorch's default (weights and biases of Conv2d
// and Linear uniform in ±1/√fan_in; BatchNorm2d weight 1, bias 0, running mean
// 0, running variance 1) unless a weight_init or bias_init is set, as the
// families do that have a rule of their own. The distributions are PyTorch's,
// the numbers are not: each tensor's depend on seed and its name alone.
func (m *Model) Init(store *engine.Store, seed uint64) error {
	for _, s := range m.slots {
		v := s.Variable
		e := tensor{Param{Spec: v.Spec, Layout: s.Layout, Init: s.Init}, v.Name}.start(seed)
		if err := store.Set(v, s.Raw(&e)); err != nil {
			return fmt.Errorf("initializing %s: %w", v.Name, err)
		}
	}
	return nil
}

// Start returns the state that a model of the net has after Model.Init.
func (n *Net) Start(seed uint64) (StateDict, error) {
	ts, err := n.params()
	if err != nil {
		return nil, err
	}
	state := make(StateDict, 0, len(ts))
	for _, t := range ts {
		state = append(state, t.start(seed))
	}
	return state, nil
}

// start returns the tensor's initial value.
func (t tensor) start(seed uint64) Entry {
	e := Entry{Name: t.name, Shape: t.Layout.Torch(t.Spec.Shape)}
	if t.Spec.DType == engine.Int64 {
		e.Int = make([]int64, t.Spec.Len())
		return e
	}
	e.Data = make([]float32, t.Spec.Len())
	t.Init.fill(e.Data, seed, t.name)
	return e
}
