package quant

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// environment has the built-in pictures and the CPU.
func environment(t *testing.T) compress.Env {
	t.Helper()
	ds, err := data.Open(context.Background(), "builtin:fashion", data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ds.Close() })
	b, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return compress.Env{Backend: b, Data: ds, Dir: t.TempDir()}
}

// working returns the work on a family's net as it is after the folding of its batch
// norms, with drawn weights.
func working(t *testing.T, env compress.Env, a layers.Arch, o Options) *work {
	t.Helper()
	c := drawn(t, a)
	o.Scheme = Int8
	w := &work{ctx: context.Background(), env: env, o: o, c: c, report: &Report{}}
	var err error
	if w.pics, err = drawPictures(w.ctx, env, c, 48, 1); err != nil {
		t.Fatal(err)
	}
	if w.net, w.state, err = layers.FoldBatchNorm(c.Net, c.State); err != nil {
		t.Fatal(err)
	}
	w.state = cloneState(w.state)
	if w.bits, err = w.chooseBits(); err != nil {
		t.Fatal(err)
	}
	return w
}

// logits returns those of all pictures.
func (w *work) logitsOf(t *testing.T, n *layers.Net, s layers.StateDict) []float32 {
	t.Helper()
	batches, err := w.predict(n, s)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(batches...)
}

// distance is the largest difference relative to the largest number.
func distance(a, b []float32) float64 {
	most, top := 0.0, 0.0
	for i := range a {
		most, top = max(most, math.Abs(float64(a[i])-float64(b[i]))), max(top, math.Abs(float64(a[i])))
	}
	return most / top
}

// Nets of every shape are quantized, saved, loaded and compute the same; the same
// settings give the same file; their logits stay near those in float32.
func TestStaticFamilies(t *testing.T) {
	env := environment(t)
	for _, a := range []layers.Arch{
		{Family: "cnn-dwpw", Classes: 10, Base: 4}, {Family: "resnet18", Classes: 10, Base: 4},
		{Family: "mobilenet_v3_small", Classes: 10, Base: 8}, {Family: "squeezenet1_1", Classes: 10}, {Family: "shufflenet_v2_x0_5", Classes: 10},
	} {
		t.Run(a.Family, func(t *testing.T) {
			c := drawn(t, a)
			o := Options{Scheme: Int8, Images: 40, Seed: 3, CorrectBias: a.Base == 4}
			q, r, err := Static(context.Background(), env, c, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, integers := q.Net.Quantized(); !integers || q.Scheme() != checkpoint.Quantized || len(q.History) != 1 || r.Images != 40 {
				t.Errorf("%s, %v, %d images", q.Scheme(), q.History, r.Images)
			}
			path := filepath.Join(t.TempDir(), "q.safetensors")
			size, err := checkpoint.Save(path, q)
			if err != nil {
				t.Fatal(err)
			}
			if size < r.BytesAfter || r.BytesAfter > r.BytesBefore/2 {
				t.Errorf("%d bytes of data in %d, %d before", r.BytesAfter, size, r.BytesBefore)
			}
			loaded, err := checkpoint.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			got := checkpointtest.Logits(t, q.Restore)
			if !slices.Equal(got, checkpointtest.Logits(t, loaded.Restore)) {
				t.Error("the loaded net computes something else")
			}
			again, _, err := Static(context.Background(), env, c, o)
			if err != nil {
				t.Fatal(err)
			}
			for i, e := range q.State {
				if !slices.Equal(e.Data, again.State[i].Data) {
					t.Fatalf("%s differs between two runs", e.Name)
				}
			}
			for _, l := range r.Layers {
				if l.Why != "" && l.Kind != "Slice" && l.Kind != "ChannelShuffle" {
					t.Errorf("%s, a %s, is computed in float32: %s", l.Layer, l.Kind, l.Why)
				}
				if l.Bits == 8 && l.Layer != c.Net.Output && l.SNR < 8 {
					t.Errorf("%s: signal to noise of %.1f dB", l.Layer, l.SNR)
				}
			}
			if _, _, err := Static(context.Background(), env, q, o); err == nil || !strings.Contains(err.Error(), "quantized already") {
				t.Errorf("quantized twice: %v", err)
			}
		})
	}
}

// Each thing that cannot be quantized is one line that says why.
func TestStaticRefusals(t *testing.T) {
	env := environment(t)
	good := drawn(t, layers.Arch{Family: "cnn-plain", Classes: 10, Base: 4})
	bad := *good
	bad.State = slices.Clone(good.State)
	bad.State[0].Data = slices.Clone(bad.State[0].Data)
	bad.State[0].Data[1] = float32(math.NaN())
	wide := *good
	wide.State = cloneState(good.State)
	for i := range wide.State[0].Data {
		wide.State[0].Data[i] = 3e38
	}
	empty := env
	none := *env.Data
	none.Train = env.Data.Train.Subset(0)
	empty.Data = &none
	for _, x := range []struct {
		want string
		env  compress.Env
		c    *checkpoint.Checkpoint
		o    Options
	}{
		{"there are none", empty, good, Options{}},
		{"there are none", compress.Env{Backend: env.Backend}, good, Options{}},
		{"NaN", env, &bad, Options{}},
		{"its range cannot be found", env, &wide, Options{}},
		{"no convolution", env, good, Options{Float: []string{"nothing"}}},
		{"cannot have 100 or fewer", env, good, Options{Under: "100B"}},
	} {
		x.o.Scheme, x.o.Images = Int8, 8
		_, _, err := x.o.Apply(context.Background(), x.env, x.c)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want %q, got: %v", x.want, err)
		}
	}
	for want, o := range map[string]Options{
		"from 2 to 8":       {Scheme: Int8, Bits: 9},
		"observer":          {Scheme: Int8, Observer: "median"},
		"percentile":        {Scheme: Int8, Percentile: 200},
		"not both":          {Scheme: Int8, Bits: 4, Under: "1MB"},
		"no number":         {Scheme: Int8, Under: "some"},
		"weights alone":     {Scheme: checkpoint.Float16, Bits: 4},
		"positive number":   {Scheme: Int8, Images: -1},
		"unknown scheme \"": {Scheme: "int9"},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got: %v", want, err)
		}
	}
}

