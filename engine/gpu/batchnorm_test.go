package gpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestBatchNormLongChunks runs BatchNorm as on a card of one multiprocessor, so
// that each thread has many rows: the suite's pictures are too small for that.
func TestBatchNormLongChunks(t *testing.T) {
	b := newFake(t)
	b.device.Multiprocessors = 1
	for i, s := range [][]int{{4, 64, 65, 6}, {3, 57, 41, 16}, {2, 33, 31, 89}, {1, 47, 53, 1}, {1, 9, 7, 1028}, {2, 62, 64, 24}} {
		for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
			t.Run(fmt.Sprint(engine.Spec{Shape: s, DType: d}), func(t *testing.T) {
				r := rand.New(rand.NewPCG(uint64(i), uint64(d)))
				c := s[3]
				// A mean of many standard deviations.
				x := normal(r, engine.Spec{Shape: s, DType: d}, 0.25, 8)
				for j, v := range x.V {
					x.V[j] = math.Round(v*16) / 16 // what differs differs enough to win a window
				}
				gamma, beta, running := normal(r, engine.F32(c), 1, 0.1), normal(r, engine.F32(c), 1, 0), normal(r, engine.F32(c), 1, 0)
				variance := normal(r, engine.F32(c), 0.1, 1.5)
				train := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
				compareWithRef(t, b, train, []ref.Array{x, gamma, beta, running, variance})
				out, err := ref.Eval(train, []ref.Array{x, gamma, beta, running, variance})
				if err != nil {
					t.Fatal(err)
				}
				mean, rstd := out[1], out[2]
				dy := normal(r, x.Spec, 1, 0.3)
				compareWithRef(t, b, engine.BatchNormBackward{}, []ref.Array{x, dy, gamma, mean, rstd})
				compareWithRef(t, b, engine.BatchNormEvalBackward{Eps: 1e-5}, []ref.Array{x, dy, gamma, running, variance})
				pool := &engine.Window{Kernel: engine.Both(2)}
				fused := engine.BatchNormAct{BatchNorm: train, F: engine.ReLU, Pool: pool}
				compareWithRef(t, b, fused, []ref.Array{x, gamma, beta, running, variance})
				y, err := fused.Infer([]engine.Spec{x.Spec, gamma.Spec, beta.Spec, running.Spec, variance.Spec})
				if err != nil {
					t.Fatal(err)
				}
				// Far from the corner of ReLU, where rounding would decide the slope.
				up := normal(r, engine.F32(c), 0.1, 50)
				compareWithRef(t, b, engine.BatchNormActBackward{F: engine.ReLU, Pool: pool},
					[]ref.Array{x, normal(r, y[0], 1, 0), gamma, up, mean, rstd})
				compareWithRef(t, b, engine.BatchNormActBackward{F: engine.ReLU}, []ref.Array{x, dy, gamma, up, mean, rstd})
			})
		}
	}
}

// normal returns an array of normal numbers times scale plus shift, rounded to
// the type of s.
func normal(r *rand.Rand, s engine.Spec, scale, shift float64) ref.Array {
	a := ref.NewArray(s)
	for i := range a.V {
		a.V[i] = scale*r.NormFloat64() + shift
	}
	return ref.Decode(s, a.Encode())
}
