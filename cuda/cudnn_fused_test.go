//go:build linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
)

// fusedShapes are some of convShapes, and one whose x could be its residual.
var fusedShapes = append(slices.Clone(convShapes[:3]),
	ConvShape{N: 2, H: 5, W: 4, C: 6, O: 6, KH: 3, KW: 3, OH: 5, OW: 4, Stride: [2]int{1, 1}, Pad: [2]int{1, 1}, Dilation: [2]int{1, 1}, Groups: 1})

// A fusedRig has a bias and a residual too.
type fusedRig struct {
	*convRig
	bias, z   []float32
	pBias, pZ Ptr
}

func newFusedRig(t testing.TB, shape ConvShape) *fusedRig {
	r := &fusedRig{convRig: newConvRig(t, shape)}
	rng := rand.New(rand.NewPCG(3, 4))
	r.bias, r.z = numbers(rng, shape.O, shape.BF16), numbers(rng, len(r.y), shape.BF16)
	r.pBias, r.pZ = upload(t, r.s, r.bias, shape.BF16), upload(t, r.s, r.z, shape.BF16)
	return r
}

// want is the definition, with the residual z or none.
func (r *fusedRig) want(shape ConvShape, relu bool, z []float32) []sum {
	want := convolve(shape, Forward, r.x, r.w, r.y)
	for i := range want {
		want[i].add(float64(r.bias[i%shape.O]), 1)
		if z != nil {
			want[i].add(float64(z[i]), 1)
		}
		if relu {
			want[i].v = math.Max(want[i].v, 0)
		}
	}
	return want
}

func TestFusedConv(t *testing.T) {
	for i, shape := range fusedShapes {
		for _, half := range []bool{false, true} {
			shape.BF16 = half
			for _, relu := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/bf16=%t/relu=%t", i, half, relu), func(t *testing.T) {
					r := newFusedRig(t, shape)
					conv := must[*Conv](t)(r.dnn.NewFusedConv(shape, relu))
					for _, a := range conv.Algorithms() {
						if !relu && !strings.HasPrefix(a.Name, "IMPLICIT_PRECOMP_GEMM ") {
							t.Errorf("%s is listed for the identity", a.Name)
						}
						r.each(t, shape, conv, a, relu)
					}
					if len(conv.Algorithms()) == 0 {
						t.Error("there is no algorithm")
					}
				})
			}
		}
	}
}

// each runs an algorithm without a residual, with one, and with y's and x's
// memory as one.
func (r *fusedRig) each(t *testing.T, shape ConvShape, conv *Conv, a Algorithm, relu bool) {
	t.Helper()
	x, w, y := r.p[0], r.p[1], r.p[2]
	run := func(what string, z Ptr, residual []float32) {
		t.Helper()
		check(t, r.s.Fill(r.ws, 0xff, convWorkspace))
		check(t, conv.RunFused(a, x, w, r.pBias, z, y, r.ws))
		near(t, a.Name+", "+what, fetch(t, r.s, y, len(r.y), shape.BF16), r.want(shape, relu, residual), shape.BF16)
	}
	spoil(t, r.s, y, len(r.y), shape.BF16) // what is not read may be anything
	run("no residual", 0, nil)
	spoil(t, r.s, y, len(r.y), shape.BF16)
	run("a residual", r.pZ, r.z)
	check(t, r.s.Write(y, encode(r.z, shape.BF16)))
	run("y for residual", y, r.z)
	if len(r.x) == len(r.y) {
		spoil(t, r.s, y, len(r.y), shape.BF16)
		run("x for residual", x, r.x)
	}
}

