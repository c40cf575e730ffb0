package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerSync, engine.SyncBatchNorm{}, engine.SyncBatchNormBackward{})
}

// What syncbatchnorm.cu defines: threads of a block, and the floats in front of a rank's two
// vectors.
const (
	syncThreads = 128
	syncHead    = 4
)

// The arguments of syncbatchnorm.cu, field for field.
type (
	syncJoinArgs struct {
		all, runMean, runVar            cuda.Ptr
		mu, r, newMean, newVar          cuda.Ptr
		ranks, stride, channels, second int32
		eps, momentum                   float32
	}
	syncGradJoinArgs struct {
		all, gamma, r, coef             cuda.Ptr
		own                             float64
		ranks, stride, channels, second int32
	}
)

// lowerSync lowers batch norms over several ranks.
func (b *Backend) lowerSync(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.SyncBatchNorm:
		return b.lowerSyncBatchNorm(op, in[0])
	case engine.SyncBatchNormBackward:
		return b.lowerSyncBatchNormBackward(op, in[0])
	}
	return lowering{}, unsupported(op)
}

// A syncing is the memory of one batch norm's exchange: what this rank sends, and where the
// parts of all ranks arrive.
type syncing struct {
	peers               *Peers
	mine, all           cuda.Ptr
	first, second       cuda.Ptr // the two vectors of mine
	unusedMean, unusedR cuda.Ptr // where a kernel writes vectors that nobody reads
	zero                cuda.Ptr // a vector of zeros
	stride              int      // floats of a rank
	channels            int
}

// syncing allocates the memory for a batch of so many elements a channel.
func (b *Backend) syncing(peers *Peers, channels, elements int, absent bool) (*syncing, error) {
	width := ceilDiv(channels, alignFloats) * alignFloats
	s := &syncing{peers: peers, stride: syncHead + 2*width, channels: channels}
	if err := peers.reserve(4 * s.stride * peers.Size()); err != nil {
		return nil, err
	}
	s.all = peers.scratch
	bytes := 4 * (s.stride + 3*width)
	p, err := b.ctx.Alloc(bytes)
	if err != nil {
		return nil, b.wrap(err)
	}
	b.closers = append(b.closers, func() error { return b.ctx.Free(p) })
	if err := b.stream.Fill(p, 0, bytes); err != nil {
		return nil, b.wrap(err)
	}
	if !absent {
		head := []float32{float32(elements / 4096), float32(elements % 4096), 0, 0}
		if err := b.stream.Write(p, engine.Bytes(head)); err != nil {
			return nil, b.wrap(err)
		}
	}
	at := func(floats int) cuda.Ptr { return p + cuda.Ptr(4*floats) }
	s.mine, s.first, s.second = p, at(syncHead), at(syncHead+width)
	s.unusedMean, s.unusedR, s.zero = at(s.stride), at(s.stride+width), at(s.stride+2*width)
	return s, nil
}

// exchange gathers the parts of all ranks at each of them, and launches the kernel that
// joins them.
func (s *syncing) exchange(join func(st *cuda.Stream, grid, block [3]int) error) error {
	if err := s.peers.begin(); err != nil {
		return err
	}
	if err := s.peers.comm.AllGather(s.peers.stream, s.all, s.mine, s.stride); err != nil {
		return err
	}
	s.peers.count(int64(4 * s.stride * (s.peers.Size() - 1)))
	if err := join(s.peers.stream, [3]int{ceilDiv(s.channels, syncThreads), 1, 1}, [3]int{syncThreads, 1, 1}); err != nil {
		return err
	}
	return s.peers.end()
}

// lowerSyncBatchNorm lowers SyncBatchNorm to the kernels of BatchNorm, with an exchange between
// the statistics and what is made of them.
func (b *Backend) lowerSyncBatchNorm(op engine.SyncBatchNorm, x engine.Spec) (lowering, error) {
	peers, err := b.peersOf(op, op.Peers)
	if err != nil {
		return lowering{}, err
	}
	norm := engine.BatchNorm{Eps: op.Eps, Momentum: op.Momentum, Train: true}
	apply, err := b.bnApply(engine.BatchNormAct{BatchNorm: norm}, x, nil)
	if err != nil {
		return lowering{}, err
	}
	stats, err := b.bnStatistics(x, 1, 1)
	if err != nil {
		return lowering{}, err
	}
	join, err := b.function("syncbatchnorm", "sync_bn_join")
	if err != nil || peers == nil {
		return lowering{}, err
	}
	c := x.Shape[3]
	s, err := b.syncing(peers, c, x.Len()/c, op.Absent)
	if err != nil {
		return lowering{}, err
	}
	// With a momentum of 1 the "running" statistics are the batch's own, which is what a rank sends.
	own := &stats.args
	own.runMean, own.runVar = s.zero, s.zero
	own.mu, own.newVar, own.r, own.newMean = s.first, s.second, s.unusedR, s.unusedMean
	ja := syncJoinArgs{all: s.all, ranks: int32(peers.Size()), stride: int32(s.stride), channels: int32(c), second: int32(s.second-s.mine) / 4,
		eps: op.Eps, momentum: op.Momentum}
	return lowering{ws: stats.ws, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := stats.run(in[0], ws); err != nil {
			return err
		}
		ja.runMean, ja.runVar = in[3], in[4]
		ja.mu, ja.r, ja.newMean, ja.newVar = out[1], out[2], out[3], out[4]
		err := s.exchange(func(st *cuda.Stream, grid, block [3]int) error { return launchIn(st, join, grid, block, 0, &ja) })
		if err != nil {
			return err
		}
		return apply(in[0], out[0], in[1], in[2], out[1], out[2], 0)
	}}, nil
}

// lowerSyncBatchNormBackward lowers the gradient in the same way.
func (b *Backend) lowerSyncBatchNormBackward(op engine.SyncBatchNormBackward, x engine.Spec) (lowering, error) {
	peers, err := b.peersOf(op, op.Peers)
	if err != nil {
		return lowering{}, err
	}
	g, err := b.bnGradient(x, engine.Identity, nil, bnInputs{gamma: 2, beta: 2, mean: 3, second: 4})
	if err != nil {
		return lowering{}, err
	}
	join, err := b.function("syncbatchnorm", "sync_bn_grad_join")
	if err != nil || peers == nil {
		return lowering{}, err
	}
	c := x.Shape[3]
	s, err := b.syncing(peers, c, x.Len()/c, op.Absent)
	if err != nil {
		return lowering{}, err
	}
	ja := syncGradJoinArgs{all: s.all, own: float64(x.Len() / c), ranks: int32(peers.Size()), stride: int32(s.stride), channels: int32(c), second: int32(s.second-s.mine) / 4}
	return lowering{ws: g.ws, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := g.sums(in, out[0], s.second, s.first, ws); err != nil {
			return err
		}
		if err := b.stream.Copy(out[1], s.second, 4*c); err != nil {
			return err
		}
		if err := b.stream.Copy(out[2], s.first, 4*c); err != nil {
			return err
		}
		ja.gamma, ja.r, ja.coef = in[2], in[4], g.args.coef
		err := s.exchange(func(st *cuda.Stream, grid, block [3]int) error { return launchIn(st, join, grid, block, 0, &ja) })
		if err != nil {
			return err
		}
		return g.dx()
	}}, nil
}
