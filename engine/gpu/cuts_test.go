package gpu

import (
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestCuts shows that several cuts of a large product are timed, and run.
func TestCuts(t *testing.T) {
	for _, c := range []struct {
		name string
		op   engine.Op
		in   []engine.Spec
		some bool
	}{
		{"dense", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{engine.F32(2, 9, 9, 16), engine.F32(3, 3, 16, 64)}, true},
		{"in groups", engine.Conv2D{Pad: engine.Around(1), Groups: 4}, []engine.Spec{engine.F32(2, 9, 9, 32), engine.F32(3, 3, 8, 32)}, true},
		{"to x", engine.Conv2DBackwardData{Conv2D: engine.Conv2D{Pad: engine.Around(1)}, X: engine.F32(2, 9, 9, 16)}, []engine.Spec{engine.F32(2, 9, 9, 32), engine.F32(3, 3, 16, 32)}, true},
		{"to w", engine.Conv2DBackwardWeight{Conv2D: engine.Conv2D{Pad: engine.Around(1)}, W: engine.F32(3, 3, 16, 32), Bias: true}, []engine.Spec{engine.F32(2, 9, 9, 16), engine.F32(2, 9, 9, 32)}, true},
		{"pointwise", engine.Conv2D{}, []engine.Spec{engine.F32(2, 9, 9, 16), engine.F32(1, 1, 16, 64)}, true},
		{"linear", engine.Linear{}, []engine.Spec{engine.F32(64, 32), engine.F32(32, 64), engine.F32(64)}, true},
		{"depthwise", engine.Conv2D{Pad: engine.Around(1), Groups: 8}, []engine.Spec{engine.F32(2, 9, 9, 8), engine.F32(3, 3, 1, 8)}, false},
		{"the first layer", engine.Conv2D{Pad: engine.Around(1)}, []engine.Spec{engine.F32(2, 9, 9, 3), engine.F32(3, 3, 3, 16)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := openBackend(t, ours(t))
			out := infer(t, c.op, c.in)
			if cs, err := b.otherCuts(c.op, c.in, out); err != nil || len(cs) != 0 {
				t.Errorf("a small product has %d cuts, %v", len(cs), err)
			}
			b.cutsFrom = 0
			if _, err := b.Compile(c.op, c.in, out); err != nil {
				t.Fatal(err)
			}
			if !c.some {
				if len(b.Choices()) != 0 {
					t.Errorf("%+v", b.Choices())
				}
				return
			}
			timed := b.Choices()[0].Timings
			if len(timed) < 2 || len(timed) > cutsMost {
				t.Errorf("%d cuts", len(timed))
			}
			for _, at := range timed {
				if at.Failed != "" || !strings.HasPrefix(at.Name, "potstill") {
					t.Errorf("%+v", at)
				}
			}
		})
	}
}

// TestCutsBesideLibraries shows that no time goes into cuts where libraries have
// tensor cores.
func TestCutsBesideLibraries(t *testing.T) {
	x, w := engine.F32(2, 9, 9, 16), engine.F32(3, 3, 16, 64)
	for _, c := range []struct {
		name string
		x    engine.Spec
		tf32 bool
		want bool
	}{{"float32", x, false, true}, {"TF32", x, true, false}, {"bfloat16", half(x.Shape...), false, false}} {
		o := fakeOptions(t)
		o.TF32 = c.tf32
		b := openBackend(t, o)
		b.cutsFrom = 0
		in := []engine.Spec{c.x, w}
		if _, err := b.Compile(engine.Conv2D{Pad: engine.Around(1)}, in, infer(t, engine.Conv2D{Pad: engine.Around(1)}, in)); err != nil {
			t.Fatal(err)
		}
		cuts := 0
		for _, at := range b.Choices()[0].Timings {
			if strings.HasPrefix(at.Name, "potstill ") {
				cuts++
			}
		}
		if cuts > 0 != c.want {
			t.Errorf("%s: %d further cuts", c.name, cuts)
		}
	}
}
