//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

var convShapes = []ConvShape{
	{N: 2, H: 5, W: 7, C: 3, O: 8, KH: 3, KW: 3, OH: 5, OW: 7, Stride: [2]int{1, 1}, Pad: [2]int{1, 1}, Dilation: [2]int{1, 1}, Groups: 1},
	{N: 1, H: 9, W: 8, C: 6, O: 4, KH: 3, KW: 2, OH: 4, OW: 4, Stride: [2]int{2, 2}, Pad: [2]int{0, 0}, Dilation: [2]int{1, 1}, Groups: 2},
	{N: 2, H: 7, W: 7, C: 4, O: 8, KH: 3, KW: 3, OH: 7, OW: 7, Stride: [2]int{1, 1}, Pad: [2]int{2, 2}, Dilation: [2]int{2, 2}, Groups: 4},
	{N: 3, H: 4, W: 4, C: 5, O: 7, KH: 1, KW: 1, OH: 4, OW: 4, Stride: [2]int{1, 1}, Pad: [2]int{0, 0}, Dilation: [2]int{1, 1}, Groups: 1},
	{N: 1, H: 11, W: 6, C: 3, O: 3, KH: 2, KW: 2, OH: 5, OW: 3, Stride: [2]int{3, 3}, Pad: [2]int{2, 2}, Dilation: [2]int{2, 2}, Groups: 3},
	{N: 2, H: 6, W: 9, C: 4, O: 6, KH: 1, KW: 5, OH: 3, OW: 9, Stride: [2]int{2, 1}, Pad: [2]int{0, 4}, Dilation: [2]int{1, 2}, Groups: 2},
	{N: 1, H: 1, W: 1, C: 1, O: 1, KH: 1, KW: 1, OH: 1, OW: 1, Stride: [2]int{1, 1}, Pad: [2]int{0, 0}, Dilation: [2]int{1, 1}, Groups: 1},
}

// A convRig is a stream with cuDNN on it and the operands of a shape.
type convRig struct {
	s       *Stream
	dnn     *DNN
	x, w, y []float32
	p       [3]Ptr // of x, w, y
	ws      Ptr
}

const convWorkspace = 1 << 16

func newConvRig(t testing.TB, shape ConvShape) *convRig {
	t.Helper()
	c, _ := opened(t, "")
	r := &convRig{s: must[*Stream](t)(c.NewStream())}
	r.dnn = must[*DNN](t)(c.NewDNN(r.s))
	rng := rand.New(rand.NewPCG(1, 2))
	r.x = numbers(rng, shape.N*shape.H*shape.W*shape.C, shape.BF16)
	r.w = numbers(rng, shape.O*shape.KH*shape.KW*shape.C/shape.Groups, shape.BF16)
	r.y = numbers(rng, shape.N*shape.OH*shape.OW*shape.O, shape.BF16)
	for i, f := range [][]float32{r.x, r.w, r.y} {
		r.p[i] = upload(t, r.s, f, shape.BF16)
	}
	r.ws = must[Ptr](t)(c.Alloc(convWorkspace))
	return r
}

// out returns where a pass writes, and how many numbers.
func (r *convRig) out(p ConvPass) (Ptr, int) {
	switch p {
	case Forward:
		return r.p[2], len(r.y)
	case BackwardData:
		return r.p[0], len(r.x)
	}
	return r.p[1], len(r.w)
}

// run does a pass with its result's memory set to NaN before, and returns it.
func (r *convRig) run(t testing.TB, conv *Conv, a Algorithm) []float32 {
	t.Helper()
	to, n := r.out(conv.pass)
	spoil(t, r.s, to, n, conv.shape.BF16)
	check(t, r.s.Fill(r.ws, 0xff, convWorkspace))
	check(t, conv.Run(a, r.p[0], r.p[1], r.p[2], r.ws))
	return fetch(t, r.s, to, n, conv.shape.BF16)
}

