package gpu

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestBytesMoved holds what kernels move, each byte counted once a launch, to
// what a plan says that an operator moves: its inputs and outputs. An operator
// whose input is read by two launches moves it twice; how often each one does is
// in the table, and nothing may come near another time.
func TestBytesMoved(t *testing.T) {
	t.Setenv("FAKE_TRAFFIC", "1")
	o := fakeOptions(t)
	o.NoLibraries, o.CacheDir = true, filepath.Join(fake.Dir(t), "cache-watched")
	b := openBackend(t, o)
	r := rand.New(rand.NewPCG(5, 6))
	x := engine.Spec{Shape: []int{2, 32, 32, 16}, DType: engine.BFloat16}
	half := engine.Spec{Shape: []int{2, 16, 16, 16}, DType: engine.BFloat16}
	c := engine.F32(16)
	train := engine.BatchNorm{Eps: 1e-5, Momentum: 0.1, Train: true}
	pool := &engine.Window{Kernel: engine.Both(2)}
	depthwise := engine.Conv2D{Pad: engine.Around(1), Groups: 16}
	wide, codes := engine.F32(2, 32, 32, 16), engine.Spec{Shape: x.Shape, DType: engine.Uint8}
	won := engine.Spec{Shape: half.Shape, DType: engine.Uint8}
	gate, stats, one := engine.Spec{Shape: []int{2, 1, 1, 16}, DType: engine.BFloat16}, engine.F32(2, 4), engine.F32(1)
	code := engine.Codes{Scale: 0.1, Zero: 128}
	for _, k := range []struct {
		op    engine.Op
		in    []engine.Spec
		reads float64 // of the inputs' bytes
	}{
		{train, []engine.Spec{x, c, c, c, c}, 2}, // statistics, then y
		{engine.BatchNormAct{BatchNorm: train, F: engine.ReLU, Pool: pool}, []engine.Spec{x, c, c, c, c}, 2},
		{engine.BatchNormActBackward{F: engine.ReLU}, []engine.Spec{x, x, c, c, c, c}, 2}, // sums, then dx
		{engine.BatchNormActBackward{F: engine.ReLU, Pool: pool}, []engine.Spec{x, half, c, c, c, c}, 2},
		{depthwise, []engine.Spec{x, engine.F32(3, 3, 1, 16)}, 1},
		{engine.Conv2DBackwardData{Conv2D: depthwise, X: x}, []engine.Spec{x, engine.F32(3, 3, 1, 16)}, 1},
		{engine.Conv2DBackwardWeight{Conv2D: depthwise, W: engine.F32(3, 3, 1, 16)}, []engine.Spec{x, x}, 1},
		{engine.BatchNormAct{BatchNorm: train, F: engine.ReLU, Pool: pool, Keep: true}, []engine.Spec{x, c, c, c, c}, 2},
		{engine.BatchNormEvalBackward{Eps: 1e-5}, []engine.Spec{x, x, c, c, c}, 1},
		{engine.MaxPool2D{Window: *pool}, []engine.Spec{x}, 1},
		{engine.MaxPool2DWinners{Window: *pool}, []engine.Spec{x}, 1},
		{engine.MaxPool2DWinnersBackward{Window: *pool, X: x}, []engine.Spec{won, half}, 1},
		{engine.AvgPool2D{Window: *pool}, []engine.Spec{x}, 1},
		{engine.AvgPool2DBackward{AvgPool2D: engine.AvgPool2D{Window: *pool}, X: x}, []engine.Spec{half}, 1},
		{engine.GlobalAvgPool{}, []engine.Spec{x}, 1},
		{engine.AdaptiveAvgPool2D{Adaptive: engine.Adaptive{Size: engine.Both(5)}}, []engine.Spec{x}, 1},
		{engine.AdaptiveMaxPool2D{Adaptive: engine.Adaptive{Size: engine.Both(5)}}, []engine.Spec{x}, 1},
		{engine.Pad2D{Pad: engine.Around(2)}, []engine.Spec{x}, 1},
		{engine.LocalResponseNorm{Size: 5, Alpha: 1e-4, Beta: 0.75, K: 1}, []engine.Spec{x}, 1},
		{engine.LayerNorm{Eps: 1e-6}, []engine.Spec{x, c, c}, 1},
		{engine.LayerNormBackward{Eps: 1e-6}, []engine.Spec{x, x, c}, 2}, // sums of columns, then dx
		{engine.GroupNorm{Groups: 4, Eps: 1e-5}, []engine.Spec{x, c, c}, 2},
		{engine.GroupNormBackward{}, []engine.Spec{x, x, c, stats, stats}, 2},
		{engine.Softmax{}, []engine.Spec{x}, 1},
		{engine.SoftmaxBackward{}, []engine.Spec{x, x}, 1},
		{engine.Concat{}, []engine.Spec{x, x}, 1},
		{engine.Slice{Start: 0, End: 8}, []engine.Spec{x}, 0.5}, // the channels that it takes
		{engine.ChannelShuffle{Groups: 4}, []engine.Spec{x}, 1},
		{engine.Mul{}, []engine.Spec{x, gate}, 1},
		{engine.MulBackward{}, []engine.Spec{x, gate, x}, 1},
		{engine.Div{}, []engine.Spec{x, x}, 1},
		{engine.ScaleShift{Scale: true, Shift: true}, []engine.Spec{x, c, c}, 1},
		{engine.ScaleShiftBackward{Scale: true, Shift: true}, []engine.Spec{x, x}, 1},
		{engine.PReLU{}, []engine.Spec{x, c}, 1},
		{engine.PReLUBackward{}, []engine.Spec{x, c, x}, 1},
		{engine.Dropout{P: 0.5}, []engine.Spec{x, engine.DropoutCounter}, 1},
		{engine.MSE{}, []engine.Spec{wide, wide}, 1},
		{engine.MSEBackward{}, []engine.Spec{wide, wide, engine.F32()}, 1},
		{engine.ActivationBackward{F: engine.ReLU}, []engine.Spec{x, x}, 1},
		{engine.FakeQuant{Lo: -128, Hi: 127}, []engine.Spec{x, one}, 1},
		{engine.FakeQuantBackward{Lo: -128, Hi: 127}, []engine.Spec{x, x, one}, 1},
		{engine.Quantize{Y: code}, []engine.Spec{wide}, 1},
		{engine.Dequantize{X: code}, []engine.Spec{codes}, 1},
		{engine.QAdd{A: code, B: code, Y: code}, []engine.Spec{codes, codes}, 1},
		{engine.Adam{K: 1, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8}, []engine.Spec{engine.F32(engine.HyperLen), engine.F32(), wide, wide, wide, wide}, 1},
		{engine.EMA{K: 1}, []engine.Spec{engine.F32(), wide, wide}, 1},
		{engine.ClipScale{MaxNorm: 1}, []engine.Spec{wide}, 1},
		{engine.MaxPool2DBackward{Window: *pool}, []engine.Spec{x, half}, 1},
		{engine.Add{}, []engine.Spec{x, x}, 1},
		{engine.Cast{To: engine.Float32}, []engine.Spec{x}, 1},
		{engine.Activation{F: engine.ReLU}, []engine.Spec{x}, 1},
	} {
		name := fmt.Sprint(engine.OpName(k.op), k.in[0])
		var in []ref.Array
		want := 0.0
		for _, s := range k.in {
			if s.DType == engine.Uint8 || s.DType == engine.Uint32 {
				in = append(in, ref.NewArray(s))
			} else {
				in = append(in, normal(r, s, 0.5, 1))
			}
			want += k.reads * float64(s.Bytes())
		}
		out, err := k.op.Infer(k.in)
		if err != nil {
			t.Fatal(err)
		}
		results := 0.0
		for _, s := range out {
			results += float64(s.Bytes())
		}
		kernel, err := b.Compile(k.op, k.in, out)
		if err != nil {
			t.Fatal(err)
		}
		tensors, outs := upload(t, b, in), []engine.Tensor(nil)
		for i, s := range out {
			if u, ok := k.op.(engine.Updater); ok && u.Alias(i) >= 0 {
				outs = append(outs, tensors[u.Alias(i)])
				continue
			}
			outs = append(outs, upload(t, b, []ref.Array{ref.NewArray(s)})...)
		}
		ws := upload(t, b, []ref.Array{ref.NewArray(engine.Spec{Shape: []int{kernel.Workspace()}, DType: engine.Uint8})})
		fake.Worked(t)
		if err := kernel.Enqueue(tensors, outs, ws[0]); err != nil {
			t.Fatal(err)
		}
		if err := b.Sync(); err != nil {
			t.Fatal(err)
		}
		read, written := 0, 0
		for _, w := range fake.Worked(t) {
			read, written = read+w.Read, written+w.Written
		}
		// Partial sums and parameters are the rest.
		if rest := 0.1*(want+results) + 2*float64(kernel.Workspace()); float64(read) > want+rest || float64(read) < 0.9*want {
			t.Errorf("%s reads %d bytes, want about %.0f", name, read, want)
		} else if float64(written) > results+rest || float64(written) < 0.9*results {
			t.Errorf("%s writes %d bytes, want about %.0f", name, written, results)
		}
		t.Logf("%s reads %d bytes and writes %d; a plan counts %.0f and %.0f", name, read, written, want/k.reads, results)
		closeAll(t, append(append(tensors, outs...), ws...))
	}
}
