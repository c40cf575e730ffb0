package gpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// studyActivations are those of the study's student and teacher at a batch of
// 256 images of 128 pixels.
var studyActivations = [][]int{
	{256, 128, 128, 16}, {256, 64, 64, 16}, {256, 64, 64, 32}, {256, 32, 32, 64}, {256, 16, 16, 128}, {256, 8, 8, 256},
	{256, 64, 64, 64}, {256, 32, 32, 128}, {256, 16, 16, 256}, {256, 4, 4, 512},
}

// TestCutsOfTheStudy: at the study's shapes and on cards of any size, the blocks
// of the kernels over all of an activation cover each row once, with no block
// without rows and not many more blocks than were asked for.
func TestCutsOfTheStudy(t *testing.T) {
	b := newFake(t)
	for _, n := range []int{1, 4, 108, 132, 148} {
		b.device.Multiprocessors = n
		for _, s := range studyActivations {
			for _, d := range []engine.DType{engine.Float32, engine.BFloat16} {
				x := engine.Spec{Shape: s, DType: d}
				for _, s := range []bnShare{bnSums, bnApplies, bnGradOfX} {
					checkGrid(t, fmt.Sprint(x, " on ", n), b.bnGridOf(x, s), s)
					if g := b.bnGridOf(x, s); g.blocks*g.tall > max(s.each*n, g.tall) {
						t.Errorf("%v on %d: %d blocks, %d a multiprocessor were asked for", x, n, g.blocks*g.tall, s.each)
					}
				}
			}
		}
	}
}

// checkGrid checks that a grid covers its rows.
func checkGrid(t *testing.T, name string, g bnGrid, s bnShare) {
	t.Helper()
	covered := uint64(g.blocks) * uint64(g.chunk)
	switch {
	case covered < g.rows || covered-g.rows >= uint64(g.chunk):
		t.Errorf("%s: %d blocks of %d rows for %d rows", name, g.blocks, g.chunk, g.rows)
	case int(g.tile)*g.tall < int(g.width) || int(g.tile*g.lines) > s.threads || g.lines < 1:
		t.Errorf("%s: %d × %d threads, %d times, for %d vectors", name, g.tile, g.lines, g.tall, g.width)
	}
}

// TestStudyShapes runs what is cut by the number of multiprocessors as on an
// H100, on pictures of the study's size and channels, of which a few are enough.
func TestStudyShapes(t *testing.T) {
	b := newFake(t)
	b.device.Multiprocessors = 132
	r := rand.New(rand.NewPCG(3, 132))
	d := engine.BFloat16
	for _, s := range [][]int{{2, 128, 128, 16}, {4, 64, 64, 32}, {6, 32, 32, 64}, {16, 8, 8, 256}} {
		x, c := normal(r, engine.Spec{Shape: s, DType: d}, 1, 0.5), s[3]
		dy := normal(r, x.Spec, 1, 0)
		gamma, beta, running := normal(r, engine.F32(c), 0.1, 1), normal(r, engine.F32(c), 0.1, 50), normal(r, engine.F32(c), 0.1, 1)
		name := fmt.Sprint(x.Spec)
		t.Run("BatchNorm/"+name, func(t *testing.T) {
			op := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
			in := []ref.Array{x, gamma, beta, running, running}
			compareWithRef(t, b, op, in)
			out, err := ref.Eval(op, in)
			if err != nil {
				t.Fatal(err)
			}
			compareWithRef(t, b, engine.BatchNormActBackward{F: engine.ReLU}, []ref.Array{x, dy, gamma, beta, out[1], out[2]})
		})
		for _, stride := range []int{1, 2} {
			conv := engine.Conv2D{Stride: engine.Both(stride), Pad: engine.Around(1), Groups: c}
			w := normal(r, engine.F32(3, 3, 1, c), 0.3, 0)
			y, err := conv.Infer([]engine.Spec{x.Spec, w.Spec})
			if err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprint("Depthwise/", name, "/", stride), func(t *testing.T) {
				dy := normal(r, y[0], 1, 0)
				compareWithRef(t, b, conv, []ref.Array{x, w})
				compareWithRef(t, b, engine.Conv2DBackwardData{Conv2D: conv, X: x.Spec}, []ref.Array{dy, w})
				compareWithRef(t, b, engine.Conv2DBackwardWeight{Conv2D: conv, W: w.Spec, Bias: true}, []ref.Array{x, dy})
			})
		}
	}
	t.Run("FirstLayer", func(t *testing.T) {
		conv := engine.Conv2D{Pad: engine.Around(1)}
		x, w := normal(r, engine.Spec{Shape: []int{2, 128, 128, 3}, DType: d}, 1, 0.5), engine.F32(3, 3, 3, 16)
		dy := normal(r, engine.Spec{Shape: []int{2, 128, 128, 16}, DType: d}, 1, 0)
		compareWithRef(t, b, engine.Conv2DBackwardWeight{Conv2D: conv, W: w}, []ref.Array{x, dy})
	})
}
