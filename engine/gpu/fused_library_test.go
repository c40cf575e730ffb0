package gpu

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestFusedCandidates shows when cuDNN is asked for the epilogue too, and when
// cuBLASLt for products in bfloat16.
func TestFusedCandidates(t *testing.T) {
	x, w, bias, point := engine.F32(2, 6, 6, 8), engine.F32(3, 3, 8, 8), engine.F32(8), engine.F32(1, 1, 8, 8)
	hx := half(x.Shape...)
	act := func(f engine.Act) engine.Conv2D {
		return engine.Conv2D{Pad: engine.Around(1), Epilogue: engine.Epilogue{Act: f}}
	}
	for _, c := range []struct {
		name        string
		op          engine.Op
		in          []engine.Spec
		fused, lt16 int // algorithms, of which each in bfloat16 is offered with two kinds of arithmetic
	}{
		{"plain", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{x, w}, 0, 0},
		{"a bias", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{x, w, bias}, 1, 0},
		{"ReLU", act(engine.ReLU), []engine.Spec{x, w}, 2, 0},
		{"a bias in bfloat16", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{hx, w, bias}, 2, 0},
		{"ReLU6 in bfloat16", act(engine.ReLU6), []engine.Spec{hx, w, bias}, 4, 0},
		{"pointwise", engine.Conv2D{}, []engine.Spec{hx, point}, 0, 0},
		{"pointwise with a bias", engine.Conv2D{}, []engine.Spec{hx, point, bias}, 2, 1},
		{"a linear layer", engine.Linear{}, []engine.Spec{half(4, 8), engine.F32(8, 8), bias}, 0, 1},
		{"its gradient", engine.LinearBackwardWeight{Bias: true}, []engine.Spec{half(4, 8), half(4, 8)}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openBackend(t, fakeOptions(t))
			cs := b.libraryCandidates(c.op, c.in, infer(t, c.op, c.in))
			fused, lt16 := 0, 0
			var names []string
			for _, c := range cs {
				if strings.HasPrefix(c.name, "cudnn fused ") {
					fused++
				}
				if strings.HasPrefix(c.name, "cublasLt bfloat16 ") {
					lt16 = 1
				}
				if slices.Contains(names, c.name) {
					t.Errorf("%s is offered twice", c.name)
				}
				names = append(names, c.name)
			}
			if fused != c.fused || lt16 != c.lt16 {
				t.Errorf("%d fused, %d of cuBLASLt in bfloat16: %v", fused, lt16, names)
			}
			if err := b.release(cs, -1); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestResidualThatIsX shows that x may be its own residual with every
// implementation, though cuDNN does not take it so.
func TestResidualThatIsX(t *testing.T) {
	op := engine.Conv2D{Pad: engine.Around(1), Epilogue: engine.Epilogue{Residual: true, Act: engine.ReLU}}
	rng := rand.New(rand.NewPCG(5, 6))
	for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
		x, w := randomArray(rng, d, 2, 5, 4, 6), randomArray(rng, engine.Float32, 3, 3, 6, 6)
		typed := x.Spec
		typed.DType = d
		x = ref.Decode(typed, ref.Array{Spec: typed, V: x.V}.Encode())
		want, err := ref.Eval(op, []ref.Array{x, w, x})
		if err != nil {
			t.Fatal(err)
		}
		fused := 0
		for i, most := 1, 2; i <= most; i++ {
			b := openBackend(t, fakeOptions(t))
			b.forced = i
			in := []engine.Spec{typed, w.Spec, typed}
			k, err := b.Compile(op, in, []engine.Spec{typed})
			if err != nil {
				t.Fatal(err)
			}
			tensor := func(s engine.Spec, data []byte) engine.Tensor {
				buf, err := b.Alloc(s.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				if err := buf.Write(0, data); err != nil {
					t.Fatal(err)
				}
				return engine.Tensor{Spec: s, Buf: buf}
			}
			tx, tw, ty := tensor(typed, x.Encode()), tensor(w.Spec, w.Encode()), tensor(typed, make([]byte, typed.Bytes()))
			ws := engine.Spec{Shape: []int{max(k.Workspace(), 1)}, DType: engine.Uint8}
			if err := k.Enqueue([]engine.Tensor{tx, tw, tx}, []engine.Tensor{ty}, tensor(ws, make([]byte, ws.Bytes()))); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, typed.Bytes())
			if err := ty.Read(got); err != nil {
				t.Fatal(err)
			}
			winner := b.Choices()[0].Winner
			if strings.HasPrefix(winner, "cudnn fused ") {
				fused++
			}
			for e, v := range ref.Decode(typed, got).V {
				if d := v - want[0].V[e]; !(max(d, -d) <= want[0].Bound(e, 4)) {
					t.Fatalf("%s in %v: y[%d] is %g, want %g", winner, typed.DType, e, v, want[0].V[e])
				}
			}
			most = b.most
		}
		if fused == 0 {
			t.Error("nothing was fused")
		}
	}
}

// TestForcedButUnknown shows that tests pass over what a library lists and then
// does not run.
func TestForcedButUnknown(t *testing.T) {
	b := openBackend(t, fakeOptions(t))
	b.forced = 2
	op, in := engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{engine.F32(1, 4, 4, 8), engine.F32(3, 3, 8, 8), engine.F32(8)}
	fake.Fail(t, "cudnnConvolutionBiasActivationForward", 3000, 0)
	if _, err := b.Compile(op, in, infer(t, op, in)); err != nil {
		t.Fatal(err)
	}
	if w := b.Choices()[0].Winner; w != "potstill" {
		t.Errorf("%s is taken", w)
	}
}
