//go:build linux && cgo

package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// A matmulRig is cuBLASLt with the operands of a shape.
type matmulRig struct {
	s              *Stream
	blas           *BLAS
	shape          MatmulShape
	m              *Matmul
	a, b, bias     []float32
	pa, pb, pc, pv Ptr
	ws             Ptr
}

const matmulWorkspace = 1 << 20

func newMatmulRig(t testing.TB, shape MatmulShape) *matmulRig {
	t.Helper()
	c, _ := opened(t, "")
	r := &matmulRig{s: must[*Stream](t)(c.NewStream()), shape: shape}
	r.blas = must[*BLAS](t)(c.NewBLAS())
	r.m = must[*Matmul](t)(r.blas.NewMatmul(shape, matmulWorkspace))
	rng := rand.New(rand.NewPCG(3, 4))
	r.a = numbers(rng, shape.M*shape.K, shape.BF16)
	r.b = numbers(rng, shape.K*shape.N, shape.BF16)
	r.bias = numbers(rng, shape.N, r.halfOut())
	r.pa, r.pb = upload(t, r.s, r.a, shape.BF16), upload(t, r.s, r.b, shape.BF16)
	r.pv = upload(t, r.s, r.bias, r.halfOut())
	r.pc = upload(t, r.s, make([]float32, shape.M*shape.N), r.halfOut())
	r.ws = must[Ptr](t)(c.Alloc(matmulWorkspace))
	return r
}

func (r *matmulRig) halfOut() bool { return r.shape.BF16 && !r.shape.Float32Out }

func (r *matmulRig) run(t testing.TB, a Algorithm) []float32 {
	t.Helper()
	n := r.shape.M * r.shape.N
	spoil(t, r.s, r.pc, n, r.halfOut())
	check(t, r.s.Fill(r.ws, 0xff, matmulWorkspace))
	check(t, r.m.Run(r.s, a, r.pa, r.pb, r.pc, r.pv, r.ws))
	return fetch(t, r.s, r.pc, n, r.halfOut())
}

func TestMatmul(t *testing.T) {
	for _, queue := range []string{"eager", "lazy"} {
		t.Run(queue, func(t *testing.T) {
			t.Setenv("FAKE_QUEUE", queue)
			for _, mnk := range [][3]int{{1, 1, 1}, {5, 7, 3}, {33, 8, 31}, {2, 44, 121}} {
				for bits := range 64 {
					s := MatmulShape{M: mnk[0], N: mnk[1], K: mnk[2], TransA: bits&1 > 0, TransB: bits&2 > 0,
						Bias: bits&4 > 0, BF16: bits&8 > 0, Float32Out: bits&16 > 0, BiasGrad: bits&32 > 0}
					if s.Float32Out && !s.BF16 || s.Bias && s.BiasGrad {
						continue
					}
					r := newMatmulRig(t, s)
					want := product(s, r.a, r.b, r.bias)
					for _, a := range r.m.Algorithms() {
						near(t, fmt.Sprintf("%s, bias %t, %s", s, s.Bias, a.Name), r.run(t, a), want, r.halfOut())
						if s.BiasGrad {
							near(t, fmt.Sprintf("%s, bias's gradient, %s", s, a.Name), fetch(t, r.s, r.pv, s.N, r.halfOut()), columnSums(s, r.b), r.halfOut())
						}
					}
					check(t, r.s.c.Close())
				}
			}
		})
	}
}

func TestMatmulAlgorithms(t *testing.T) {
	s := MatmulShape{M: 5, N: 7, K: 64}
	r := newMatmulRig(t, s)
	want := []Algorithm{
		{0, "algo 20 tile 7 splitk 1 reduction 0 swizzle 0 custom 0 stages 3 inner 0 cluster 0", 0, true},
		{1, "algo 21 tile 7 splitk 2 reduction 2 swizzle 0 custom 0 stages 3 inner 0 cluster 0", 2 * 4 * 35, true},
		{2, "algo 22 tile 7 splitk 2 reduction 1 swizzle 0 custom 0 stages 3 inner 0 cluster 0", 64, false},
	}
	if got := r.m.Algorithms(); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if v := r.blas.Version(); v != "12.0.0" {
		t.Errorf("version %s", v)
	}
	small := must[*Matmul](t)(r.blas.NewMatmul(s, 100))
	if got := small.Algorithms(); !slices.Equal(got, []Algorithm{want[0], {1, want[2].Name, 64, false}}) {
		t.Errorf("with 100 bytes: %v", got)
	}
	for _, a := range want {
		first := r.run(t, a)
		if same := slices.Equal(first, r.run(t, a)); same != a.Deterministic {
			t.Errorf("%s: two runs are the same: %t", a.Name, same)
		}
	}
}

// Only with TF32 are factors rounded to it.
func TestMatmulTF32(t *testing.T) {
	for _, tf32 := range []bool{false, true} {
		r := newMatmulRig(t, MatmulShape{M: 16, N: 16, K: 16, TF32: tf32})
		want := product(r.shape, r.a, r.b, nil)
		for _, a := range r.m.Algorithms() {
			worst := 0.0
			for i, g := range r.run(t, a) {
				worst = max(worst, math.Abs(float64(g)-want[i].v)/want[i].abs)
			}
			if tf32 != (worst > 1e-5) || worst > 1e-3 {
				t.Errorf("TF32 %t, %s: error %g", tf32, a.Name, worst)
			}
		}
	}
}

