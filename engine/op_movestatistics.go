package engine

import (
	"fmt"
	"math"
)

// MoveStatistics moves the running statistics of K batch norms by what several
// ranks' batches have, in the order of the ranks, as one process does that meets
// these batches one after the other: for every batch norm, and for the batches of the
// first Active ranks in turn,
//
//	running mean ← (1-m)·running mean + m·mean
//	running var  ← (1-m)·running var  + m·var
//
// with m = Momentum[k], each rounded to float32. A rank at or beyond Active has no batch.
//
// Inputs: of each batch norm the mean and the variance (divided by M-1) of this
// rank's batch, 2·K vectors, and behind them the running ones, 2·K variables. Outputs, in
// place: these.
type MoveStatistics struct {
	Momentum []float32
	Peers    Peers
	Active   int
}

// Infer implements Op.
func (op MoveStatistics) Infer(in []Spec) ([]Spec, error) {
	k := 2 * len(op.Momentum)
	if k == 0 || len(in) != 2*k || op.Active < 1 {
		return nil, fmt.Errorf("%w: %d batch norms and the batches of %d ranks, got %d inputs", ErrShape, k/2, op.Active, len(in))
	}
	for i := range k {
		if !in[i].Equal(in[k+i]) || in[i].DType != Float32 {
			return nil, fmt.Errorf("%w: statistics %v and running ones %v", ErrShape, in[i], in[k+i])
		}
	}
	return in[k:], nil
}

// Alias implements Updater.
func (op MoveStatistics) Alias(i int) int { return 2*len(op.Momentum) + i }

// Async implements Collective.
func (op MoveStatistics) Async() bool { return false }

// Exchanger implements Collective.
func (op MoveStatistics) Exchanger() func(in, out [][]float32) error {
	var mine, all []float32
	return func(in, out [][]float32) error {
		k := len(out)
		if mine == nil {
			n := 0
			for _, t := range out {
				n += len(t)
			}
			mine, all = make([]float32, n), make([]float32, n*op.Peers.Size())
		}
		at := 0
		for _, t := range in[:k] {
			at += copy(mine[at:], t)
		}
		if err := op.Peers.AllGather(Bytes(all), Bytes(mine)); err != nil {
			return err
		}
		at = 0
		for i, running := range in[k:] {
			m := float64(op.Momentum[i/2])
			for j, v := range running {
				for r := range op.Active {
					v = moved(v, all[r*len(mine)+at+j], m)
				}
				out[i][j] = v
			}
			at += len(running)
		}
		return nil
	}
}

// moved is (1-m)·running + m·x, in float64, where the second product is exact.
func moved(running, x float32, m float64) float32 {
	return float32(math.FMA(m, float64(x), (1-m)*float64(running)))
}

// A Statistic is a batch norm whose running statistics a graph does not move: those of
// the batch are left in variables.
type Statistic struct {
	Momentum float32
	Running  [2]*Variable // mean and variance
	OfBatch  [2]*Variable
}

// DeferStatistics has the batch norms of the graph in training leave the statistics
// of their batch in variables, and not touch the running ones: see MoveStatistics.
// OfBatch makes the variables, the same for the same running ones at every call. It must be
// called before anything is built on the batch norms' outputs but activations.
func (g *Graph) DeferStatistics(ofBatch func(running *Variable) *Variable) ([]Statistic, error) {
	var all []Statistic
	b := NewBuilder(g)
	for _, n := range g.nodes {
		op, ok := n.Op.(BatchNorm)
		if !ok || !op.Train {
			continue
		}
		s := Statistic{Momentum: op.Momentum}
		for i := range s.Running {
			v := n.In[3+i].variable
			if v == nil {
				return nil, fmt.Errorf("%s: a batch norm is used twice: its running statistics cannot be moved by several ranks", n.Scope)
			}
			s.Running[i], s.OfBatch[i] = v, ofBatch(v)
			n.In[3+i] = b.Variable(s.OfBatch[i])
		}
		op.Momentum = 1
		n.Op = op
		all = append(all, s)
	}
	return all, nil
}

// MoveStatistics writes the op for what DeferStatistics has returned. Where the graph has
// no batch norms at all (a rank without a batch), the variables are read as they are.
func (b *Builder) MoveStatistics(all []Statistic, p Peers, active int) {
	if len(all) == 0 {
		return
	}
	op := MoveStatistics{Peers: p, Active: active}
	var in []*Value
	for _, s := range all {
		op.Momentum = append(op.Momentum, s.Momentum)
		for i := range s.OfBatch {
			in = append(in, b.Latest(s.OfBatch[i]))
		}
	}
	for _, s := range all {
		for i := range s.Running {
			in = append(in, b.Variable(s.Running[i]))
		}
	}
	b.Apply(op, in...)
}