// Equalization leaves what the net computes as it is, and the ranges of a channel's
// weights alike where they are made and where they are read.
func TestEqualize(t *testing.T) {
	env := environment(t)
	for _, a := range []layers.Arch{
		{Family: "resnet18", Classes: 10, Base: 4}, {Family: "mobilenet_v1", Classes: 10, Base: 4},
		{Family: "vgg11_bn", Classes: 10, Base: 4}, {Family: "densenet121", Classes: 10, Base: 4}, {Family: "squeezenet1_1", Classes: 10},
	} {
		w := working(t, env, a, Options{})
		for i := range w.state { // channels of very different sizes
			if e := &w.state[i]; len(e.Shape) > 1 {
				for k := range e.Data {
					e.Data[k] *= float32(math.Exp2(float64(k / (len(e.Data) / e.Shape[0]) % 5)))
				}
			}
		}
		before := w.logitsOf(t, w.net, w.state)
		after, n, err := Equalize(w.net, w.state, nil)
		if err != nil {
			t.Fatal(err)
		}
		// Each segment rounds what it scales once, and the sums behind it anew.
		if d := distance(before, w.logitsOf(t, w.net, after)); !(d < max(1e-5, 4e-7*float64(n))) {
			t.Errorf("%s: %d segments, the logits are off by %.3g", a.Family, n, d)
		}
		list, err := segments(w.net)
		if err != nil || n == 0 || len(list) != n {
			t.Fatalf("%s: %d segments (%v)", a.Family, n, err)
		}
		for _, s := range list {
			made, read := s.ranges(after, s.makers), s.ranges(after, s.takers)
			for u := range made {
				if made[u] > 0 && read[u] > 0 && math.Abs(math.Log(float64(made[u]/read[u]))) > 0.05 {
					t.Errorf("%s: %s: unit %d is made with %g and read with %g", a.Family, s.group.Name, u, made[u], read[u])
					break
				}
			}
		}
	}
}

// With the values that layers make, no channel outgrows the largest, and the net still
// computes the same.
func TestEqualizeWithinRange(t *testing.T) {
	w := working(t, environment(t), layers.Arch{Family: "mobilenet_v1", Classes: 10, Base: 4}, Options{})
	for i := range w.state { // channels of next to no weights, but with a bias
		if e := &w.state[i]; len(e.Shape) == 4 {
			for k := range e.Data[:len(e.Data)/e.Shape[0]] {
				e.Data[k] *= 1e-6
			}
		}
	}
	top := func() map[string]float32 {
		values, err := w.largest()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float32)
		for name, v := range values {
			out[name] = slices.Max(v)
		}
		return out
	}
	before, was := top(), w.logitsOf(t, w.net, w.state)
	if err := w.equalize(); err != nil {
		t.Fatal(err)
	}
	for name, a := range top() {
		if a > before[name]*1.001 {
			t.Errorf("%s makes %g at most, %g before", name, a, before[name])
		}
	}
	if d := distance(was, w.logitsOf(t, w.net, w.state)); !(d < 1e-5) {
		t.Errorf("the logits are off by %.3g", d)
	}
}

