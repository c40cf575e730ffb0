package engine_test

import (
	"context"
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
)

func TestStepTimer(t *testing.T) {
	n := newNet(t)
	x := n.b.Input("x", engine.F32(2, 3))
	w := n.shaped("w", []int{3, 2}, 1, 2, 3, 4, 5, 6)
	y := n.b.One(engine.Linear{}, x, w)
	z := n.b.One(engine.Activation{F: engine.ReLU}, n.b.One(engine.Activation{F: engine.Neg}, y))
	p := n.compile(z)
	if _, err := p.StepTimer(); err == nil {
		t.Error("a program was timed that has never run")
	}
	in := engine.Bindings{x: engine.Bytes([]float32{1, 2, 3, -1, -2, -3})}
	n.run(p, in)
	want := make([]float32, 4)
	if err := p.Read(z, engine.Bytes(want)); err != nil {
		t.Fatal(err)
	}
	timer, err := p.StepTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.Close()
	seconds := make([][]float64, len(p.Plan().Steps))
	for range 3 {
		if err := timer.Steps(context.Background(), in, seconds); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range seconds {
		if len(s) != 3 || slices.Min(s) < 0 {
			t.Errorf("step %d: %v", i, s)
		}
	}
	if err := timer.Steps(context.Background(), in, seconds[1:]); err == nil {
		t.Error("steps were timed without room for all")
	}
	if s, err := timer.Whole(in); err != nil || s <= 0 {
		t.Errorf("whole: %g, %v", s, err)
	}
	got := make([]float32, 4)
	if err := p.Read(z, engine.Bytes(got)); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v after timing, %v before (%v)", got, want, err)
	}
}

func TestStepKey(t *testing.T) {
	key := func(op engine.Op, in ...engine.Spec) string {
		g := engine.NewBuilder(engine.NewGraph())
		n := newNet(t)
		n.b = g
		var vs []*engine.Value
		for i, s := range in {
			vs = append(vs, g.Input(string(rune('a'+i)), s))
		}
		out := g.One(op, vs...)
		if err := g.Err(); err != nil {
			t.Fatal(err)
		}
		plan, err := g.Graph().Explain(n.store.Backend(), engine.Options{Outputs: []*engine.Value{out}})
		if err != nil {
			t.Fatal(err)
		}
		return plan.Steps[0].Key
	}
	x, w := engine.F32(1, 4, 4, 2), engine.F32(3, 3, 2, 4)
	base := key(engine.Conv2D{}, x, w)
	for name, other := range map[string]string{
		"stride": key(engine.Conv2D{Stride: engine.Pair{2, 2}}, x, w), "shape": key(engine.Conv2D{}, engine.F32(1, 5, 4, 2), w),
		"weights": key(engine.Conv2D{}, x, engine.F32(1, 1, 2, 4)), "function": key(engine.Activation{F: engine.LeakyReLU(0.1)}, x),
	} {
		if other == base {
			t.Errorf("%s does not show in %s", name, base)
		}
	}
	if key(engine.Activation{F: engine.LeakyReLU(0.1)}, x) == key(engine.Activation{F: engine.LeakyReLU(0.2)}, x) {
		t.Error("the slope does not show")
	}
	codes := func(scale float32, zero int32) engine.Codes { return engine.Codes{Scale: scale, Zero: zero, Hi: 255} }
	if a, b := key(engine.Quantize{Y: codes(1, 3)}, x), key(engine.Quantize{Y: codes(2, 4)}, x); a != b {
		t.Errorf("what codes stand for shows: %s, %s", a, b)
	}
}
