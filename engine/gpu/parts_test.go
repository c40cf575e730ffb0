package gpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// newFake returns a backend on the stand-ins, without cuDNN and cuBLASLt.
func newFake(t *testing.T) *Backend {
	t.Helper()
	o := fakeOptions(t)
	o.NoLibraries = true
	return openBackend(t, o)
}

// upload puts arrays into memory of the device.
func upload(t *testing.T, b *Backend, arrays []ref.Array) (tensors []engine.Tensor) {
	t.Helper()
	for _, a := range arrays {
		buf, err := b.Alloc(a.Bytes())
		if err == nil {
			err = buf.Write(0, a.Encode())
		}
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, engine.Tensor{Spec: a.Spec, Buf: buf})
	}
	return tensors
}

// compareWithRef runs op on the device and holds it to the reference.
func compareWithRef(t *testing.T, b *Backend, op engine.Op, in []ref.Array) {
	t.Helper()
	for i, a := range in {
		in[i] = ref.Decode(a.Spec, a.Encode())
	}
	want, err := ref.Eval(op, in)
	if err != nil {
		t.Fatal(err)
	}
	tensors := upload(t, b, in)
	var out []engine.Tensor
	specs, results := make([]engine.Spec, len(in)), make([]engine.Spec, len(want))
	for i, a := range in {
		specs[i] = a.Spec
	}
	for i, a := range want {
		results[i] = a.Spec
		if u, ok := op.(engine.Updater); ok && u.Alias(i) >= 0 {
			out = append(out, tensors[u.Alias(i)])
			continue
		}
		out = append(out, upload(t, b, []ref.Array{ref.NewArray(a.Spec)})...)
	}
	k, err := b.Compile(op, specs, results)
	if err != nil {
		t.Fatal(err)
	}
	ws := engine.Spec{Shape: []int{k.Workspace()}, DType: engine.Uint8}
	scratch := upload(t, b, []ref.Array{ref.NewArray(ws)})
	if err := k.Enqueue(tensors, out, scratch[0]); err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		got := make([]byte, w.Bytes())
		if err := out[i].Read(got); err != nil {
			t.Fatal(err)
		}
		for j, v := range ref.Decode(w.Spec, got).V {
			if d := v - w.V[j]; !(d <= w.Bound(j, 4) && -d <= w.Bound(j, 4)) {
				t.Errorf("%s: output %d, element %d is %g, want %g ± %.2g", engine.OpName(op), i, j, v, w.V[j], w.Bound(j, 4))
				break
			}
		}
	}
	closeAll(t, append(append(tensors, scratch...), out...))
}

// closeAll frees tensors, some of them twice.
func closeAll(t *testing.T, tensors []engine.Tensor) {
	for _, x := range tensors {
		if err := x.Buf.Close(); err != nil {
			t.Error(err)
		}
	}
}

// random returns an array of normal numbers times scale, made positive by square.
func random(rng *rand.Rand, scale float64, square bool, shape ...int) ref.Array {
	a := ref.NewArray(engine.F32(shape...))
	for i := range a.V {
		v := rng.NormFloat64()
		if square {
			v *= v
		}
		a.V[i] = scale * v
	}
	return a
}

func constant(v ...float64) ref.Array {
	a := ref.NewArray(engine.F32(len(v)))
	copy(a.V, v)
	return a
}

// TestManyTensors: nets of more parameters than fit into one launch's
// arguments, some of them of several blocks.
func TestManyTensors(t *testing.T) {
	b := newFake(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, k := range []int{optimizerTensors, optimizerTensors + 1, 2*clipTensors + 1} {
		var p, g, m, v []ref.Array
		for i := range k {
			n := 1 + i%9
			if i%50 == 49 {
				n = 2*optimizerStretch + 1 + i%3
			}
			p, g = append(p, random(rng, 1, false, n)), append(g, random(rng, 0.01, false, n))
			m, v = append(m, random(rng, 0.01, false, n)), append(v, random(rng, 1e-4, true, n))
		}
		all := func(first []ref.Array, groups ...[]ref.Array) []ref.Array {
			in := append([]ref.Array{}, first...)
			for _, g := range groups {
				in = append(in, g...)
			}
			return in
		}
		hyper := []ref.Array{constant(1e-3, 0.01, 0.1, 0.001, 0, 0, 0, 0), constant(0.37)}
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			compareWithRef(t, b, engine.ClipScale{MaxNorm: 0.1}, all(nil, g))
			if k > 2*optimizerTensors {
				return
			}
			compareWithRef(t, b, engine.Adam{K: k, Beta1: 0.9, Beta2: 0.999, Eps: 1e-4, Decoupled: true}, all(hyper, p, g, m, v))
			compareWithRef(t, b, engine.SGD{K: k, Momentum: 0.9, Nesterov: true}, all(hyper, p, g, m))
			compareWithRef(t, b, engine.EMA{K: k}, all([]ref.Array{constant(0.9)}, g, p))
		})
	}
}

