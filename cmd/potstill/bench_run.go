package main

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A kernelRun is an operator with buffers of its own.
type kernelRun struct {
	backend engine.Backend
	kernel  engine.Kernel
	op      engine.Op
	in, out []engine.Tensor // of the first set
	sets    []tensorSet
	buffers []engine.Buffer
	bytes   int // of a set
}

// A tensorSet is what one run works on.
type tensorSet struct {
	in, out []engine.Tensor
	ws      engine.Tensor
}

// newKernelRun compiles op and fills its inputs with numbers in (0, 1]. An
// output that lives in an input's memory does so here too.
func newKernelRun(b engine.Backend, op engine.Op, in, out []engine.Spec) (_ *kernelRun, err error) {
	k := &kernelRun{backend: b, op: op}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.kernel, err = b.Compile(op, in, out); err != nil {
		return nil, err
	}
	if err := k.add(in, out); err != nil {
		return nil, err
	}
	k.in, k.out = k.sets[0].in, k.sets[0].out
	for _, b := range k.buffers {
		k.bytes += b.Bytes()
	}
	return k, nil
}

// add makes another set of tensors.
func (k *kernelRun) add(in, out []engine.Spec) (err error) {
	var set tensorSet
	for _, s := range in {
		t, err := k.alloc(s)
		if err != nil {
			return err
		}
		if err := fill(t); err != nil {
			return err
		}
		set.in = append(set.in, t)
	}
	if back, ok := k.op.(engine.BatchNormActBackward); ok && back.Kept {
		if err := fillWinners(set.in[6], set.in[0].Spec, *back.Pool); err != nil {
			return err
		}
	}
	updater, _ := k.op.(engine.Updater)
	for i, s := range out {
		if updater != nil && updater.Alias(i) >= 0 {
			t := set.in[updater.Alias(i)]
			t.Spec = s
			set.out = append(set.out, t)
			continue
		}
		t, err := k.alloc(s)
		if err != nil {
			return err
		}
		set.out = append(set.out, t)
	}
	if n := k.kernel.Workspace(); n > 0 {
		if set.ws, err = k.alloc(engine.Spec{Shape: []int{n}, DType: engine.Uint8}); err != nil {
			return err
		}
	}
	k.sets = append(k.sets, set)
	return nil
}

// cacheTimes is how many times a device's cache the tensors of a measurement
// are together: of what a run reads, the cache then holds nothing.
const cacheTimes = 4

// rotate adds sets of tensors until there are so many bytes of them, a set for
// each run of a recording, or no more memory that may be taken.
func (k *kernelRun) rotate(bytes, most int) error {
	specs := func(ts []engine.Tensor) (s []engine.Spec) {
		for _, t := range ts {
			s = append(s, t.Spec)
		}
		return s
	}
	for n := len(k.sets); n < recorded && n*k.bytes < bytes && (n+1)*k.bytes <= most; n++ {
		if err := k.add(specs(k.in), specs(k.out)); err != nil {
			return err
		}
	}
	return nil
}

// enqueue enqueues the i-th run.
func (k *kernelRun) enqueue(i int) error {
	s := k.sets[i%len(k.sets)]
	return k.kernel.Enqueue(s.in, s.out, s.ws)
}

func (k *kernelRun) alloc(s engine.Spec) (engine.Tensor, error) {
	buf, err := k.backend.Alloc(max(s.Bytes(), 1))
	if err != nil {
		return engine.Tensor{}, err
	}
	k.buffers = append(k.buffers, buf)
	return engine.Tensor{Spec: s, Buf: buf}, nil
}

// fill writes an input: floats of either type that are not zero, and zeros, such
// as indices and counters, elsewhere. Pseudo-random values keep branches from
// being predicted; variances and the like must be positive.
func fill(t engine.Tensor) error {
	if t.DType != engine.Float32 && t.DType != engine.BFloat16 {
		return t.Write(make([]byte, t.Bytes()))
	}
	return store(t, draw(t.Len()))
}

// fillWinners writes the values that win the windows of a pool, of the x that fill
// writes: what the gradient of a fused pool reads of it, so that it is the same to one
// that looks for them in x.
func fillWinners(t engine.Tensor, x engine.Spec, pool engine.Window) error {
	n, h, w, c, _ := x.NHWC()
	v, k := draw(x.Len()), pool.Complete().Kernel
	oh, ow := h/k[0], w/k[1]
	won := make([]float32, n*oh*ow*c)
	for i := range v {
		row, col := i/(w*c)%h/k[0], i/c%w/k[1]
		if row < oh && col < ow {
			p := &won[((i/(h*w*c)*oh+row)*ow+col)*c+i%c]
			*p = max(*p, v[i])
		}
	}
	return store(t, won)
}

// draw returns the numbers of an input, which are greater than 0.
func draw(n int) []float32 {
	v := make([]float32, n)
	x := uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		v[i] = float32(x>>8+1) / (1 << 24)
	}
	return v
}

// store writes numbers to a tensor of floats of either type.
func store(t engine.Tensor, v []float32) error {
	if t.DType == engine.BFloat16 {
		h := make([]uint16, len(v))
		for i, f := range v {
			h[i] = uint16(math.Float32bits(f) >> 16)
		}
		return t.Write(engine.Bytes(h))
	}
	return t.Write(engine.Bytes(v))
}

// recorded is how many runs of a kernel are recorded in one, on a device that
// works beside the host.
const recorded = 20

// time returns the median time of a run. On a device that works beside the
// host many runs are recorded in one, so that waiting for it does not count.
func (k *kernelRun) time(ctx context.Context, atLeast time.Duration) (_ time.Duration, err error) {
	_, apart := k.backend.(engine.Pipeliner)
	b, ok := k.backend.(engine.Recorder)
	if !apart || !ok {
		return measure(ctx, atLeast, k.run)
	}
	r, err := b.Record(func() error {
		for i := range recorded {
			if err := k.enqueue(i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	t, err := measure(ctx, atLeast, func() error { return errors.Join(r.Replay(), b.Sync()) })
	return t / recorded, err
}

// distance runs the operator on the backend and on the reference, on inputs that
// are positive, and returns the largest difference over the largest result.
func (c kernelCase) distance(b engine.Backend) (worst float64, err error) {
	k, err := newKernelRun(b, c.op, c.inSpec, c.outSpec)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	in := make([]ref.Array, len(k.in))
	for i, t := range k.in {
		if in[i], err = download(t); err != nil {
			return 0, err
		}
	}
	want, err := ref.Eval(c.op, in)
	if err != nil {
		return 0, err
	}
	if err := k.run(); err != nil {
		return 0, err
	}
	for i, t := range k.out {
		got, err := download(t)
		if err != nil {
			return 0, err
		}
		largest, off := 0.0, 0.0
		for j, w := range want[i].V {
			largest, off = max(largest, math.Abs(w)), max(off, math.Abs(got.V[j]-w))
		}
		if largest > 0 {
			worst = max(worst, off/largest)
		}
	}
	return worst, nil
}

func download(t engine.Tensor) (ref.Array, error) {
	b := make([]byte, t.Bytes())
	err := t.Read(b)
	return ref.Decode(t.Spec, b), err
}

// run does the work once and waits for it.
func (k *kernelRun) run() error {
	if err := k.enqueue(0); err != nil {
		return err
	}
	return k.backend.Sync()
}

// close frees the buffers.
func (k *kernelRun) close() error {
	var errs []error
	for _, b := range k.buffers {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}
