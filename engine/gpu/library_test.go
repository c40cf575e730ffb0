package gpu

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

func half(shape ...int) engine.Spec { return engine.Spec{Shape: shape, DType: engine.BFloat16} }

// infer returns an op's outputs.
func infer(t *testing.T, op engine.Op, in []engine.Spec) []engine.Spec {
	t.Helper()
	out, err := op.Infer(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLibraryCandidates shows which library is asked for what.
func TestLibraryCandidates(t *testing.T) {
	x, w, bias := engine.F32(2, 6, 6, 8), engine.F32(3, 3, 8, 8), engine.F32(8)
	point, y := engine.F32(1, 1, 8, 8), engine.F32(2, 6, 6, 8)
	hx := half(x.Shape...)
	plus := engine.Epilogue{Residual: true}
	for _, c := range []struct {
		name        string
		op          engine.Op
		in          []engine.Spec
		dnn, matmul bool
	}{
		{"dense", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{x, w, bias}, true, false},
		{"depthwise", engine.Conv2D{Pad: engine.Around(1), Groups: 8}, []engine.Spec{x, engine.F32(3, 3, 1, 8)}, true, false},
		{"pointwise", engine.Conv2D{}, []engine.Spec{x, point, bias}, true, true},
		{"pointwise with a residual", engine.Conv2D{Epilogue: plus}, []engine.Spec{x, point, bias, y}, true, true},
		{"pointwise in groups", engine.Conv2D{Groups: 2}, []engine.Spec{x, engine.F32(1, 1, 4, 8)}, true, false},
		{"pointwise of stride 2", engine.Conv2D{Stride: engine.Both(2)}, []engine.Spec{x, point}, true, false},
		{"pointwise, padded", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{x, point}, true, false},
		{"pointwise to x", engine.Conv2DBackwardData{X: x}, []engine.Spec{y, point}, true, true},
		{"pointwise to w", engine.Conv2DBackwardWeight{W: point, Bias: true}, []engine.Spec{x, y}, true, true},
		{"linear", engine.Linear{}, []engine.Spec{engine.F32(4, 8), engine.F32(8, 3)}, false, true},
		{"dense in bfloat16", engine.Conv2D{Pad: engine.Around(1), Epilogue: engine.Epilogue{Act: engine.ReLU}}, []engine.Spec{hx, w}, true, false},
		{"dense in bfloat16 with a bias", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{hx, w, bias}, true, false},
		{"pointwise in bfloat16 with a residual", engine.Conv2D{Epilogue: plus}, []engine.Spec{hx, point, hx}, true, true},
		{"dense in bfloat16 to x", engine.Conv2DBackwardData{Conv2D: engine.Conv2D{Pad: engine.Around(1)}, X: hx}, []engine.Spec{hx, w}, true, false},
		{"dense in bfloat16 to w", engine.Conv2DBackwardWeight{Conv2D: engine.Conv2D{Pad: engine.Around(1)}, W: w}, []engine.Spec{hx, hx}, true, false},
		{"of stride 2 in groups in bfloat16 to x", engine.Conv2DBackwardData{Conv2D: engine.Conv2D{Pad: engine.Around(1), Stride: engine.Both(2), Groups: 2}, X: hx}, []engine.Spec{half(2, 3, 3, 8), engine.F32(3, 3, 4, 8)}, true, false},
		{"pointwise in bfloat16 to w", engine.Conv2DBackwardWeight{W: point}, []engine.Spec{hx, hx}, true, true},
		{"an activation", engine.Activation{}, []engine.Spec{x}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openBackend(t, fakeOptions(t))
			cs := b.libraryCandidates(c.op, c.in, infer(t, c.op, c.in))
			has := func(prefix string) bool {
				return slices.ContainsFunc(cs, func(c candidate) bool { return strings.HasPrefix(c.name, prefix+" ") })
			}
			if has("cudnn") != c.dnn || has("cublasLt") != c.matmul || len(cs) > 0 != (c.dnn || c.matmul) {
				t.Errorf("%d candidates, of cuDNN %v, of cuBLASLt %v", len(cs), has("cudnn"), has("cublasLt"))
			}
			if err := b.release(cs, -1); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestInexactAlgorithms shows that what errs more than by rounding is taken only
// where operands are rounded anyway.
func TestInexactAlgorithms(t *testing.T) {
	for _, c := range []struct {
		shape cuda.ConvShape
		name  string
		want  bool
	}{
		{cuda.ConvShape{}, "IMPLICIT_GEMM FMA_MATH", true},
		{cuda.ConvShape{}, "FFT_TILING FMA_MATH", false},
		{cuda.ConvShape{}, "WINOGRAD_NONFUSED FMA_MATH", false},
		{cuda.ConvShape{TF32: true}, "WINOGRAD FMA_MATH", true},
		{cuda.ConvShape{BF16: true}, "WINOGRAD FMA_MATH", true},
	} {
		if got := (libraryConv{shape: c.shape}).exact(cuda.Algorithm{Name: c.name}); got != c.want {
			t.Errorf("%s for %v: %v", c.name, c.shape, got)
		}
	}
}

// A bout runs one kernel on given inputs.
func bout(t *testing.T, b *Backend, op engine.Op, in []engine.Spec, data [][]float32) [][]float32 {
	t.Helper()
	out := infer(t, op, in)
	k, err := b.Compile(op, in, out)
	if err != nil {
		t.Fatal(err)
	}
	alloc := func(s engine.Spec) engine.Tensor {
		buf, err := b.Alloc(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return engine.Tensor{Spec: s, Buf: buf}
	}
	var xs, ys []engine.Tensor
	for i, s := range in {
		xs = append(xs, alloc(s))
		if err := xs[i].Write(engine.Bytes(data[i])); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range out {
		ys = append(ys, alloc(s))
	}
	ws := alloc(engine.Spec{Shape: []int{max(k.Workspace(), 1)}, DType: engine.Uint8})
	if err := k.Enqueue(xs, ys, ws); err != nil {
		t.Fatal(err)
	}
	got := make([][]float32, len(out))
	for i, y := range ys {
		got[i] = make([]float32, y.Len())
		if err := y.Read(engine.Bytes(got[i])); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// TestRandomOrder runs every implementation, those that are not deterministic
// too: each agrees with ours, within rounding.
func TestRandomOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	x, w, y := engine.F32(2, 7, 6, 5), engine.F32(3, 3, 5, 6), engine.F32(2, 7, 6, 6)
	conv := engine.Conv2D{Pad: engine.Around(1)}
	random := 0
	for _, c := range []struct {
		op engine.Op
		in []engine.Spec
	}{
		{conv, []engine.Spec{x, w, engine.F32(6)}},
		{engine.Conv2DBackwardData{Conv2D: conv, X: x}, []engine.Spec{y, w}},
		{engine.Conv2DBackwardWeight{Conv2D: conv, W: w, Bias: true}, []engine.Spec{x, y}},
		{engine.Conv2D{}, []engine.Spec{x, engine.F32(1, 1, 5, 6)}},
		{engine.LinearBackwardWeight{Bias: true}, []engine.Spec{engine.F32(40, 7), engine.F32(40, 3)}},
	} {
		data := make([][]float32, len(c.in))
		for i, s := range c.in {
			data[i] = make([]float32, s.Len())
			for k := range data[i] {
				data[i][k] = float32(rng.NormFloat64())
			}
		}
		want := bout(t, openBackend(t, ours(t)), c.op, c.in, data)
		for i, most := 2, 2; i <= most; i++ {
			b := openBackend(t, fakeOptions(t))
			b.forced = i
			got := bout(t, b, c.op, c.in, data)
			most = b.most
			choice := b.Choices()[0]
			if strings.Contains(choice.Winner, "potstill") {
				t.Errorf("%s: the candidate is %s", engine.OpName(c.op), choice.Winner)
			}
			for k := range want {
				for e, v := range want[k] {
					if d := math.Abs(float64(got[k][e] - v)); !(d < 2e-5) {
						t.Fatalf("%s by %s: output %d[%d] is %g, want %g", engine.OpName(c.op), choice.Winner, k, e, got[k][e], v)
					}
				}
			}
		}
		b := openBackend(t, fakeOptions(t))
		cs := b.libraryCandidates(c.op, c.in, infer(t, c.op, c.in))
		for _, l := range cs {
			if !l.deterministic {
				random++
			}
		}
		if err := b.release(cs, -1); err != nil {
			t.Error(err)
		}
	}
	if random == 0 {
		t.Error("the stand-ins have no implementation that is not deterministic: this tests nothing")
	}
}

// TestCublasLtIsOpenBeforeCudnn: cuDNN opens it by its bare name.
func TestCublasLtIsOpenBeforeCudnn(t *testing.T) {
	if b := openBackend(t, fakeOptions(t)); b.dnn == nil || b.blas == nil {
		t.Fatal("cuDNN or cuBLASLt is missing")
	}
	if n := fake.Calls(t, "cudnnCreate before cuBLASLt"); n != 0 {
		t.Errorf("cuDNN was made ready %d times without cuBLASLt", n)
	}
}

// TestLibraryThatIsMissing shows that ours remain.
func TestLibraryThatIsMissing(t *testing.T) {
	b := openBackend(t, fakeOptions(t))
	b.dnn, b.blas = nil, nil
	in := []engine.Spec{engine.F32(2, 6, 6, 8), engine.F32(1, 1, 8, 8)}
	if cs := b.libraryCandidates(engine.Conv2D{}, in, infer(t, engine.Conv2D{}, in)); len(cs) != 0 {
		t.Errorf("%d candidates", len(cs))
	}
	c, err := b.Compile(engine.Conv2D{}, in, infer(t, engine.Conv2D{}, in))
	if err != nil || c == nil || len(b.Choices()) != 0 {
		t.Errorf("%v, %v, %v", c, err, b.Choices())
	}
}

// TestMissingLibrariesAreSaidOnce: one warning, which says what it means.
func TestMissingLibrariesAreSaidOnce(t *testing.T) {
	alone := t.TempDir()
	for _, name := range []string{"libcuda.so.1", "libnvrtc.so.12", "prelude.h"} {
		text, err := os.ReadFile(filepath.Join(fake.Dir(t), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(alone, name), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var said bytes.Buffer
	b, err := New(Options{Search: []string{alone}, CacheDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if b.dnn != nil || b.blas != nil {
		t.Skip("this machine has cuDNN or cuBLASLt where the loader finds it")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	text := said.String()
	for _, part := range []string{"level=WARN", "cuBLASLt and cuDNN are missing", "own kernels, which are slower", "pip install"} {
		if strings.Count(text, part) == 0 || strings.Count(text, "missing") != 1 {
			t.Errorf("%q does not say %q, or says that they are missing more than once", text, part)
		}
	}
}

// TestSameKernelTwice shows that a product is chosen and made ready once for the
// same op and specs.
func TestSameKernelTwice(t *testing.T) {
	b := openBackend(t, fakeOptions(t))
	in := []engine.Spec{engine.F32(2, 6, 6, 8), engine.F32(1, 1, 8, 8)}
	out := infer(t, engine.Conv2D{}, in)
	for range 3 {
		if _, err := b.Compile(engine.Conv2D{}, in, out); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.Choices()) != 1 {
		t.Errorf("%d choices", len(b.Choices()))
	}
	if c, ok := b.ChoiceFor(engine.Conv2D{}, in, out); !ok || len(c.Timings) < 3 {
		t.Errorf("%+v", c)
	}
}

// TestPreparedWeightsAreOffered shows that a library's weight is packed once
// where the planner allows it.
func TestPreparedWeightsAreOffered(t *testing.T) {
	o := fakeOptions(t)
	o.Deterministic = true
	b := openBackend(t, o)
	b.forced = 2
	in := []engine.Spec{engine.F32(2, 6, 6, 8), engine.F32(3, 3, 8, 4)}
	k, err := b.Compile(engine.Conv2D{}, in, infer(t, engine.Conv2D{}, in))
	if err != nil {
		t.Fatal(err)
	}
	p := k.(engine.Preparer)
	if inputs, n := p.Prepares(); !slices.Equal(inputs, []int{1}) || n != in[1].Bytes() {
		t.Errorf("prepares %v in %d bytes", inputs, n)
	}
	plain := newDoubler(t, b, 10)
	if err := plain.kernel.(engine.Preparer).Prepare(nil, engine.Tensor{}); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("preparing what has nothing to prepare: %v", err)
	}
}
