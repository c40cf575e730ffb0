package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
)

// limits are what the machine does at its best in the same run.
type limits struct {
	// MatrixGFLOPS is what a large matrix product through the backend reaches, in
	// the precision that is measured: a pointwise convolution whose operands stay
	// in the caches. It bounds what
	// other kernels can be hoped to reach; it is a little below what the
	// processor's multipliers could do.
	MatrixGFLOPS float64 `json:"matrix_gflops"`
	// CopyGBs is the rate of copying memory that no cache holds, bytes read
	// and bytes written both counted, by all threads at once.
	CopyGBs float64 `json:"copy_gbs"`
}

// measureLimits takes the best of several runs of each.
func measureLimits(a *app, b engine.Backend, t engine.DType, atLeast time.Duration) (l limits, err error) {
	if l.MatrixGFLOPS, err = matrixLimit(a, b, t, atLeast); err != nil {
		return l, fmt.Errorf("measuring a matrix product: %w", err)
	}
	if g, ok := b.(*gpu.Backend); ok {
		free, _, err := g.Memory()
		if err != nil {
			return l, err
		}
		bytes := min(deviceCopyBytes, free/4)
		t, err := g.MeasureCopy(bytes)
		l.CopyGBs = 2 * float64(bytes) / t.Seconds() / 1e9
		return l, err
	}
	l.CopyGBs, err = copyLimit(a, threadsOf(b), atLeast)
	return l, err
}

// best is measure's shortest time.
func best(a *app, atLeast time.Duration, f func() error) (time.Duration, error) {
	shortest := time.Duration(0)
	_, err := measure(a.ctx, atLeast, func() error {
		t := time.Now()
		err := f()
		if d := time.Since(t); shortest == 0 || d < shortest {
			shortest = d
		}
		return err
	})
	return shortest, err
}

// matrixShapes are the images and weights of the products that matrixLimit
// times, a larger one where the one before was too short to be at full speed.
var matrixShapes = [][2][]int{
	{{1, 32, 32, 256}, {1, 1, 256, 256}}, {{8, 32, 32, 256}, {1, 1, 256, 256}}, {{64, 32, 32, 1024}, {1, 1, 1024, 1024}},
}

// fullSpeed is how long a product takes at least in which neither its begin nor
// its end counts for much.
const fullSpeed = time.Millisecond

func matrixLimit(a *app, b engine.Backend, dtype engine.DType, atLeast time.Duration) (gflops float64, err error) {
	for _, s := range matrixShapes {
		t, flops, err := matrixTime(a, b, engine.Spec{Shape: s[0], DType: dtype}, engine.F32(s[1]...), atLeast)
		if err != nil {
			return 0, err
		}
		gflops = max(gflops, flops/t.Seconds()/1e9)
		if t >= fullSpeed {
			break
		}
	}
	return gflops, nil
}

// matrixTime returns the shortest time of one product, and its operations.
func matrixTime(a *app, b engine.Backend, x, w engine.Spec, atLeast time.Duration) (t time.Duration, flops float64, err error) {
	op, in := engine.Conv2D{}, []engine.Spec{x, w}
	out, err := op.Infer(in)
	if err != nil {
		return 0, 0, err
	}
	k, err := newKernelRun(b, op, in, out)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	t, err = best(a, atLeast, k.run)
	return t, float64(op.Cost(in, out)), err
}

// copyBytes is beyond the caches of any processor's core and most sockets.
const copyBytes = 256 << 20

// deviceCopyBytes is beyond the cache of any card, many times over.
const deviceCopyBytes = 1 << 30

func copyLimit(a *app, threads int, atLeast time.Duration) (float64, error) {
	src, dst := make([]byte, copyBytes), make([]byte, copyBytes)
	for i := 0; i < copyBytes; i += 4096 { // have the system map both
		src[i], dst[i] = 1, 1
	}
	part := copyBytes / threads
	t, err := best(a, atLeast, func() error {
		var wg sync.WaitGroup
		for i := range threads {
			wg.Go(func() { copy(dst[i*part:(i+1)*part], src[i*part:(i+1)*part]) })
		}
		wg.Wait()
		return nil
	})
	return 2 * float64(part*threads) / t.Seconds() / 1e9, err
}