func TestConv(t *testing.T) {
	for _, queue := range []string{"eager", "lazy"} {
		for i, shape := range convShapes {
			for _, half := range []bool{false, true} {
				shape.BF16 = half
				for p := Forward; p <= BackwardFilter; p++ {
					t.Run(fmt.Sprintf("%s/%d/bf16=%t/%s", queue, i, half, p), func(t *testing.T) {
						t.Setenv("FAKE_QUEUE", queue)
						r := newConvRig(t, shape)
						conv := must[*Conv](t)(r.dnn.NewConv(shape, p))
						want := convolve(shape, p, r.x, r.w, r.y)
						for _, a := range conv.Algorithms() {
							near(t, a.Name, r.run(t, conv, a), want, half)
						}
					})
				}
			}
		}
	}
}

func TestConvAlgorithms(t *testing.T) {
	shape := convShapes[0]
	r := newConvRig(t, shape)
	for p, want := range [][]Algorithm{
		Forward: {
			{0x301, "IMPLICIT_PRECOMP_GEMM FMA_MATH", 4 * 5 * 7 * 9, true},
			{0x300, "IMPLICIT_GEMM FMA_MATH", 0, true},
		},
		BackwardData: {{0x301, "ALGO_1 FMA_MATH", 4 * len(r.x), true}, {0x300, "ALGO_0 FMA_MATH", 0, false}},
		BackwardFilter: {
			{0x301, "ALGO_1 FMA_MATH", 4 * len(r.w), true}, {0x303, "ALGO_3 FMA_MATH", 64, false}, {0x300, "ALGO_0 FMA_MATH", 0, false},
		},
	} {
		conv := must[*Conv](t)(r.dnn.NewConv(shape, ConvPass(p)))
		if got := conv.Algorithms(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", ConvPass(p), got, want)
		}
	}
	if v := r.dnn.Version(); v != "9.0.0" {
		t.Errorf("version %s", v)
	}
}

// Only with TF32 are factors rounded to it, by every algorithm that may.
func TestConvTF32(t *testing.T) {
	shape := convShapes[0]
	shape.TF32 = true
	for p := Forward; p <= BackwardFilter; p++ {
		r := newConvRig(t, shape)
		conv := must[*Conv](t)(r.dnn.NewConv(shape, p))
		rounded := 0
		want := convolve(shape, p, r.x, r.w, r.y)
		for _, a := range conv.Algorithms() {
			got := r.run(t, conv, a)
			worst := 0.0
			for i, w := range want {
				worst = max(worst, abs(float64(got[i])-w.v)/w.abs)
			}
			if tf32 := strings.HasSuffix(a.Name, "TENSOR_OP_MATH"); tf32 != (worst > 1e-5) || worst > 1e-3 {
				t.Errorf("%s, %s: error %g", p, a.Name, worst)
			} else if tf32 {
				rounded++
			}
		}
		if rounded < 2 {
			t.Errorf("%s: %d algorithms use TF32", p, rounded)
		}
	}
}

func abs(f float64) float64 { return max(f, -f) }

// Algorithms that are said to be deterministic repeat their bits; of the others
// each shows here that it does not.
func TestConvDeterminism(t *testing.T) {
	shape := ConvShape{N: 4, H: 9, W: 9, C: 8, O: 8, KH: 3, KW: 3, OH: 9, OW: 9, Stride: [2]int{1, 1}, Pad: [2]int{1, 1}, Dilation: [2]int{1, 1}, Groups: 1}
	r := newConvRig(t, shape)
	for p := Forward; p <= BackwardFilter; p++ {
		conv := must[*Conv](t)(r.dnn.NewConv(shape, p))
		for _, a := range conv.Algorithms() {
			first := r.run(t, conv, a)
			if same := slices.Equal(first, r.run(t, conv, a)); same != a.Deterministic {
				t.Errorf("%s: two runs are the same: %t", a.Name, same)
			}
		}
	}
}

// A captured pass runs when its graph is launched, and reads what lies there then.
func TestConvCapture(t *testing.T) {
	shape := convShapes[2]
	r := newConvRig(t, shape)
	conv := must[*Conv](t)(r.dnn.NewConv(shape, Forward))
	y, n := r.out(Forward)
	spoil(t, r.s, y, n, false)
	check(t, r.s.BeginCapture())
	check(t, conv.Run(conv.Algorithms()[0], r.p[0], r.p[1], y, r.ws))
	g := must[*Graph](t)(r.s.EndCapture())
	if got := fetch(t, r.s, y, n, false); got[0] == got[0] {
		t.Fatal("the capture ran")
	}
	for seed := range uint64(2) {
		r.x = numbers(rand.New(rand.NewPCG(seed, 9)), len(r.x), false)
		check(t, r.s.Write(r.p[0], encode(r.x, false)))
		check(t, g.Launch(r.s))
		near(t, "replay", fetch(t, r.s, y, n, false), convolve(shape, Forward, r.x, r.w, r.y), false)
	}
}

