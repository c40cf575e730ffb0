package cpu_test

import (
	"context"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
)

// TestSumsOfCodes: a sum behind a convolution of codes is a part of it, whichever of its two
// inputs the convolution makes, and gives the same codes; behind a depthwise convolution, or
// where something else reads the convolution or the sum takes its codes for other numbers, it stays
// a step of its own.
func TestSumsOfCodes(t *testing.T) {
	const side, channels = 9, 24
	codes := func(scale float32, zero int32) engine.Codes {
		return engine.Codes{Scale: scale, Zero: zero, Hi: 255}
	}
	x, y, r, s := codes(0.02, 3), codes(0.03, 120), codes(0.05, 77), codes(0.06, 5)
	shape := engine.Spec{Shape: []int{2, side, side, channels}, DType: engine.Uint8}
	for _, c := range []struct {
		name          string
		groups        int
		first, shared bool
		own           engine.Codes // what the sum takes the convolution's codes for
		fused         bool
	}{
		{"the first input", 1, true, false, y, true},
		{"the second input", 1, false, false, y, true},
		{"in groups", 3, true, false, y, true},
		{"depthwise", channels, true, false, y, false},
		{"read by others", 1, true, true, y, false},
		{"taken for another scale", 1, true, false, codes(0.06, 120), false},
		{"taken for another zero", 1, false, false, codes(0.03, 100), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := open(t, "", 2)
			store := engine.NewStore(b)
			defer store.Close()
			build := engine.NewBuilder(engine.NewGraph())
			images, residual := build.Input("x", shape), build.Input("r", shape)
			w := &engine.Variable{Name: "w", Spec: engine.Spec{Shape: []int{3, 3, channels / c.groups, channels}, DType: engine.Int8}}
			bias := &engine.Variable{Name: "b", Spec: engine.Spec{Shape: []int{channels}, DType: engine.Int32}}
			m := &engine.Variable{Name: "m", Spec: engine.F32(channels)}
			conv := build.One(engine.QConv2D{Conv2D: engine.Conv2D{Pad: engine.Around(1), Groups: c.groups}, X: x, Y: y},
				images, build.Variable(w), build.Variable(bias), build.Variable(m))
			sum := build.One(engine.QAdd{A: r, B: c.own, Y: s}, residual, conv)
			if c.first {
				sum = build.One(engine.QAdd{A: c.own, B: r, Y: s}, conv, residual)
			}
			out := []*engine.Value{sum}
			if c.shared {
				out = append(out, conv)
			}
			if err := build.Err(); err != nil {
				t.Fatal(err)
			}
			weights, biases, scales := make([]int8, w.Spec.Len()), make([]int32, channels), make([]float32, channels)
			for i := range weights {
				weights[i] = int8(i*37%256 - 128)
			}
			for i := range scales {
				biases[i], scales[i] = int32(i*997-5000), 0.0007+float32(i)/1e5
			}
			for v, data := range map[*engine.Variable][]byte{w: engine.Bytes(weights), bias: engine.Bytes(biases), m: engine.Bytes(scales)} {
				if err := store.Set(v, data); err != nil {
					t.Fatal(err)
				}
			}
			in := engine.Bindings{images: make([]byte, shape.Len()), residual: make([]byte, shape.Len())}
			for i := range in[images] {
				in[images][i], in[residual][i] = byte(i*7919%256), byte(i*31%251)
			}
			run := func(o engine.Options) ([]byte, *engine.Plan) {
				t.Helper()
				o.Store, o.Outputs = store, out
				p, err := build.Graph().Compile(b, o)
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				if err := p.Run(context.Background(), in); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, sum.Bytes())
				if err := p.Read(sum, got); err != nil {
					t.Fatal(err)
				}
				return got, p.Plan()
			}
			apart, _ := run(engine.Options{NoFuse: true})
			got, plan := run(engine.Options{})
			if !slices.Equal(got, apart) {
				t.Error("the codes differ from those of the two steps")
			}
			if slices.Min(got) == slices.Max(got) {
				t.Error("all codes are equal")
			}
			want := 1
			if compiled := cpu.Variants()[0] != "go"; c.fused && compiled {
				want = 0
			}
			if n := count(plan.Steps, "QAdd"); n != want {
				t.Errorf("%d sums of their own, want %d", n, want)
			}
		})
	}
}
