package gpu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A depthwiseCase is x [n,h,w,c], a kernel kh×kw, m output channels an input
// channel. The suite of backendtest has few of the shapes that the kernels of
// depthwise3x3.cu are for, and none that needs several strips, tiles or blocks.
type depthwiseCase struct {
	n, h, w, c, kh, kw, m, stride, pad, dilation int
}

var depthwiseCases = []depthwiseCase{
	// 3x3, padding 1, stride 1 and 2: four channels a thread, then one.
	{1, 1, 1, 4, 3, 3, 1, 1, 1, 1},
	{2, 9, 10, 12, 3, 3, 1, 1, 1, 1},
	{1, 150, 3, 16, 3, 3, 1, 1, 1, 1},
	{3, 33, 31, 44, 3, 3, 1, 1, 1, 1},
	{40, 8, 8, 32, 3, 3, 1, 1, 1, 1},
	{2, 6, 5, 264, 3, 3, 1, 1, 1, 1},
	{2, 4, 4, 180, 3, 3, 1, 1, 1, 1},
	{1, 1, 1, 4, 3, 3, 1, 2, 1, 1},
	{1, 2, 2, 4, 3, 3, 1, 2, 1, 1},
	{2, 9, 10, 16, 3, 3, 1, 2, 1, 1},
	{1, 8, 7, 12, 3, 3, 1, 2, 1, 1},
	{1, 290, 5, 8, 3, 3, 1, 2, 1, 1},
	{30, 16, 15, 32, 3, 3, 1, 2, 1, 1},
	{3, 7, 6, 264, 3, 3, 1, 2, 1, 1},
	{3, 17, 11, 3, 3, 3, 1, 1, 1, 1},
	{1, 150, 2, 5, 3, 3, 1, 1, 1, 1},
	{2, 5, 6, 89, 3, 3, 1, 1, 1, 1},
	{3, 8, 9, 3, 3, 3, 1, 2, 1, 1},
	{2, 140, 2, 121, 3, 3, 1, 2, 1, 1},
	// Any other.
	{2, 5, 6, 8, 3, 3, 2, 1, 1, 1},
	{2, 7, 5, 7, 3, 3, 3, 2, 1, 1},
	{2, 9, 8, 12, 3, 3, 1, 1, 0, 1},
	{1, 9, 8, 12, 3, 3, 1, 2, 2, 2},
	{2, 9, 8, 5, 5, 5, 1, 1, 2, 1},
	{1, 12, 9, 36, 7, 5, 1, 2, 3, 1},
	{2, 6, 7, 6, 1, 4, 1, 1, 2, 1},
	{1, 9, 9, 4, 2, 2, 1, 4, 1, 1},
	{1, 3, 2, 70, 8, 9, 1, 1, 4, 1},
	{1, 3, 2, 1856, 8, 9, 1, 1, 4, 1}, // more taps and tiles than counters
	{66000, 1, 1, 4, 1, 1, 1, 1, 0, 1},
}

func (s depthwiseCase) op() engine.Conv2D {
	return engine.Conv2D{Stride: engine.Both(s.stride), Pad: engine.Around(s.pad), Dilation: engine.Both(s.dilation), Groups: s.c}
}

func (s depthwiseCase) String() string {
	return fmt.Sprintf("%dx%dx%dx%d_%dx%d_m%ds%dp%dd%d", s.n, s.h, s.w, s.c, s.kh, s.kw, s.m, s.stride, s.pad, s.dilation)
}

func TestDepthwise(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	for i, s := range depthwiseCases {
		for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
			t.Run(fmt.Sprint(s, "_", d), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(d)))
				x, w := randomArray(r, d, s.n, s.h, s.w, s.c), randomArray(r, engine.Float32, s.kh, s.kw, 1, s.c*s.m)
				op := s.op()
				y, err := op.Infer([]engine.Spec{x.Spec, w.Spec})
				if err != nil {
					t.Fatal(err)
				}
				if !isDepthwise(op, []engine.Spec{x.Spec, w.Spec}) {
					t.Fatal("is not taken for depthwise")
				}
				dy, bias, res := randomArray(r, d, y[0].Shape...), randomArray(r, engine.Float32, s.c*s.m), randomArray(r, d, y[0].Shape...)
				checkOp(t, b, op, d, x, w)
				op.Epilogue = engine.Epilogue{Residual: i%2 == 0, Act: []engine.Act{engine.ReLU, engine.ReLU6}[i%2]}
				if op.Epilogue.Residual {
					checkOp(t, b, op, d, x, w, bias, res)
				} else {
					checkOp(t, b, op, d, x, w, bias)
				}
				op.Epilogue = engine.Epilogue{}
				checkOp(t, b, engine.Conv2DBackwardData{Conv2D: op, X: x.Spec}, d, dy, w)
				checkOp(t, b, engine.Conv2DBackwardWeight{Conv2D: op, W: w.Spec}, d, x, dy)
				checkOp(t, b, engine.Conv2DBackwardWeight{Conv2D: op, W: w.Spec, Bias: true}, d, x, dy)
			})
		}
	}
}