func TestConvShapeErrors(t *testing.T) {
	r := newConvRig(t, convShapes[0])
	for want, change := range map[string]func(*ConvShape){
		"N is 0":            func(s *ConvShape) { s.N = 0 },
		"C is -1":           func(s *ConvShape) { s.C = -1 },
		"Pad is -1":         func(s *ConvShape) { s.Pad[1] = -1 },
		"Stride is 0":       func(s *ConvShape) { s.Stride[0] = 0 },
		"do not divide":     func(s *ConvShape) { s.Groups = 2 },
		"OH is 4":           func(s *ConvShape) { s.OH = 4 },
		"OW is 8":           func(s *ConvShape) { s.OW = 8 },
		"larger than":       func(s *ConvShape) { s.KH = 8 },
		"H is 4294967296: ": func(s *ConvShape) { s.H = 1 << 32 },
	} {
		s := convShapes[0]
		change(&s)
		_, err := r.dnn.NewConv(s, Forward)
		wantError(t, err, want)
	}
	_, err := r.dnn.NewConv(convShapes[0], 3)
	wantError(t, err, "ConvPass(3)")
}

// What is wrong with a call comes back with the call's and the code's names.
func TestConvErrors(t *testing.T) {
	r := newConvRig(t, convShapes[0])
	conv := must[*Conv](t)(r.dnn.NewConv(convShapes[0], Forward))
	a := conv.Algorithms()[0]
	x, w, y := r.p[0], r.p[1], r.p[2]
	wantError(t, conv.Run(a, 0, w, y, r.ws), "forward convolution of 2x5x7x3", "address 0")
	wantError(t, conv.Run(a, x, w, y, 0), "1260 bytes of workspace")
	wantError(t, conv.Run(Algorithm{ID: 7}, x, w, y, r.ws), "not one of the 2")
	wantError(t, conv.Run(a, x+2, w, y, r.ws), "cudnnConvolutionForward: CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER (2003)", "multiple of 4")
	wantError(t, conv.Run(a, x+4, w, y, r.ws), "CUDNN_STATUS_BAD_PARAM (2000)", "x: no memory of the device holds its 840 bytes")
	wantError(t, conv.Run(a, x, w, y, r.ws+convWorkspace-16), "workSpace")
	wantError(t, conv.Run(a, x, w, x, r.ws), "CUDNN_STATUS_BAD_PARAM")

	fake.Fail(t, "cudnnConvolutionForward", 4004, 0)
	err := conv.Run(a, x, w, y, r.ws)
	var e *Error
	if !errors.As(err, &e) || e.Call != "cudnnConvolutionForward" || e.Number != 4004 || !errors.Is(err, ErrOutOfMemory) {
		t.Errorf("%v", err)
	}
	near(t, "after all that", r.run(t, conv, a), convolve(convShapes[0], Forward, r.x, r.w, r.y), false)
}

// A failure in the middle of describing leaves nothing behind.
func TestNewConvFails(t *testing.T) {
	r := newConvRig(t, convShapes[0])
	calls := map[string]string{
		"cudnnCreateConvolutionDescriptor": "cudnnDestroyFilterDescriptor", "cudnnSetConvolutionGroupCount": "cudnnDestroyConvolutionDescriptor",
		"cudnnGetConvolutionForwardAlgorithm_v7": "cudnnDestroyTensorDescriptor",
	}
	for call, undone := range calls {
		before := fake.Calls(t, undone)
		fake.Fail(t, call, 4003, 0)
		_, err := r.dnn.NewConv(convShapes[0], Forward)
		wantError(t, err, call, "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED (4003)")
		if fake.Calls(t, undone) == before {
			t.Errorf("%s is not called after %s failed", undone, call)
		}
	}
	conv := must[*Conv](t)(r.dnn.NewConv(convShapes[0], Forward))
	near(t, "after that", r.run(t, conv, conv.Algorithms()[0]), convolve(convShapes[0], Forward, r.x, r.w, r.y), false)
}