// The library's ReLU loses what is not a number, and the identity does not.
func TestFusedNaN(t *testing.T) {
	shape := convShapes[3]
	for _, relu := range []bool{false, true} {
		r := newFusedRig(t, shape)
		r.x[0] = float32(math.NaN())
		check(t, r.s.Write(r.p[0], encode(r.x, false)))
		conv := must[*Conv](t)(r.dnn.NewFusedConv(shape, relu))
		check(t, conv.RunFused(conv.Algorithms()[0], r.p[0], r.p[1], r.pBias, 0, r.p[2], r.ws))
		if got := fetch(t, r.s, r.p[2], len(r.y), false)[0]; (got == 0) != relu || (got != got) == relu {
			t.Errorf("relu=%t makes %v of NaN", relu, got)
		}
	}
}

func TestFusedErrors(t *testing.T) {
	shape := convShapes[0]
	r := newFusedRig(t, shape)
	plain := must[*Conv](t)(r.dnn.NewConv(shape, Forward))
	conv := must[*Conv](t)(r.dnn.NewFusedConv(shape, true))
	a, x, w, y := conv.Algorithms()[0], r.p[0], r.p[1], r.p[2]
	wantError(t, conv.Run(a, x, w, y, r.ws), "RunFused for what")
	wantError(t, plain.RunFused(a, x, w, r.pBias, 0, y, r.ws), "RunFused for what")
	wantError(t, conv.RunFused(a, x, w, 0, 0, y, r.ws), "bias is at address 0")
	wantError(t, conv.RunFused(a, x, 0, r.pBias, 0, y, r.ws), "address 0")
	wantError(t, conv.RunFused(Algorithm{ID: 7}, x, w, r.pBias, 0, y, r.ws), "not one of the 2")
	wantError(t, conv.RunFused(a, x, w, r.pBias+4, 0, y, r.ws), "cudnnConvolutionBiasActivationForward", "bias: no memory")
	wantError(t, conv.RunFused(a, x, w, r.pBias, r.pZ+8, y, r.ws), "z: no memory")
	wantError(t, conv.RunFused(a, x, w, r.pBias, 0, x, r.ws), "CUDNN_STATUS_BAD_PARAM")
	wantError(t, conv.RunFused(a, x, w, r.pBias, y, y, y), "CUDNN_STATUS_BAD_PARAM")

	fake.Fail(t, "cudnnConvolutionBiasActivationForward", 3000, 0)
	if err := conv.RunFused(a, x, w, r.pBias, 0, y, r.ws); !errors.Is(err, ErrNotSupported) {
		t.Errorf("%v", err)
	}
	for _, call := range []string{"cudnnSetActivationDescriptor", "cudnnCreateActivationDescriptor"} {
		before := fake.Calls(t, "cudnnCreateTensorDescriptor") - fake.Calls(t, "cudnnDestroyTensorDescriptor")
		fake.Fail(t, call, 4003, 0)
		_, err := r.dnn.NewFusedConv(shape, true)
		wantError(t, err, call, "(4003)")
		if n := fake.Calls(t, "cudnnCreateTensorDescriptor") - fake.Calls(t, "cudnnDestroyTensorDescriptor"); n != before {
			t.Errorf("after %s failed %d descriptors are left", call, n-before)
		}
	}
	check(t, conv.Close())
	if n := fake.Calls(t, "cudnnCreateActivationDescriptor") - fake.Calls(t, "cudnnDestroyActivationDescriptor"); n != 1 { // the call that failed
		t.Errorf("%d activation descriptors are left", n)
	}
	wantError(t, conv.RunFused(a, x, w, r.pBias, 0, y, r.ws), "closed")
}

func TestRunFusedAllocatesNothing(t *testing.T) {
	r := newFusedRig(t, fusedShapes[3])
	conv := must[*Conv](t)(r.dnn.NewFusedConv(fusedShapes[3], true))
	a := conv.Algorithms()[0]
	if n := testing.AllocsPerRun(20, func() { check(t, conv.RunFused(a, r.p[0], r.p[1], r.pBias, r.p[0], r.p[2], r.ws)) }); n != 0 {
		t.Errorf("RunFused allocates %v times", n)
	}
}