// TestManyInputs: sums of more inputs than fit into one launch's arguments.
func TestManyInputs(t *testing.T) {
	b := newFake(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for _, k := range []int{addInputs, addInputs + 1, 3 * addInputs} {
		var in []ref.Array
		var w []float32
		for i := range k {
			in, w = append(in, random(rng, 1, false, 3, 7)), append(w, float32(i%5)-1.5)
		}
		compareWithRef(t, b, engine.Add{Weights: w}, in)
	}
}

// TestWideWindow: windows with more places than a byte can number.
func TestWideWindow(t *testing.T) {
	b := newFake(t)
	rng := rand.New(rand.NewPCG(5, 6))
	for _, c := range []int{3, 8} {
		for _, w := range []engine.Window{{Kernel: engine.Both(17), Stride: engine.Both(2), Pad: engine.Around(8)}, {Kernel: engine.Both(16), Stride: engine.Both(3), Pad: engine.Around(1)}, {Kernel: engine.Both(20)}} {
			x := random(rng, 1, false, 2, 21, 40, c)
			y, err := engine.MaxPool2D{Window: w}.Infer([]engine.Spec{x.Spec})
			if err != nil {
				t.Fatal(err)
			}
			compareWithRef(t, b, engine.MaxPool2DBackward{Window: w}, []ref.Array{x, random(rng, 1, false, y[0].Shape...)})
		}
	}
}

// TestPoolingInParts: a batch that is too large to be counted at once gives the
// same as one that is not.
func TestPoolingInParts(t *testing.T) {
	b := newFake(t)
	rng := rand.New(rand.NewPCG(7, 8))
	x := random(rng, 1, false, 5, 7, 9, 8)
	w := engine.Square(3, 2, 1)
	specs, err := engine.MaxPool2D{Window: w}.Infer([]engine.Spec{x.Spec})
	if err != nil {
		t.Fatal(err)
	}
	y := specs[0]
	in := upload(t, b, []ref.Array{x, random(rng, 1, false, y.Shape...)})
	var results [2][]byte
	for i, batch := range []int{5, 2} {
		out := upload(t, b, []ref.Array{ref.NewArray(y), ref.NewArray(x.Spec), ref.NewArray(engine.Spec{Shape: y.Shape, DType: engine.Uint8})})
		for _, pass := range []struct {
			name             string
			backward, winner bool
		}{{"max_pool", false, false}, {"max_pool", false, true}, {"max_pool_backward", true, true}} {
			runInParts(t, b, newPooling(w, x.Spec, y), pass.name, pass.backward, pass.winner, batch, in, out)
		}
		for _, o := range out[:2] {
			got := make([]byte, o.Bytes())
			if err := o.Read(got); err != nil {
				t.Fatal(err)
			}
			results[i] = append(results[i], got...)
		}
		closeAll(t, out)
	}
	if string(results[0]) != string(results[1]) {
		t.Error("five images at once and two at a time give different results")
	}
	closeAll(t, in)
}

// runInParts runs one pass from x, dy to y, dx, winners, a few images at a time.
func runInParts(t *testing.T, b *Backend, p pooling, name string, backward, winner bool, batch int, in, out []engine.Tensor) {
	t.Helper()
	at := func(x engine.Tensor) cuda.Ptr {
		q, err := b.address(x, x.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	a := &p.args
	each := p.small
	if backward {
		each = p.large
		p.over(p.x.Shape[1], p.x.Shape[2])
		a.dy, a.won, a.y = at(in[1]), at(out[2]), at(out[1])
	} else {
		p.over(p.y.Shape[1], p.y.Shape[2])
		a.x, a.y = at(in[0]), at(out[0])
		if winner {
			a.y, a.won = 0, at(out[2])
		}
	}
	s, err := b.poolPass(&p, name, each)
	if err != nil {
		t.Fatal(err)
	}
	s.batch = batch
	if err := p.run(b, s, a); err != nil {
		t.Fatal(err)
	}
}