// What absorption moves changes nothing on the pictures that it looks at.
func TestAbsorb(t *testing.T) {
	w := working(t, environment(t), layers.Arch{Family: "mobilenet_v1", Classes: 10, Base: 4}, Options{})
	pairs := highPairs(w.net)
	if len(pairs) == 0 {
		t.Fatal("no pairs")
	}
	for _, p := range pairs { // high biases
		b := tensor(w.net, w.state, p.maker, "bias").Data
		for k := range b {
			b[k] += 20
		}
	}
	before, old := w.logitsOf(t, w.net, w.state), cloneState(w.state)
	if err := w.absorb(); err != nil {
		t.Fatal(err)
	}
	moved := 0
	for _, p := range pairs {
		if !slices.Equal(tensor(w.net, w.state, p.maker, "bias").Data, tensor(w.net, old, p.maker, "bias").Data) {
			moved++
		}
	}
	if d := distance(before, w.logitsOf(t, w.net, w.state)); moved == 0 || !(d < 1e-5) {
		t.Errorf("%d of %d pairs, the logits are off by %.3g", moved, len(pairs), d)
	}
}

// After the correction of biases no channel of a layer's output has a mean error,
// but for what its own quantizer makes.
func TestCorrectBias(t *testing.T) {
	w := working(t, environment(t), layers.Arch{Family: "mobilenet_v1", Classes: 10, Base: 4}, Options{Bits: 4, PerTensor: true})
	for _, do := range []func() error{w.calibrate, w.weightScales} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	before := meanErrors(t, w)
	if err := w.correctBias(); err != nil {
		t.Fatal(err)
	}
	after := meanErrors(t, w)
	for name, b := range before {
		if a := after[name]; !(a < b/20+1e-5) {
			t.Errorf("%s: a mean error of %.3g, %.3g before", name, a, b)
		}
	}
}

// meanErrors returns the largest mean error of a channel for every layer whose
// output has no quantizer of its own.
func meanErrors(t *testing.T, w *work) map[string]float64 {
	t.Helper()
	net, state, err := w.quantized(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range w.weights {
		if !slices.Contains(w.outputs, name) {
			names = append(names, name)
		}
	}
	means := func(n *layers.Net, s layers.StateDict) map[string]*moment {
		out := make(map[string]*moment)
		for _, name := range names {
			out[name] = new(moment)
		}
		r, err := newRunner(w.env.Backend, n, s)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.close() }()
		err = r.run(w.ctx, w.pics, names, func(_ int, v map[string]seen) error {
			for name := range v {
				out[name].add(v[name])
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	want, got := means(w.net, w.float()), means(net, state)
	out := make(map[string]float64)
	for _, name := range names {
		for c := range want[name].mean {
			out[name] = max(out[name], math.Abs(want[name].mean[c]-got[name].mean[c]))
		}
	}
	return out
}

// A budget is kept by the file that is written; layers get 4 bits for it.
func TestUnder(t *testing.T) {
	env := environment(t)
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 10, Base: 8})
	o := Options{Scheme: Int8, Images: 32}
	size := func(o Options) (int64, *Report) {
		q, r, err := Static(context.Background(), env, c, o)
		if err != nil {
			t.Fatal(err)
		}
		n, err := checkpoint.Save(filepath.Join(t.TempDir(), "q.safetensors"), q)
		if err != nil {
			t.Fatal(err)
		}
		return n, r
	}
	whole, _ := size(o)
	o.Under = "180KB"
	n, r := size(o)
	four := 0
	for _, l := range r.Layers {
		if l.Bits == 4 {
			four++
		}
	}
	// A layer that 8 bits would ruin stays in float32, where there is room: its
	// channels have one scale and one of them is far larger than the others.
	o.PerTensor, o.Under = true, "10MB"
	c.State = cloneState(c.State)
	fc := c.State.Find("fc.weight")
	for i := range fc.Data[:len(fc.Data)/10] {
		fc.Data[i] = 0
	}
	fc.Data[0] = -300
	if _, r := size(o); !slices.ContainsFunc(r.Layers, func(l Layer) bool { return l.Layer == "fc" && l.Bits == 0 && l.Why != "" }) {
		t.Errorf("fc has codes; notes %q", r.Notes)
	}
	if n > 180000 || whole <= 180000 || four == 0 || four == len(r.Layers) || len(r.Notes) != four {
		t.Errorf("%d bytes, %d before, %d layers with 4 bits, notes %q", n, whole, four, r.Notes)
	}
}

// A bias of 32 bits of steps or more is cut off where it decides the output alone, as
// that of a channel that a ReLU never lets through, and else widens its scale.
func TestBiasRoom(t *testing.T) {
	scale := []float32{0.01}
	got := biasRoom(scale, []float32{0.5, -1e12, 1e12}, 0.02, 6)
	const room = 0.01 * 0.02 * (1 << 29)
	if scale[0] != 0.01 || got[0] != 0.5 || math.Abs(float64(got[1])+room) > 1 || math.Abs(float64(got[2])-room) > 1 {
		t.Errorf("scale %g, biases %v", scale[0], got)
	}
	scale = []float32{1e-12, 0.01}
	got = biasRoom(scale, []float32{0.5, 0.5}, 0.02, 6)
	if got[0] != 0.5 || got[1] != 0.5 || scale[1] != 0.01 || math.Abs(0.5/(float64(scale[0])*0.02)-(1<<29)) > 1000 {
		t.Errorf("scales %g, biases %v", scale, got)
	}
}
