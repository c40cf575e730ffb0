package bridge

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A statful operator keeps a BatchNorm's running statistics: Gorgonia's
// *BatchNormOp and this package's *BatchNorm2dOp.
type stateful interface {
	Stats() (runningMean, runningVariance tensor.Tensor)
	SetStats(runningMean, runningVariance tensor.Tensor) error
}

// A norm is a BatchNorm whose running statistics live in the engine while a
// program runs and in Gorgonia's operator between runs.
type norm struct {
	node           *G.Node
	op             stateful
	training       bool
	mean, variance *engine.Variable
	last           [2][]float32 // what the engine holds
}

// norm translates node bn, a normalization without scale and shift, with γ and
// β [C]; nil stands for ones and zeros. n is the node that the result is for.
func (t *translator) norm(n, bn *G.Node, gamma, beta *engine.Value) (*engine.Value, error) {
	op, ok := bn.Op().(*G.BatchNormOp)
	if !ok {
		return nil, refuse(bn, "it is not gorgonia's BatchNorm")
	}
	if len(bn.Shape()) != 4 {
		return nil, refuse(bn, "the engine normalizes images [N,C,H,W] only")
	}
	f := fieldsOf(bn.Op())
	eps, momentum, training := f.float("epsilon"), f.float("momentum"), f.bool("training")
	if f.err != nil {
		return nil, f.err
	}
	t.inside[bn] = t.inside[bn] || n != bn
	return t.normOf(n, bn, op, engine.BatchNorm{Eps: float32(eps), Momentum: float32(momentum), Train: training}, gamma, beta)
}

// ourNorm translates this package's BatchNorm2d.
func (t *translator) ourNorm(n *G.Node, op *BatchNorm2dOp) (*engine.Value, error) {
	var v [2]*engine.Value
	for i := range v {
		p := t.in[n][1+i]
		if kind(p) != "" {
			return nil, refuse(p, "scale and shift of BatchNorm2d must be inputs")
		}
		var err error
		if v[i], err = t.leaf(p, channels, true); err != nil {
			return nil, err
		}
	}
	return t.normOf(n, n, op, op.engine(), v[0], v[1])
}

func (t *translator) normOf(n, bn *G.Node, op stateful, e engine.BatchNorm, gamma, beta *engine.Value) (*engine.Value, error) {
	for _, old := range t.norms {
		if old.op == op {
			return nil, refuse(bn, "its result is used with and without scale and shift, or twice: the running statistics would move twice")
		}
	}
	x, err := t.value(t.in[bn][0])
	if err != nil {
		return nil, err
	}
	c := bn.Shape()[1]
	for _, p := range []struct {
		v    **engine.Value
		fill float32
	}{{&gamma, 1}, {&beta, 0}} {
		if *p.v == nil {
			if *p.v, err = t.one(n, engine.Fill{Value: p.fill, Shape: []int{c}}); err != nil {
				return nil, err
			}
		}
	}
	name := fmt.Sprintf("%s.%d", kind(bn), bn.ID())
	m := &norm{node: bn, op: op, training: e.Train,
		mean:     &engine.Variable{Name: name + ".running_mean", Spec: engine.F32(c)},
		variance: &engine.Variable{Name: name + ".running_var", Spec: engine.F32(c)}}
	t.norms = append(t.norms, m)
	t.modes = append(t.modes, mode{bn, e.Train})
	return t.one(n, e, x, gamma, beta, t.b.Variable(m.mean), t.b.Variable(m.variance))
}

// upload copies the operator's statistics to the engine if they have changed.
func (m *norm) upload(s *engine.Store) error {
	mean, variance := m.op.Stats()
	for i, p := range []struct {
		v *engine.Variable
		t tensor.Tensor
	}{{m.mean, mean}, {m.variance, variance}} {
		data, err := denseOf(p.t, tensor.Shape(p.v.Shape))
		if err != nil {
			return fmt.Errorf("%s: %w", p.v.Name, err)
		}
		if m.last[i] != nil && sameBits(m.last[i], data) {
			continue
		}
		if err := s.Set(p.v, engine.Bytes(data)); err != nil {
			return err
		}
		m.last[i] = append(m.last[i][:0], data...)
	}
	return nil
}

// download copies the statistics that a training run has moved to the operator.
func (m *norm) download(s *engine.Store) error {
	if !m.training {
		return nil
	}
	var moved [2]tensor.Tensor
	for i, v := range []*engine.Variable{m.mean, m.variance} {
		if err := s.Get(v, engine.Bytes(m.last[i])); err != nil {
			return err
		}
		moved[i] = tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(append([]float32(nil), m.last[i]...)))
	}
	return m.op.SetStats(moved[0], moved[1])
}
