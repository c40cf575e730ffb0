package cpu_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest"
	"github.com/potstill/potstill/engine/ref"
)

// The matrices of minimal filtering with the points 0, ±√½, ±√2 and ∞, in absolute
// values: |Bᵀ|, |G| and |Aᵀ| of winograd_transform.h.
var (
	root  = math.Sqrt2
	winoB = [6][6]float64{{1, 0, 2.5, 0, 1, 0}, {0, root, 2, root / 2, 1, 0}, {0, root, 2, root / 2, 1, 0},
		{0, root / 2, 0.5, root, 1, 0}, {0, root / 2, 0.5, root, 1, 0}, {0, 1, 0, 2.5, 0, 1}}
	winoG = [6][3]float64{{1, 0, 0}, {2. / 3, root / 3, 1. / 3}, {2. / 3, root / 3, 1. / 3},
		{1. / 6, root / 6, 1. / 3}, {1. / 6, root / 6, 1. / 3}, {0, 0, 1}}
	winoA = [4][6]float64{{1, 1, 1, 1, 1, 0}, {0, root / 2, root / 2, root, root, 0}, {0, 0.5, 0.5, 2, 2, 0},
		{0, root / 4, root / 4, 2 * root, 2 * root, 1}}
)

// tileMagnitude returns M of winograd.go for the 4×4 results of the tile of image n
// at (i0, j0), output channel o: x [N,H,W,C] with one pixel of padding, w [3,3,C,O].
func tileMagnitude(x, w ref.Array, n, i0, j0, o int) (m [4][4]float64) {
	h, wd, c := x.Shape[1], x.Shape[2], x.Shape[3]
	var sum [6][6]float64
	for k := range c {
		var v, u [6][6]float64
		for r := range 6 {
			for s := range 6 {
				i, j := i0+r-1, j0+s-1
				if i < 0 || i >= h || j < 0 || j >= wd {
					continue
				}
				d := math.Abs(x.V[((n*h+i)*wd+j)*c+k])
				for p := range 6 {
					for q := range 6 {
						v[p][q] += winoB[p][r] * d * winoB[q][s]
					}
				}
			}
		}
		for r := range 3 {
			for s := range 3 {
				d := math.Abs(w.V[((r*3+s)*c+k)*w.Shape[3]+o])
				for p := range 6 {
					for q := range 6 {
						u[p][q] += winoG[p][r] * d * winoG[q][s]
					}
				}
			}
		}
		for p := range 6 {
			for q := range 6 {
				sum[p][q] += u[p][q] * v[p][q]
			}
		}
	}
	for i := range 4 {
		for j := range 4 {
			for p := range 6 {
				for q := range 6 {
					m[i][j] += winoA[i][p] * sum[p][q] * winoA[j][q]
				}
			}
		}
	}
	return m
}

// TestWinogradBound holds minimal filtering to the bound that winograd.go states,
// with pictures for which it is worst: one pixel of a tile far above the others, and
// a mean far from zero.
func TestWinogradBound(t *testing.T) {
	const n, h, wd, c, o = 2, 16, 20, 24, 16
	pictures := map[string]func(rng *rand.Rand, i int) float64{
		"normal": func(rng *rand.Rand, _ int) float64 { return rng.NormFloat64() },
		"mean":   func(rng *rand.Rand, _ int) float64 { return 100 + rng.NormFloat64() },
		"peak": func(rng *rand.Rand, i int) float64 {
			if i/c%wd%4 == 2 {
				return 1e4 * rng.NormFloat64()
			}
			return rng.NormFloat64()
		},
	}
	op := engine.Conv2D{Pad: engine.Around(1)}
	for name, at := range pictures {
		rng := rand.New(rand.NewPCG(1, 2))
		x, w := ref.NewArray(engine.F32(n, h, wd, c)), ref.NewArray(engine.F32(3, 3, c, o))
		for i := range x.V {
			x.V[i] = float64(float32(at(rng, i)))
		}
		for i := range w.V {
			w.V[i] = float64(float32(rng.NormFloat64()))
		}
		want, err := ref.Eval(op, []ref.Array{x, w})
		if err != nil {
			t.Fatal(err)
		}
		eachVariant(t, func(t *testing.T, variant string) {
			got := runOnce(t, variant, op, want[0].Spec, x, w)
			worst, direct := 0.0, 0.0 // the largest error over √K·u·M and over the direct sum's bound
			for tile := range n * h / 4 * wd / 4 {
				b, i0, j0 := tile/(h/4*wd/4), tile/(wd/4)%(h/4)*4, tile%(wd/4)*4
				for k := range o {
					m := tileMagnitude(x, w, b, i0, j0, k)
					for i := range 4 {
						for j := range 4 {
							e := ((b*h+i0+i)*wd+j0+j)*o + k
							off := math.Abs(float64(got[e]) - want[0].V[e])
							worst = max(worst, off/(m[i][j]*math.Sqrt(9*c)*0x1p-24))
							direct = max(direct, off/want[0].Bound(e, 1))
						}
					}
				}
			}
			if worst > 1./16 || worst == 0 {
				t.Errorf("%s: an error is %.3g times √K·u·M", name, worst)
			}
			if name != "peak" && direct > backendtest.C {
				t.Errorf("%s: an error is %.2f times the bound of the direct sum", name, direct)
			}
		})
	}
}

// runOnce returns what op makes of x and w.
func runOnce(t *testing.T, variant string, op engine.Op, y engine.Spec, in ...ref.Array) []float32 {
	t.Helper()
	b := open(t, variant, 2)
	specs, tensors := []engine.Spec{}, []engine.Tensor{}
	alloc := func(bytes int) engine.Buffer {
		buf, err := b.Alloc(max(bytes, 1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = buf.Close() })
		return buf
	}
	for _, a := range in {
		buf := alloc(a.Bytes())
		if err := buf.Write(0, a.Encode()); err != nil {
			t.Fatal(err)
		}
		specs, tensors = append(specs, a.Spec), append(tensors, engine.Tensor{Spec: a.Spec, Buf: buf})
	}
	k, err := b.Compile(op, specs, []engine.Spec{y})
	if err != nil {
		t.Fatal(err)
	}
	out := engine.Tensor{Spec: y, Buf: alloc(y.Bytes())}
	ws := engine.Tensor{Buf: alloc(k.Workspace())}
	if err := k.Enqueue(tensors, []engine.Tensor{out}, ws); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, y.Len())
	if err := out.Buf.Read(0, engine.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	return got
}
