package gpu

import (
	"math"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// TestAllFinite finds a number that is not finite wherever it is, in tensors of
// both types and in the last of so many that a second launch is needed.
func TestAllFinite(t *testing.T) {
	b := newFake(t)
	for _, dtype := range []engine.DType{engine.Float32, engine.BFloat16} {
		specs := []engine.Spec{{Shape: []int{5000}, DType: dtype}, {Shape: []int{7}, DType: dtype}}
		for range checkTensors {
			specs = append(specs, engine.Spec{DType: dtype})
		}
		tensors := finiteTensors(t, b, specs)
		if ok, err := b.AllFinite(tensors...); err != nil || !ok {
			t.Errorf("%v: all finite is %v, %v", dtype, ok, err)
		}
		for _, at := range [][2]int{{0, 0}, {0, 4095}, {0, 4999}, {1, 6}, {len(specs) - 1, 0}} {
			x := tensors[at[0]]
			size := dtype.Size()
			for _, bad := range []float32{float32(math.Inf(-1)), float32(math.NaN())} {
				off, old := x.Off+size*at[1], make([]byte, size)
				if err := x.Buf.Read(off, old); err != nil {
					t.Fatal(err)
				}
				if err := x.Buf.Write(off, engine.Bytes([]float32{bad})[4-size:]); err != nil {
					t.Fatal(err)
				}
				if ok, err := b.AllFinite(tensors...); err != nil || ok {
					t.Errorf("%v: %v at element %d of tensor %d is not found: %v", dtype, bad, at[1], at[0], err)
				}
				if err := x.Buf.Write(off, old); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := tensors[0].Buf.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAllFiniteAllocatesOnce: the card's memory is asked for once, and given back
// with the backend.
func TestAllFiniteAllocatesOnce(t *testing.T) {
	before := fake.Live(t)
	b := newFake(t)
	x := finiteTensors(t, b, []engine.Spec{engine.F32(100)})
	ask := func() {
		if ok, err := b.AllFinite(x...); err != nil || !ok {
			t.Errorf("all finite is %v, %v", ok, err)
		}
	}
	ask()
	calls := func() int { return fake.Calls(t, "cuMemAlloc_v2") + fake.Calls(t, "cuMemFree_v2") }
	first := calls()
	ask()
	ask()
	if n := calls() - first; n != 0 {
		t.Errorf("memory is allocated or freed %d times", n)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if after := fake.Live(t); after != before {
		t.Errorf("alive before: %+v, after: %+v", before, after)
	}
	if _, err := b.AllFinite(x...); err == nil {
		t.Error("a closed backend looks for numbers")
	}
}

// finiteTensors lays tensors of the largest finite number out in a buffer whose
// gaps hold NaNs.
func finiteTensors(t *testing.T, b *Backend, specs []engine.Spec) []engine.Tensor {
	const align = 64
	bytes := 0
	for _, s := range specs {
		bytes += (s.Bytes() + align) / align * align
	}
	buf, err := b.Alloc(bytes)
	if err != nil {
		t.Fatal(err)
	}
	image := make([]byte, bytes)
	for i := range image {
		image[i] = 0xff
	}
	var tensors []engine.Tensor
	off := 0
	for _, s := range specs {
		x := engine.Tensor{Spec: s, Buf: buf, Off: off}
		tensors = append(tensors, x)
		size := s.DType.Size()
		for i := range s.Len() {
			copy(image[off+size*i:], engine.Bytes([]float32{math.MaxFloat32})[4-size:])
		}
		off += (s.Bytes() + align) / align * align
	}
	if err := buf.Write(0, image); err != nil {
		t.Fatal(err)
	}
	return tensors
}
