package main

import (
	"bytes"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
)

// TestBenchInputs: a kernel is measured and checked on numbers, in bfloat16 too.
func TestBenchInputs(t *testing.T) {
	b, err := gpu.New(gpu.Options{Search: []string{fake.Dir(t)}, CacheDir: t.TempDir(), NoLibraries: true})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
		x := engine.Spec{Shape: []int{2, 5, 5, 8}, DType: d}
		w := engine.F32(1, 1, 8, 8)
		out, err := engine.Conv2D{}.Infer([]engine.Spec{x, w})
		if err != nil {
			t.Fatal(err)
		}
		c := kernelCase{op: engine.Conv2D{}, inSpec: []engine.Spec{x, w}, outSpec: out}
		k, err := newKernelRun(b, c.op, c.inSpec, c.outSpec)
		if err != nil {
			t.Fatal(err)
		}
		if in, err := download(k.in[0]); err != nil {
			t.Error(err)
		} else {
			for i, v := range in.V {
				if v <= 0 || v > 1 {
					t.Fatalf("%v: element %d of an input is %g", x, i, v)
				}
			}
		}
		// As many sets as it takes to have so many bytes, a few for a few, and one where there is no memory for more.
		if err := k.rotate(3*k.bytes, 1<<20); err != nil || len(k.sets) != 3 {
			t.Errorf("%d sets of tensors, %v; want 3", len(k.sets), err)
		}
		if err := k.rotate(10*k.bytes, 3*k.bytes); err != nil || len(k.sets) != 3 {
			t.Errorf("%d sets of tensors, %v; want no more than the memory holds", len(k.sets), err)
		}
		if err := k.rotate(1<<30, 1<<30); err != nil || len(k.sets) != recorded {
			t.Errorf("%d sets of tensors, %v; want one for each run that is recorded", len(k.sets), err)
		}
		var first []byte
		for i, s := range k.sets {
			if err := k.enqueue(i); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, s.out[0].Bytes())
			if err := s.out[0].Read(got); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = got
			} else if !bytes.Equal(first, got) || bytes.Equal(got, make([]byte, len(got))) {
				t.Errorf("%v: set %d gives other numbers than the first, or zeros", x, i)
			}
		}
		if err := k.close(); err != nil {
			t.Error(err)
		}
		if e, err := c.distance(b); err != nil || e > 0.02 || d == engine.BFloat16 && e == 0 {
			t.Errorf("%v: distance %g, %v", x, e, err)
		}
	}
}
