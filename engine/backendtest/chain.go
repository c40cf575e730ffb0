package backendtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
)

// RunChains holds chains of random ops on b to the same ops one by one: the
// results must be equal to the bit. It is for backends that are an
// engine.Chainer, and tries what they would run and would not choose, too.
func RunChains(t *testing.T, b engine.Backend) { checkChains(t, b, 60) }

func checkChains(t reporter, b engine.Backend, count int) {
	ran := 0
	for seed := range count {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		op, in := drawChain(rng)
		err := checkChain(b, rng, op, in)
		if errors.Is(err, engine.ErrUnsupported) {
			continue
		}
		ran++
		if err != nil {
			t.Errorf("chain %d %+v of %v on %s: %v", seed, op, in, b.Name(), err)
		}
	}
	if ran < count/2 {
		t.Errorf("%s runs %d of %d chains", b.Name(), ran, count)
	}
}

// drawChain returns a chain of two to six ops.
func drawChain(rng *rand.Rand) (engine.Chain, []engine.Spec) {
	for {
		c := []int{1, 3, 8, 17, 32, 40}[rng.IntN(6)]
		x := engine.F32(1+rng.IntN(3), 4+rng.IntN(30), 4+rng.IntN(30), c)
		if rng.IntN(4) == 0 {
			x.Shape[3] = 3
		}
		in, op := []engine.Spec{x}, engine.Chain{}
		add := func(link engine.Op, extra []engine.Spec, y engine.Spec) {
			op.Links, in, x = append(op.Links, engine.Link{Op: link, Extra: len(extra)}), append(in, extra...), y
		}
		if x.Shape[3] == 3 {
			add(drawFirst(rng, x))
			if len(x.Shape) == 4 && rng.IntN(2) == 0 { // with a stride of 3, small pictures have a single window
				pool := engine.MaxPool2D{Window: engine.Square(2, 2+rng.IntN(4)/3, 0)}
				add(pool, nil, inferred(pool, x))
			}
		}
		for n := 2 + rng.IntN(5); len(op.Links) < n && len(x.Shape) == 4; {
			add(drawLink(rng, x))
		}
		if _, err := op.Infer(in); err == nil {
			return op, in
		}
	}
}

// drawFirst returns a first layer, of three channels: backends have kernels of their own for it
// and for the pool behind it.
func drawFirst(rng *rand.Rand, x engine.Spec) (engine.Op, []engine.Spec, engine.Spec) {
	conv := engine.Conv2D{Stride: engine.Both(1 + rng.IntN(2)), Pad: engine.Around(rng.IntN(3))}
	conv.Epilogue.Act = []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6, engine.SiLU}[rng.IntN(4)]
	o := []int{5, 16, 24, 32, 70}[rng.IntN(5)]
	extra := []engine.Spec{engine.F32(3, 3, 3, o), engine.F32(o)}[:1+rng.IntN(2)]
	y := inferred(conv, append([]engine.Spec{x}, extra...)...)
	if rng.IntN(6) == 0 && len(y.Shape) == 4 {
		conv.Epilogue.Residual, extra = true, append(extra, y)
	}
	return conv, extra, y
}

// drawLink returns an op on x, its other inputs and its output; a shape that is
// none is for the caller to find.
func drawLink(rng *rand.Rand, x engine.Spec) (engine.Op, []engine.Spec, engine.Spec) {
	pair := func(least, n int) engine.Pair { return engine.Pair{least + rng.IntN(n), least + rng.IntN(n)} }
	k, c := pair(1, 3), x.Shape[3]
	if rng.IntN(8) == 0 {
		k = engine.Both(5)
	}
	if rng.IntN(4) == 0 {
		w := engine.Window{Kernel: k, Stride: pair(1, 3), Dilation: pair(1, 2), Pad: engine.Around(rng.IntN(1 + min(k[0], k[1])/2))}
		var op engine.Op = engine.MaxPool2D{Window: w}
		if rng.IntN(3) == 0 {
			w.Dilation = engine.Pair{}
			op = engine.AvgPool2D{Window: w}
		}
		return op, nil, inferred(op, x)
	}
	conv := engine.Conv2D{Stride: pair(1, 2), Dilation: pair(1, 2), Pad: engine.Pads{rng.IntN(3), rng.IntN(3), rng.IntN(3), rng.IntN(3)}}
	o := []int{1, 4, 16, 33, 70}[rng.IntN(5)]
	switch rng.IntN(4) {
	case 0:
		conv.Groups, o = c, c
	case 1:
		k, conv.Pad, conv.Stride = engine.Both(1), engine.Pads{}, engine.Both(1)
	case 2:
		if c%2 == 0 {
			conv.Groups, o = 2, 2*o
		}
	}
	w := engine.F32(k[0], k[1], c/max(conv.Groups, 1), o)
	extra := []engine.Spec{w}
	conv.Epilogue.Act = []engine.Act{engine.Identity, engine.ReLU, engine.ReLU6, engine.SiLU}[rng.IntN(4)]
	if rng.IntN(2) == 0 {
		extra = append(extra, engine.F32(o))
	}
	y := inferred(conv, append([]engine.Spec{x}, extra...)...)
	if rng.IntN(3) == 0 && len(y.Shape) == 4 {
		conv.Epilogue.Residual = true
		extra = append(extra, y)
	}
	return conv, extra, y
}