func TestConvClose(t *testing.T) {
	r := newConvRig(t, convShapes[0])
	open := func() int {
		return fake.Calls(t, "cudnnCreateTensorDescriptor") - fake.Calls(t, "cudnnDestroyTensorDescriptor")
	}
	before := open()
	conv := must[*Conv](t)(r.dnn.NewConv(convShapes[0], Forward))
	left := must[*Conv](t)(r.dnn.NewConv(convShapes[0], BackwardData))
	a := conv.Algorithms()[0]
	check(t, conv.Close())
	check(t, conv.Close())
	wantError(t, conv.Run(a, r.p[0], r.p[1], r.p[2], r.ws), "closed")
	check(t, r.dnn.Close())
	check(t, r.dnn.Close())
	check(t, left.Close())
	wantError(t, left.Run(a, r.p[0], r.p[1], r.p[2], r.ws), "closed")
	if n := open() - before; n != 0 {
		t.Errorf("%d tensor descriptors are left", n)
	}
	_, err := r.dnn.NewConv(convShapes[0], Forward)
	wantError(t, err, "closed")

	again := must[*DNN](t)(r.s.c.NewDNN(r.s))
	handles := fake.Calls(t, "cudnnDestroy")
	check(t, r.s.c.Close())
	if fake.Calls(t, "cudnnDestroy") != handles+1 {
		t.Error("closing the context leaves cuDNN's handle")
	}
	check(t, again.Close())
}

func TestRunAllocatesNothing(t *testing.T) {
	r := newConvRig(t, convShapes[5])
	conv := must[*Conv](t)(r.dnn.NewConv(convShapes[5], Forward))
	a := conv.Algorithms()[0]
	if n := testing.AllocsPerRun(20, func() { check(t, conv.Run(a, r.p[0], r.p[1], r.p[2], r.ws)) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}

func TestNoDNN(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Symlink(filepath.Join(fake.Dir(t), "libcuda.so.1"), filepath.Join(dir, "libcuda.so.1")))
	t.Setenv("POTSTILL_CUDA_PATH", "")
	d := must[*Driver](t)(Load(Options{Search: []string{dir}}))
	d.loader = newLoader([]string{dir}, 13)
	c := must[*Context](t)(d.Open(0))
	defer c.Close()
	s := must[*Stream](t)(c.NewStream())
	_, err := c.NewDNN(s)
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	wantError(t, err, "libcudnn.so.9", "pip install")
	_, err = c.NewBLAS()
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	wantError(t, err, "libcublasLt.so.1", "pip install")
}

// cuDNN's parts come from its own folder, or the error names the two.
func TestOneFolder(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler")
	}
	dirs := [3]string{t.TempDir(), t.TempDir(), t.TempDir()}
	part := "libpotstill_part.so.9"
	for _, dir := range dirs[:2] {
		source := filepath.Join(dir, "part.c")
		check(t, os.WriteFile(source, []byte("int potstill_part(void) { return 9; }\n"), 0o644))
		out, err := exec.Command(cc, "-shared", "-fPIC", "-Wl,-soname,"+part, "-o", filepath.Join(dir, part), source).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	parts := dnnParts
	defer func() { dnnParts = parts }()
	dnnParts = []string{part, "libpotstill_missing.so.9"}
	check(t, oneFolder(filepath.Join(dirs[0], "libcudnn.so.9")))
	check(t, oneFolder(filepath.Join(dirs[0], "libcudnn.so.9")))
	wantError(t, oneFolder(filepath.Join(dirs[1], "libcudnn.so.9")), dirs[0], dirs[1], "in one folder")
	check(t, os.WriteFile(filepath.Join(dirs[2], part), []byte("no library"), 0o644))
	err = oneFolder(filepath.Join(dirs[2], "libcudnn.so.9"))
	wantError(t, err, part, "cannot be opened", "one folder")
	if !errors.Is(err, ErrNotFound) {
		t.Error("it is not ErrNotFound")
	}
}
