package cpu

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestCuts: one picture's expansion, depthwise layer and projection, as MobileNetV2 has
// them, keep two threads busy and do little of their work twice, from the large maps to those
// of 14x14 pixels; those of 7x7 are left to each layer's own division of the work.
func TestCuts(t *testing.T) {
	if !compiled {
		t.Skip("plain Go has no chains")
	}
	const threads, cache = 2, 2 << 20
	for _, x := range []struct {
		side, in, between, out int
		worth                  bool
	}{{56, 24, 144, 24, true}, {28, 32, 192, 32, true}, {14, 64, 384, 64, true}, {14, 96, 576, 96, true}, {7, 160, 960, 160, false}} {
		t.Run(fmt.Sprintf("%dx%dx%d", x.side, x.side, x.between), func(t *testing.T) {
			f := engine.F32
			op := engine.Chain{Links: []engine.Link{
				{Op: engine.Conv2D{Epilogue: engine.Epilogue{Act: engine.ReLU6}}, Extra: 2},
				{Op: engine.Conv2D{Pad: engine.Around(1), Groups: x.between, Epilogue: engine.Epilogue{Act: engine.ReLU6}}, Extra: 2},
				{Op: engine.Conv2D{}, Extra: 2},
			}}
			in := []engine.Spec{f(1, x.side, x.side, x.in), f(1, 1, x.in, x.between), f(x.between),
				f(3, 3, 1, x.between), f(x.between), f(1, 1, x.between, x.out), f(x.out)}
			c, err := newChain(op, in, threads)
			if err != nil {
				t.Fatal(err)
			}
			if c.worth(cache) != x.worth {
				t.Errorf("worth it: %v (%d tasks, %.3f twice, %d and %d bytes)", !x.worth, c.tiles, c.again, 4*c.slot, 4*c.packed)
			}
			if x.worth && (c.tiles < threads || c.again > chainAgain) {
				t.Errorf("%d tasks, %.3f of the work twice", c.tiles, c.again)
			}
		})
	}
}
