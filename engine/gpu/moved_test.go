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
		{engine.MaxPool2D{Window: *pool}, []engine.Spec{x}, 1},
		{engine.MaxPool2DBackward{Window: *pool}, []engine.Spec{x, half}, 1},
		{engine.Add{}, []engine.Spec{x, x}, 1},
		{engine.Cast{To: engine.Float32}, []engine.Spec{x}, 1},
		{engine.Activation{F: engine.ReLU}, []engine.Spec{x}, 1},
	} {
		name := fmt.Sprint(engine.OpName(k.op), k.in[0])
		var in []ref.Array
		want := 0.0
		for _, s := range k.in {
			in = append(in, normal(r, s, 0.5, 1))
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
