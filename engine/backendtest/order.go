package backendtest

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/engine"
)

// doublings is the length of the chain of dependent kernels.
const doublings = 20

// checkOrder tests that kernels, writes and reads happen in the order in which
// they are asked for: y ← 2x and x ← 2y by turns, so that each kernel reads what
// the one before wrote and overwrites what that one read.
func checkOrder(t reporter, b engine.Backend) {
	const n = 10007
	s := engine.F32(n)
	double, err := b.Compile(engine.Add{Weights: []float32{2}}, []engine.Spec{s}, []engine.Spec{s})
	if err != nil {
		t.Errorf("compile: %v", err)
		return
	}
	size := (s.Bytes() + 63) / 64 * 64
	buf, err := b.Alloc(2*size + double.Workspace())
	if err != nil {
		t.Errorf("alloc: %v", err)
		return
	}
	defer buf.Close()
	x, y := engine.Tensor{Spec: s, Buf: buf}, engine.Tensor{Spec: s, Buf: buf, Off: size}
	ws := engine.Tensor{Spec: engine.Spec{Shape: []int{double.Workspace()}, DType: engine.Uint8}, Buf: buf, Off: 2 * size}
	pair := [][]engine.Tensor{{x}, {y}}
	chain := func() error {
		for i := range doublings {
			if err := double.Enqueue(pair[i%2], pair[1-i%2], ws); err != nil {
				return err
			}
		}
		return nil
	}
	start, got := make([]float32, n), make([]float32, n)
	for i := range start {
		start[i] = float32(i%97) - 48
	}
	verify := func(what string, run func() error) {
		// The read at the end has to wait for the kernels by itself.
		if err := errors.Join(x.Write(engine.Bytes(start)), run(), x.Read(engine.Bytes(got))); err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		for i, v := range got {
			if want := start[i] * (1 << doublings); v != want {
				t.Errorf("%s: element %d of a chain of %d kernels is %g, want %g: they run out of order", what, i, doublings, v, want)
				return
			}
		}
	}
	verify("enqueued", chain)
	verify("overwritten meanwhile", func() error {
		junk := make([]float32, n)
		return errors.Join(x.Write(engine.Bytes(junk)), chain(), x.Write(engine.Bytes(start)), chain(), y.Write(engine.Bytes(junk)))
	})
	if rec, ok := b.(engine.Recorder); ok {
		r, err := rec.Record(chain)
		if err != nil {
			t.Errorf("record: %v", err)
			return
		}
		for i := range 2 {
			verify(fmt.Sprintf("replay %d", i+1), r.Replay)
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Errorf("closing a recording twice: %v", err)
		}
	}
}