// A captured product keeps the bias that it was given, whatever came after it.
func TestMatmulCapture(t *testing.T) {
	s := MatmulShape{M: 5, N: 7, K: 3, Bias: true}
	r := newMatmulRig(t, s)
	other := upload(t, r.s, make([]float32, s.N), false)
	a := r.m.Algorithms()[1]
	check(t, r.s.BeginCapture())
	check(t, r.m.Run(r.s, a, r.pa, r.pb, r.pc, r.pv, r.ws))
	g := must[*Graph](t)(r.s.EndCapture())
	check(t, r.m.Run(r.s, a, r.pa, r.pb, r.pc, other, r.ws))
	none := product(MatmulShape{M: 5, N: 7, K: 3}, r.a, r.b, nil)
	near(t, "no bias", fetch(t, r.s, r.pc, s.M*s.N, false), none, false)
	r.a = numbers(rand.New(rand.NewPCG(8, 9)), len(r.a), false)
	check(t, r.s.Write(r.pa, encode(r.a, false)))
	check(t, g.Launch(r.s))
	near(t, "replay", fetch(t, r.s, r.pc, s.M*s.N, false), product(s, r.a, r.b, r.bias), false)
}

func TestMatmulErrors(t *testing.T) {
	r := newMatmulRig(t, MatmulShape{M: 5, N: 7, K: 64, Bias: true})
	a := r.m.Algorithms()[1]
	run := func(change func(p *[5]Ptr)) error {
		p := [5]Ptr{r.pa, r.pb, r.pc, r.pv, r.ws}
		change(&p)
		return r.m.Run(r.s, a, p[0], p[1], p[2], p[3], p[4])
	}
	wantError(t, run(func(p *[5]Ptr) { p[0] = 0 }), "matmul of A·B, 5x7 of sums of 64", "not 0")
	wantError(t, run(func(p *[5]Ptr) { p[3] = 0 }), "not 0")
	wantError(t, run(func(p *[5]Ptr) { p[4] = 0 }), "280 bytes of workspace", "not 0")
	wantError(t, run(func(p *[5]Ptr) { p[1] += 8 }), "multiple of 16")
	wantError(t, run(func(p *[5]Ptr) { p[0] += 1 << 20 }), "cublasLtMatmul: CUBLAS_STATUS_INVALID_VALUE (7)")
	wantError(t, run(func(p *[5]Ptr) { p[2] = p[0] }), "CUBLAS_STATUS_INVALID_VALUE (7)")
	grad := must[*Matmul](t)(r.blas.NewMatmul(MatmulShape{M: 5, N: 7, K: 64, BiasGrad: true}, matmulWorkspace))
	wantError(t, grad.Run(r.s, grad.Algorithms()[1], r.pa, r.pb, r.pc, 0, r.ws), "not 0")
	for _, p := range []Ptr{r.pa, r.pb, r.pc, r.ws} { // which the gradient would be written over
		wantError(t, grad.Run(r.s, grad.Algorithms()[1], r.pa, r.pb, r.pc, p, r.ws), "CUBLAS_STATUS_INVALID_VALUE (7)")
	}
	wantError(t, r.m.Run(r.s, Algorithm{ID: 1}, r.pa, r.pb, r.pc, r.pv, r.ws), "not one of the 3")
	check(t, run(func(*[5]Ptr) {}))

	_, both := r.blas.NewMatmul(MatmulShape{M: 1, N: 1, K: 1, Bias: true, BiasGrad: true}, 0)
	wantError(t, both, "cannot both")
	for _, s := range []MatmulShape{{N: 1, K: 1}, {M: 1, N: -2, K: 1}, {M: 1, N: 1, K: 1 << 40}} {
		_, err := r.blas.NewMatmul(s, 0)
		wantError(t, err, "it must be from 1")
	}
	_, err := r.blas.NewMatmul(MatmulShape{M: 1, N: 1, K: 1}, -1)
	wantError(t, err, "-1 bytes")
	for _, call := range []string{"cublasLtMatrixLayoutCreate", "cublasLtMatmulPreferenceCreate", "cublasLtMatmulDescSetAttribute"} {
		fake.Fail(t, call, 3, 0)
		_, err := r.blas.NewMatmul(r.shape, 0)
		wantError(t, err, call, "CUBLAS_STATUS_ALLOC_FAILED (3)")
	}
	fake.Fail(t, "cublasLtMatmulAlgoGetHeuristic", 15, 0)
	none := must[*Matmul](t)(r.blas.NewMatmul(r.shape, 0))
	if n := len(none.Algorithms()); n != 0 {
		t.Errorf("%d algorithms for what is not supported", n)
	}
}

func TestMatmulClose(t *testing.T) {
	r := newMatmulRig(t, MatmulShape{M: 5, N: 7, K: 64})
	a := r.m.Algorithms()[0]
	if n := testing.AllocsPerRun(20, func() { check(t, r.m.Run(r.s, a, r.pa, r.pb, r.pc, 0, 0)) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
	layouts := fake.Calls(t, "cublasLtMatrixLayoutDestroy")
	check(t, r.m.Close())
	check(t, r.m.Close())
	if n := fake.Calls(t, "cublasLtMatrixLayoutDestroy") - layouts; n != 3 {
		t.Errorf("%d layouts are destroyed", n)
	}
	wantError(t, r.m.Run(r.s, a, r.pa, r.pb, r.pc, 0, 0), "closed")
	left := must[*Matmul](t)(r.blas.NewMatmul(r.shape, 0))
	check(t, r.blas.Close())
	check(t, r.blas.Close())
	check(t, left.Close())
	_, err := r.blas.NewMatmul(r.shape, 0)
	wantError(t, err, "closed")
}
