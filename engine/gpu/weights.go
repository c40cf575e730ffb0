package gpu

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// weightTile is the edge of the tile that a block of weights.cu transposes.
const weightTile = 32

// weightsArgs are the arguments of weights.cu, field for field.
type weightsArgs struct {
	x, y              [optimizerTensors]cuda.Ptr
	rows, cols, first [optimizerTensors]int32
	count             int32
}

// A packed is a weight or a bias as a library takes it.
type packed struct {
	input      int          // of the op, in float32; -1 for zeros
	rows, cols int          // a matrix that becomes its transpose; without rows, cols elements as they are
	to         engine.DType // what it becomes
	at         int          // where it lies, in bytes from the first
}

// A weightPacking is the launches that make many of these.
type weightPacking struct {
	b        *Backend
	x, y     []cuda.Ptr // of each entry: set before run
	launches []weightLaunch
}

type weightLaunch struct {
	f       *cuda.Function
	entries []int
	blocks  int
	args    weightsArgs
}

// newWeightPacking prepares the launches, as few as there are types, but for very many entries.
func (b *Backend) newWeightPacking(all []packed) (*weightPacking, error) {
	p := &weightPacking{b: b, x: make([]cuda.Ptr, len(all)), y: make([]cuda.Ptr, len(all))}
	for _, t := range []engine.DType{engine.Float32, engine.BFloat16} {
		var l *weightLaunch
		for i, e := range all {
			if e.to != t {
				continue
			}
			if l == nil || len(l.entries) == optimizerTensors {
				f, err := b.function("weights", "weights", typeDefines(t)...)
				if err != nil {
					return nil, err
				}
				p.launches = append(p.launches, weightLaunch{f: f})
				l = &p.launches[len(p.launches)-1]
			}
			k := len(l.entries)
			l.args.rows[k], l.args.cols[k], l.args.first[k] = int32(e.rows), int32(e.cols), int32(l.blocks)
			l.entries = append(l.entries, i)
			l.args.count = int32(k + 1)
			blocks := ceilDiv(e.cols, optimizerStretch)
			if e.rows > 0 {
				blocks = ceilDiv(e.rows, weightTile) * ceilDiv(e.cols, weightTile)
			}
			if l.blocks += blocks; max(e.rows, 1)*e.cols > maxItems || l.blocks > maxItems {
				return nil, fmt.Errorf("weights of %d elements: %w: more than %d", max(e.rows, 1)*e.cols, engine.ErrUnsupported, maxItems)
			}
		}
	}
	return p, nil
}

func (p *weightPacking) run() error {
	for i := range p.launches {
		l := &p.launches[i]
		for k, e := range l.entries {
			l.args.x[k], l.args.y[k] = p.x[e], p.y[e]
		}
		if err := launch(p.b, l.f, [3]int{l.blocks, 1, 1}, [3]int{optimizerThreads, 1, 1}, 0, &l.args); err != nil {
			return err
		}
	}
	return nil
}

// preparer makes the launches of one op's entries.
func (b *Backend) preparer(entries []packed) (func(in []cuda.Ptr, kept cuda.Ptr) error, error) {
	p, err := b.newWeightPacking(entries)
	return func(in []cuda.Ptr, kept cuda.Ptr) error {
		for i, e := range entries {
			p.x[i], p.y[i] = place(in, e.input), kept+cuda.Ptr(e.at)
		}
		return p.run()
	}, err
}

var _ engine.Packer = (*Backend)(nil)

// Packs implements engine.Packer.
func (b *Backend) Packs(k engine.Preparer) string {
	own, ok := k.(*kernel)
	if !ok || own.low.once == nil || len(own.low.once.entries) == 0 {
		return ""
	}
	return fmt.Sprint(own.low.once.entries)
}

// CompilePack implements engine.Packer: one launch for the weights of all kernels,
// and another one if some of them are to be float32.
func (b *Backend) CompilePack(kernels []engine.Preparer) (engine.Kernel, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	var all []packed
	var to []int // of each entry: the output in which it lies
	k := &kernel{backend: b}
	for n, p := range kernels {
		own, ok := p.(*kernel)
		if !ok || own.low.once == nil {
			return nil, errors.New("a kernel that has nothing to pack")
		}
		once := own.low.once
		at := make(map[int]int) // the place among our inputs of the kernel's own
		for _, i := range once.inputs {
			at[i] = len(k.in)
			k.in = append(k.in, own.in[i])
		}
		for _, e := range once.entries {
			if e.input >= 0 {
				e.input = at[e.input]
			}
			all, to = append(all, e), append(to, n)
		}
		k.out = append(k.out, once.bytes)
	}
	p, err := b.newWeightPacking(all)
	if err != nil {
		return nil, b.wrap(err)
	}
	k.inPtr, k.outPtr = make([]cuda.Ptr, len(k.in)), make([]cuda.Ptr, len(k.out))
	k.low.enqueue = func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		for i, e := range all {
			p.x[i], p.y[i] = place(in, e.input), out[to[i]]+cuda.Ptr(e.at)
		}
		return p.run()
	}
	return k, nil
}