// inferred returns an op's output, the zero Spec where it has none.
func inferred(op engine.Op, in ...engine.Spec) engine.Spec {
	out, err := op.Infer(in)
	if err != nil {
		return engine.Spec{}
	}
	return out[0]
}

// checkChain runs a chain whole, and link by link. A chain that b refuses is no mistake.
func checkChain(b engine.Backend, rng *rand.Rand, op engine.Chain, in []engine.Spec) error {
	run := &chainRun{b: b}
	defer run.close()
	tensors := make([]engine.Tensor, len(in))
	for i, s := range in {
		data := make([]float32, s.Len())
		for k := range data {
			data[k] = float32(rng.NormFloat64())
		}
		tensors[i] = run.input(s, data, rng.IntN(2) == 0)
	}
	whole, err := run.run(op, tensors)
	if err != nil {
		return err
	}
	x := tensors[0]
	err = op.Each(in, func(l engine.Link, extra int, _ []engine.Spec, _ engine.Spec) (err error) {
		x, err = run.run(l.Op, append([]engine.Tensor{x}, tensors[extra:extra+l.Extra]...))
		return err
	})
	if err != nil {
		return err
	}
	got, want := run.read(whole), run.read(x)
	if run.err == nil && !bytes.Equal(engine.Bytes(got), engine.Bytes(want)) {
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				return fmt.Errorf("element %d of %v is %v, and %v without the chain", i, x.Spec, got[i], want[i])
			}
		}
	}
	return run.err
}

// A chainRun holds the buffers of one comparison, and the first error.
type chainRun struct {
	b    engine.Backend
	bufs []engine.Buffer
	free []func()
	err  error
}

func (r *chainRun) close() {
	_ = r.b.Sync() // nothing may read what goes; what fails here has been told
	for _, b := range r.bufs {
		_ = b.Close()
	}
	for _, f := range r.free {
		f()
	}
}

// input returns an input, which is the caller's where the backend can read that, at one end of
// pages between two that cannot be read.
func (r *chainRun) input(s engine.Spec, data []float32, atEnd bool) engine.Tensor {
	l, ok := r.b.(engine.Lender)
	if !ok {
		return r.tensor(s, data)
	}
	memory, free, err := guarded(s.Bytes(), atEnd)
	if err != nil {
		r.fail(err)
		return engine.Tensor{}
	}
	r.free = append(r.free, free)
	copy(memory, engine.Bytes(data))
	loan := l.NewLoan()
	if loan == nil || !loan.Take(memory, s.DType.Size()) {
		return r.tensor(s, data)
	}
	r.bufs = append(r.bufs, loan)
	return engine.Tensor{Spec: s, Buf: loan}
}

// fail keeps the first error.
func (r *chainRun) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// tensor returns a tensor with data, or of NaNs.
func (r *chainRun) tensor(s engine.Spec, data []float32) engine.Tensor {
	if data == nil {
		data = make([]float32, s.Len())
		for i := range data {
			data[i] = float32(math.NaN())
		}
	}
	buf, err := r.b.Alloc(4 * len(data))
	if err != nil {
		r.fail(err)
		return engine.Tensor{}
	}
	r.bufs = append(r.bufs, buf)
	t := engine.Tensor{Spec: s, Buf: buf}
	r.fail(t.Write(engine.Bytes(data)))
	return t
}

// run runs an op, with what it can prepare prepared.
func (r *chainRun) run(op engine.Op, in []engine.Tensor) (engine.Tensor, error) {
	specs := make([]engine.Spec, len(in))
	for i, t := range in {
		specs[i] = t.Spec
	}
	out, err := op.Infer(specs)
	if err != nil {
		return engine.Tensor{}, err
	}
	k, err := r.b.Compile(op, specs, out)
	if err != nil {
		return engine.Tensor{}, err
	}
	y := r.tensor(out[0], nil)
	ws := r.tensor(engine.F32(k.Workspace()/4+1), nil)
	if p, ok := k.(engine.Preparer); ok {
		if _, n := p.Prepares(); n > 0 {
			kept := r.tensor(engine.F32(n/4+1), nil)
			if err := p.Prepare(in, kept); err != nil {
				return y, err
			}
			return y, p.EnqueuePrepared(in, []engine.Tensor{y}, ws, kept)
		}
	}
	return y, k.Enqueue(in, []engine.Tensor{y}, ws)
}

func (r *chainRun) read(t engine.Tensor) []float32 {
	data := make([]float32, t.Len())
	r.fail(t.Read(engine.Bytes(data)))
	return data
}
