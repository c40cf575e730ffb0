package engine

import (
	"encoding/binary"
	"fmt"
	"math"
)

// SyncBatchNorm is BatchNorm in training whose statistics are those of several ranks'
// batches together, as PyTorch's SyncBatchNorm: with x of rank r [N_r,H,W,C], and sums over
// all M = Σ_r N_r·H·W elements of a channel, μ, v, r, y and the running statistics are
// BatchNorm's. Each rank sends mean and Σ(x-mean)² of its own batch to all, and they are merged
// in the order of the ranks (Chan, Golub and LeVeque, 1979), so that μ, r and the running
// statistics have the same bits everywhere.
//
// A rank that is Absent adds nothing; its y is made with the others' statistics.
//
// Inputs and outputs are those of BatchNorm with Train.
type SyncBatchNorm struct {
	Eps, Momentum float32
	Peers         Peers
	Absent        bool
}

// Infer implements Op.
func (op SyncBatchNorm) Infer(in []Spec) ([]Spec, error) {
	c, err := batchNormSpecs(in)
	if err != nil {
		return nil, err
	}
	return []Spec{in[0], F32(c), F32(c), F32(c), F32(c)}, nil
}

// Alias implements Updater.
func (op SyncBatchNorm) Alias(i int) int { return BatchNorm{}.Alias(i) }

// Backward implements Differentiable.
func (op SyncBatchNorm) Backward(b *Builder, n *Node, dOut []*Value) ([]*Value, error) {
	if dOut[0] == nil {
		return nil, fmt.Errorf("%w: gradients flow through y only", ErrUnsupported)
	}
	return b.Apply(SyncBatchNormBackward{Peers: op.Peers, Absent: op.Absent}, n.In[0], dOut[0], n.In[1], n.Out[1], n.Out[2])[:3], nil
}

// SyncBatchNormBackward is the gradient of SyncBatchNorm. dy is that of the mean loss
// over a rank's own batch, and so dx is, and the step weighs a rank by its share of the images:
// with M_r elements of a channel at rank r, and x̂ = (x-μ)·r,
//
//	dβ = Σdy    dγ = Σdy·x̂    (this rank's)
//	dx = γ·r·(dy - S/M_r - x̂·T/M_r)    S = Σ_r (M_r/M)·dβ_r    T = Σ_r (M_r/M)·dγ_r
//
// so that the ranks' gradients, weighed and added up, are those of one process whose batch
// has all images. Sums are taken in the order of the ranks. Inputs and outputs are those of
// BatchNormBackward.
type SyncBatchNormBackward struct {
	Peers  Peers
	Absent bool
}

// Infer implements Op.
func (op SyncBatchNormBackward) Infer(in []Spec) ([]Spec, error) { return batchNormBackwardSpecs(in) }

// Moments are what a rank knows of the channels of its batch, of N elements each: two
// sums for each channel.
type Moments struct {
	N    int
	A, B []float64
}

// gatherMoments returns those of every rank; of one that is absent N is 0.
func gatherMoments(p Peers, m Moments, absent bool) ([]Moments, error) {
	c := len(m.A)
	mine := make([]byte, 0, 8*(1+2*c))
	if absent {
		m.N = 0
	}
	mine = binary.NativeEndian.AppendUint64(mine, uint64(m.N))
	for _, list := range [][]float64{m.A, m.B} {
		mine = append(mine, Bytes(list)...)
	}
	everything := make([]byte, len(mine)*p.Size())
	if err := p.AllGather(everything, mine); err != nil {
		return nil, err
	}
	all := make([]Moments, p.Size())
	for r := range all {
		theirs := everything[r*len(mine):][:len(mine)]
		all[r] = Moments{N: int(binary.NativeEndian.Uint64(theirs)), A: make([]float64, c), B: make([]float64, c)}
		copy(Bytes(all[r].A), theirs[8:])
		copy(Bytes(all[r].B), theirs[8+8*c:])
	}
	return all, nil
}

// Exchange computes what the ranks compute together, for a backend whose memory is the
// host's: m has mean and Σ(x-mean)² of this rank's batch, running the running mean and variance,
// which are moved; mu and r are filled.
func (op SyncBatchNorm) Exchange(m Moments, running [2][]float32, mu, r []float32) error {
	all, err := gatherMoments(op.Peers, m, op.Absent)
	if err != nil {
		return err
	}
	for c := range mu {
		var n, mean, m2 float64
		for _, a := range all {
			if a.N == 0 {
				continue
			}
			d, count := a.A[c]-mean, float64(a.N)
			total := n + count
			mean += d * count / total
			m2 += a.B[c] + d*d*n*count/total
			n = total
		}
		mu[c] = float32(mean)
		r[c] = float32(1 / math.Sqrt(m2/n+float64(op.Eps)))
		momentum := float64(op.Momentum)
		running[0][c] = moved(running[0][c], mu[c], momentum)
		running[1][c] = moved(running[1][c], float32(m2/(n-1)), momentum)
	}
	return nil
}

// Exchange computes what the ranks compute together: m has Σdy and Σdy·(x-μ) of this
// rank, which become S/M_r and Σ_r (M_r/M)·Σdy·(x-μ)/M_r. A rank without elements gets zeros.
func (op SyncBatchNormBackward) Exchange(m Moments) error {
	all, err := gatherMoments(op.Peers, m, op.Absent)
	if err != nil {
		return err
	}
	n := 0.0
	for _, a := range all {
		n += float64(a.N)
	}
	for c := range m.A {
		var s, t float64
		for _, a := range all {
			s += float64(a.N) / n * a.A[c]
			t += float64(a.N) / n * a.B[c]
		}
		m.A[c], m.B[c] = s/float64(m.N), t/float64(m.N)
	}
	return nil
}

// SyncStatistics has the batch norms of the graph in training take the statistics of all
// ranks' batches, and returns the variables that they move, by all of them alike. It must be
// called before anything but activations is built on their outputs' gradients.
func (g *Graph) SyncStatistics(p Peers, absent bool) (moved map[*Variable]bool) {
	moved = make(map[*Variable]bool)
	for _, n := range g.nodes {
		op, ok := n.Op.(BatchNorm)
		if !ok || !op.Train {
			continue
		}
		n.Op = SyncBatchNorm{Eps: op.Eps, Momentum: op.Momentum, Peers: p, Absent: absent}
		for _, v := range n.In[3:] {
			if v.variable != nil {
				moved[v.variable] = true
			}
		}
	}
	return moved
}
