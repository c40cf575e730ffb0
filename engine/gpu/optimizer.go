package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerOptimizer, engine.Adam{}, engine.SGD{}, engine.Accumulate{}, engine.EMA{}, engine.ClipScale{})
}

// What tensors.cuh and optimizer.cu define: threads of a block, tensors of a launch and
// elements of a block, for most kernels and for the norm.
const (
	optimizerThreads = 256
	optimizerTensors = 100
	optimizerStretch = optimizerThreads * 4 * 2
	clipTensors      = 250
	clipStretch      = optimizerThreads * 4 * 4
)

// The flags of optimizer.cu.
const (
	flagDecoupled = 1 << iota
	flagMomentum
	flagNesterov
	flagAverage
)

// The arguments of optimizer.cu, field for field.
type (
	optimizerArgs struct {
		p, g, m, v        [optimizerTensors]cuda.Ptr
		hyper, scale      cuda.Ptr
		n, first          [optimizerTensors]int32
		count, flags      int32
		beta1, beta2, eps float32
	}
	clipArgs struct {
		g                          [clipTensors]cuda.Ptr
		part, norm, scale, arrived cuda.Ptr
		n, first                   [clipTensors]int32
		count, before              int32
		maxNorm                    float32
	}
)

// A group is what one launch does of many tensors: those from the first on, and
// the blocks that they need.
type group struct{ from, to, blocks int }

// groups cuts tensors into launches of at most `most`, and calls place with each
// tensor's launch, its place and first block there, and its elements. Each block
// has `stretch` elements of one tensor.
func groups(specs []engine.Spec, most, stretch int, place func(g, i int, first, n int32)) ([]group, error) {
	var gs []group
	for i, s := range specs {
		if s.Len() > maxItems {
			return nil, fmt.Errorf("tensor %d, %v: %w: more than %d elements", i, s, engine.ErrUnsupported, maxItems)
		}
		blocks := ceilDiv(s.Len(), stretch)
		last := len(gs) - 1
		if last < 0 || gs[last].to-gs[last].from == most || gs[last].blocks+blocks > maxItems {
			gs = append(gs, group{from: i, to: i})
			last++
		}
		g := &gs[last]
		place(last, i-g.from, int32(g.blocks), int32(s.Len()))
		g.to, g.blocks = i+1, g.blocks+blocks
	}
	return gs, nil
}

// lowerOptimizer lowers the ops over all parameters at once: one launch for up
// to a hundred of them.
func (b *Backend) lowerOptimizer(op engine.Op, in, _ []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.Adam:
		a := optimizerArgs{beta1: op.Beta1, beta2: op.Beta2, eps: op.Eps}
		if op.Decoupled {
			a.flags = flagDecoupled
		}
		return b.lowerTensors("adam", a, in[2:2+op.K], func(a *optimizerArgs, in []cuda.Ptr, from, to int) {
			a.hyper, a.scale = in[0], in[1]
			in = in[2:]
			bindTensors(&a.p, in, 0, op.K, from, to)
			bindTensors(&a.g, in, 1, op.K, from, to)
			bindTensors(&a.m, in, 2, op.K, from, to)
			bindTensors(&a.v, in, 3, op.K, from, to)
		})
	case engine.SGD:
		a := optimizerArgs{beta1: op.Momentum}
		if op.Momentum != 0 {
			a.flags = flagMomentum
		}
		if op.Nesterov {
			a.flags |= flagNesterov
		}
		return b.lowerTensors("sgd", a, in[2:2+op.K], func(a *optimizerArgs, in []cuda.Ptr, from, to int) {
			a.hyper, a.scale = in[0], in[1]
			in = in[2:]
			bindTensors(&a.p, in, 0, op.K, from, to)
			bindTensors(&a.g, in, 1, op.K, from, to)
			if op.Momentum != 0 {
				bindTensors(&a.m, in, 2, op.K, from, to)
			}
		})
	case engine.Accumulate:
		return b.lowerMix(optimizerArgs{beta1: op.Weight}, op.K, in)
	case engine.EMA:
		return b.lowerMix(optimizerArgs{flags: flagAverage}, op.K, in)
	case engine.ClipScale:
		return b.lowerClip(op, in)
	}
	return lowering{}, unsupported(op)
}

// bindTensors sets the addresses of tensors from to `to` of the given group of k.
func bindTensors(dst *[optimizerTensors]cuda.Ptr, in []cuda.Ptr, kind, k, from, to int) {
	copy(dst[:], in[kind*k+from:kind*k+to])
}

// lowerMix lowers the ops that take a scalar and two groups of tensors.
func (b *Backend) lowerMix(a optimizerArgs, k int, in []engine.Spec) (lowering, error) {
	return b.lowerTensors("mix", a, in[1:1+k], func(a *optimizerArgs, in []cuda.Ptr, from, to int) {
		a.scale = in[0]
		bindTensors(&a.g, in[1:], 0, k, from, to)
		bindTensors(&a.p, in[1:], 1, k, from, to)
	})
}

// lowerTensors lowers a kernel over all tensors. bind sets the addresses of
// those of one launch.
func (b *Backend) lowerTensors(name string, common optimizerArgs, specs []engine.Spec,
	bind func(a *optimizerArgs, in []cuda.Ptr, from, to int)) (lowering, error) {
	f, err := b.function("optimizer", name)
	if err != nil {
		return lowering{}, err
	}
	var args []optimizerArgs
	gs, err := groups(specs, optimizerTensors, optimizerStretch, func(g, i int, first, n int32) {
		if g == len(args) {
			args = append(args, common)
		}
		a := &args[g]
		a.first[i], a.n[i], a.count = first, n, int32(i+1)
	})
	if err != nil {
		return lowering{}, err
	}
	return lowering{enqueue: func(in, _ []cuda.Ptr, _ cuda.Ptr) error {
		for k, g := range gs {
			bind(&args[k], in, g.from, g.to)
			if err := launch(b, f, [3]int{g.blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, &args[k]); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// lowerClip lowers ClipScale. Every block leaves its sum of squares in the
// workspace; the last block of the last launch adds them up.
func (b *Backend) lowerClip(op engine.ClipScale, in []engine.Spec) (lowering, error) {
	f, err := b.function("optimizer", "clip")
	if err != nil {
		return lowering{}, err
	}
	counter, err := b.counters(1)
	if err != nil {
		return lowering{}, err
	}
	var args []clipArgs
	gs, err := groups(in, clipTensors, clipStretch, func(g, i int, first, n int32) {
		if g == len(args) {
			args = append(args, clipArgs{arrived: counter, maxNorm: op.MaxNorm})
		}
		a := &args[g]
		a.first[i], a.n[i], a.count = first, n, int32(i+1)
	})
	if err != nil {
		return lowering{}, err
	}
	total := 0
	for k, g := range gs {
		args[k].before = int32(total)
		total += g.blocks
	}
	if total > maxItems {
		return lowering{}, fmt.Errorf("the norm of %d tensors: %w: more than %d parts", len(in), engine.ErrUnsupported, maxItems)
	}
	return lowering{ws: 4 * total, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		for k, g := range gs {
			a := &args[k]
			copy(a.g[:], in[g.from:g.to])
			a.part = ws
			if k == len(gs)-1 {
				a.norm, a.scale = out[0], out[1]
			}
			if err := launch(b, f, [3]int{g.blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, a); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}
