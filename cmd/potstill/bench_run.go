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
	in, out []engine.Tensor
	ws      engine.Tensor
	buffers []engine.Buffer
}

// newKernelRun compiles op and fills its inputs with numbers in (0, 1]. An
// output that lives in an input's memory does so here too.
func newKernelRun(b engine.Backend, op engine.Op, in, out []engine.Spec) (_ *kernelRun, err error) {
	k := &kernelRun{backend: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.close())
		}
	}()
	if k.kernel, err = b.Compile(op, in, out); err != nil {
		return nil, err
	}
	for _, s := range in {
		t, err := k.alloc(s)
		if err != nil {
			return nil, err
		}
		if err := fill(t); err != nil {
			return nil, err
		}
		k.in = append(k.in, t)
	}
	updater, _ := op.(engine.Updater)
	for i, s := range out {
		if updater != nil && updater.Alias(i) >= 0 {
			t := k.in[updater.Alias(i)]
			t.Spec = s
			k.out = append(k.out, t)
			continue
		}
		t, err := k.alloc(s)
		if err != nil {
			return nil, err
		}
		k.out = append(k.out, t)
	}
	if n := k.kernel.Workspace(); n > 0 {
		k.ws, err = k.alloc(engine.Spec{Shape: []int{n}, DType: engine.Uint8})
	}
	return k, err
}

func (k *kernelRun) alloc(s engine.Spec) (engine.Tensor, error) {
	buf, err := k.backend.Alloc(max(s.Bytes(), 1))
	if err != nil {
		return engine.Tensor{}, err
	}
	k.buffers = append(k.buffers, buf)
	return engine.Tensor{Spec: s, Buf: buf}, nil
}

// fill writes an input. Pseudo-random values keep branches from being
// predicted; variances and the like must be positive.
func fill(t engine.Tensor) error {
	if t.DType != engine.Float32 {
		return t.Write(make([]byte, t.Bytes()))
	}
	v := make([]float32, t.Len())
	x := uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		v[i] = float32(x>>8+1) / (1 << 24)
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
		for range recorded {
			if err := k.kernel.Enqueue(k.in, k.out, k.ws); err != nil {
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
	if err := k.kernel.Enqueue(k.in, k.out, k.ws); err != nil {
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