// randomArray returns normal numbers that can be stored as d; the spec says
// float32, so that ref takes them.
func randomArray(r *rand.Rand, d engine.DType, shape ...int) ref.Array {
	a := ref.NewArray(engine.F32(shape...))
	for i := range a.V {
		u := math.Float32bits(float32(r.NormFloat64()))
		if d == engine.BFloat16 {
			u &= 0xffff0000
		}
		a.V[i] = float64(math.Float32frombits(u))
	}
	return a
}

// checkOp holds an op to ref, with activations stored as d.
func checkOp(t *testing.T, b *Backend, op engine.Op, d engine.DType, in ...ref.Array) {
	t.Helper()
	want, err := ref.Eval(op, in)
	if err != nil {
		t.Fatal(err)
	}
	stored, weight := d, 1 // of the outputs, and which input is one
	switch o := op.(type) {
	case engine.Conv2DBackwardData:
		o.X.DType = d
		op = o
	case engine.Conv2DBackwardWeight:
		stored, weight = engine.Float32, -1
	}
	r := &opRun{t: t, b: b}
	for i, a := range in {
		s := a.Spec
		if len(s.Shape) == 4 && i != weight {
			s.DType = d
		}
		r.in = append(r.in, r.tensor(s, encode(a.V, s.DType)))
	}
	for _, a := range want {
		s := a.Spec
		s.DType = stored
		r.out = append(r.out, r.tensor(s, bytes.Repeat([]byte{0xff}, s.Bytes())))
	}
	first := r.run(op)
	t.Setenv("FAKE_ORDER", "reverse")
	again := r.run(op)
	t.Setenv("FAKE_ORDER", "")
	r.close()
	for k, a := range want {
		if !bytes.Equal(first[k], again[k]) {
			t.Errorf("%s: output %d has other bits when threads run in reverse", engine.OpName(op), k)
		}
		for i, v := range decode(first[k], stored) {
			bound := a.Bound(i, 4)
			if stored == engine.BFloat16 {
				bound += math.Abs(a.V[i]) / 256
			}
			if !(math.Abs(v-a.V[i]) <= bound) {
				t.Fatalf("%s %+v: output %d (%v): element %d is %g, want %g ± %g", engine.OpName(op), op, k, a.Spec, i, v, a.V[i], bound)
			}
		}
	}
}

// An opRun is an op's tensors on a backend, each in a buffer of its own.
type opRun struct {
	t       *testing.T
	b       *Backend
	in, out []engine.Tensor
}

func (r *opRun) tensor(s engine.Spec, data []byte) engine.Tensor {
	r.t.Helper()
	buf, err := r.b.Alloc(max(s.Bytes(), 1))
	if err != nil {
		r.t.Fatal(err)
	}
	x := engine.Tensor{Spec: s, Buf: buf}
	if err := x.Write(data); err != nil {
		r.t.Fatal(err)
	}
	return x
}

// run compiles op, runs it and returns its outputs.
func (r *opRun) run(op engine.Op) (out [][]byte) {
	r.t.Helper()
	specs := func(x []engine.Tensor) (s []engine.Spec) {
		for _, x := range x {
			s = append(s, x.Spec)
		}
		return s
	}
	k, err := r.b.Compile(op, specs(r.in), specs(r.out))
	if err != nil {
		r.t.Fatal(err)
	}
	n := k.Workspace()
	ws := r.tensor(engine.Spec{Shape: []int{n}, DType: engine.Uint8}, bytes.Repeat([]byte{0xff}, n))
	defer ws.Buf.Close()
	if err := k.Enqueue(r.in, r.out, ws); err != nil {
		r.t.Fatal(err)
	}
	if err := r.b.Sync(); err != nil {
		r.t.Fatalf("%s %+v: %v", engine.OpName(op), op, err)
	}
	for _, x := range r.out {
		data := make([]byte, x.Bytes())
		if err := x.Buf.Read(0, data); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

func (r *opRun) close() {
	for _, x := range append(r.in, r.out...) {
		if err := x.Buf.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func encode(v []float64, d engine.DType) (b []byte) {
	for _, v := range v {
		u := math.Float32bits(float32(v))
		if d == engine.BFloat16 {
			b = binary.NativeEndian.AppendUint16(b, uint16(u>>16))
		} else {
			b = binary.NativeEndian.AppendUint32(b, u)
		}
	}
	return b
}

func decode(b []byte, d engine.DType) (v []float64) {
	for ; len(b) > 0; b = b[d.Size():] {
		if d == engine.BFloat16 {
			v = append(v, float64(math.Float32frombits(uint32(binary.NativeEndian.Uint16(b))<<16)))
		} else {
			v = append(v, float64(math.Float32frombits(binary.NativeEndian.Uint32(b))))
		}
	}
	return v
}
