package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerAllReduce, engine.AllReduce{}, engine.AllReduceWait{}, engine.MoveStatistics{})
}

// alignFloats divides the place of every tensor in a vector of several, and the length of a
// rank's share of it: kernels load four floats at a time.
const alignFloats = 4

// The arguments of allreduce.cu, field for field.
type (
	packArgs struct {
		p             [optimizerTensors]cuda.Ptr
		packed        cuda.Ptr
		n, first, at  [optimizerTensors]int32
		count, absent int32
	}
	rankSumArgs struct {
		theirs, sums cuda.Ptr
		share, ranks int32
	}
	moveStatisticsArgs struct {
		running, moved        [optimizerTensors]cuda.Ptr
		all                   cuda.Ptr
		n, first, at          [optimizerTensors]int32
		momentum              [optimizerTensors]float32
		count, stride, active int32
	}
)

// lowerAllReduce lowers the sums and the running statistics of several ranks.
func (b *Backend) lowerAllReduce(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.AllReduceWait:
		return lowering{enqueue: func(_, _ []cuda.Ptr, _ cuda.Ptr) error {
			if b.peers == nil {
				return nil
			}
			return b.peers.end()
		}}, nil
	case engine.AllReduce:
		return b.lowerSum(op, in)
	case engine.MoveStatistics:
		return b.lowerMove(op, in)
	}
	return lowering{}, unsupported(op)
}

// A packing is a vector of several tensors, each at a multiple of alignFloats.
type packing struct {
	groups []group
	args   []packArgs
	floats int
	pack   *cuda.Function
	unpack *cuda.Function
}

// packing gives each tensor its place.
func (b *Backend) packing(specs []engine.Spec, absent bool) (*packing, error) {
	p := &packing{}
	var err error
	if p.pack, err = b.function("allreduce", "pack"); err != nil {
		return nil, err
	}
	if p.unpack, err = b.function("allreduce", "unpack"); err != nil {
		return nil, err
	}
	p.groups, err = groups(specs, optimizerTensors, optimizerStretch, func(g, i int, first, n int32) {
		if g == len(p.args) {
			p.args = append(p.args, packArgs{})
		}
		a := &p.args[g]
		a.first[i], a.n[i], a.at[i], a.count = first, n, int32(p.floats), int32(i+1)
		if absent {
			a.absent = 1
		}
		p.floats += ceilDiv(int(n), alignFloats) * alignFloats
	})
	if err == nil && p.floats > maxItems {
		err = engine.ErrUnsupported
	}
	return p, err
}

// run launches f, which is pack or unpack: it copies the tensors into the vector, or out of it.
func (p *packing) run(s *cuda.Stream, f *cuda.Function, tensors []cuda.Ptr, packed cuda.Ptr) error {
	for k, g := range p.groups {
		a := &p.args[k]
		copy(a.p[:], tensors[g.from:g.to])
		a.packed = packed
		if err := launchIn(s, f, [3]int{g.blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, a); err != nil {
			return err
		}
	}
	return nil
}

// lowerSum lowers AllReduce: each rank gets its share of all vectors, adds them up in the
// order of the ranks, and sends the sums to all.
func (b *Backend) lowerSum(op engine.AllReduce, in []engine.Spec) (lowering, error) {
	peers, err := b.peersOf(op, op.Peers)
	if err != nil {
		return lowering{}, err
	}
	p, err := b.packing(in, op.Absent)
	if err != nil {
		return lowering{}, err
	}
	sum, err := b.function("allreduce", "rank_sum")
	if err != nil || peers == nil {
		return lowering{}, err
	}
	ranks, rank := peers.Size(), peers.Rank()
	share := ceilDiv(ceilDiv(p.floats, ranks), alignFloats) * alignFloats
	if err := peers.reserve(4 * 2 * share * ranks); err != nil {
		return lowering{}, err
	}
	parts := peers.scratch // and then all sums
	theirs := parts + cuda.Ptr(4*share*ranks)
	a := rankSumArgs{theirs: theirs, sums: parts + cuda.Ptr(4*share*rank), share: int32(share), ranks: int32(ranks)}
	grid := [3]int{ceilDiv(share/alignFloats, optimizerThreads), 1, 1}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		if err := peers.begin(); err != nil {
			return err
		}
		s := peers.stream
		if err := p.run(s, p.pack, in, parts); err != nil {
			return err
		}
		if err := peers.comm.AllToAll(s, theirs, parts, share); err != nil {
			return err
		}
		if err := launchIn(s, sum, grid, [3]int{optimizerThreads, 1, 1}, 0, &a); err != nil {
			return err
		}
		if err := peers.comm.AllGather(s, parts, a.sums, share); err != nil {
			return err
		}
		peers.count(int64(2 * 4 * share * (ranks - 1)))
		return p.run(s, p.unpack, out, parts)
	}}, nil
}

// lowerMove lowers MoveStatistics: every rank gets the statistics of all, and moves the running
// ones by them.
func (b *Backend) lowerMove(op engine.MoveStatistics, in []engine.Spec) (lowering, error) {
	peers, err := b.peersOf(op, op.Peers)
	if err != nil {
		return lowering{}, err
	}
	k := 2 * len(op.Momentum)
	p, err := b.packing(in[:k], false)
	if err != nil {
		return lowering{}, err
	}
	move, err := b.function("allreduce", "move_statistics")
	if err != nil || peers == nil {
		return lowering{}, err
	}
	if err := peers.reserve(4 * p.floats * peers.Size()); err != nil {
		return lowering{}, err
	}
	all := peers.scratch
	mine := all + cuda.Ptr(4*p.floats*peers.Rank())
	args := make([]moveStatisticsArgs, len(p.groups))
	for g, from := range p.args {
		args[g] = moveStatisticsArgs{all: all, n: from.n, first: from.first, at: from.at, count: from.count, stride: int32(p.floats), active: int32(op.Active)}
		for i := range int(from.count) {
			args[g].momentum[i] = op.Momentum[(p.groups[g].from+i)/2]
		}
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		if err := peers.begin(); err != nil {
			return err
		}
		s := peers.stream
		if err := p.run(s, p.pack, in[:k], mine); err != nil {
			return err
		}
		if err := peers.comm.AllGather(s, all, mine, p.floats); err != nil {
			return err
		}
		peers.count(int64(4 * p.floats * (peers.Size() - 1)))
		for g := range args {
			a, from, to := &args[g], p.groups[g].from, p.groups[g].to
			copy(a.running[:], in[k+from:k+to])
			copy(a.moved[:], out[from:to])
			if err := launchIn(s, move, [3]int{p.groups[g].blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, a); err != nil {
				return err
			}
		}
		return peers.end()
	}}, nil
}
