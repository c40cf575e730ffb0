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

// TestLongChains: layers that halve the picture again and again are one chain for one thread; for
// two, whose rows would be computed twice further and further up, they are several.
func TestLongChains(t *testing.T) {
	if !compiled {
		t.Skip("plain Go has no chains")
	}
	const cache = 2 << 20
	f := engine.F32
	pool := engine.Link{Op: engine.MaxPool2D{Window: engine.Window{Kernel: engine.Both(2), Stride: engine.Both(2), Dilation: engine.Both(1)}}}
	op := engine.Chain{Links: []engine.Link{{Op: engine.Conv2D{Pad: engine.Around(1)}, Extra: 2}, pool}}
	in := []engine.Spec{f(1, 256, 256, 3), f(3, 3, 3, 16), f(16)}
	channels := 16
	for range 3 {
		op.Links = append(op.Links,
			engine.Link{Op: engine.Conv2D{Pad: engine.Around(1), Groups: channels}, Extra: 2},
			engine.Link{Op: engine.Conv2D{}, Extra: 2}, pool)
		in = append(in, f(3, 3, 1, channels), f(channels), f(1, 1, channels, 2*channels), f(2*channels))
		channels *= 2
	}
	for _, x := range []struct {
		threads, links int
		worth          bool
	}{{1, len(op.Links), true}, {2, len(op.Links), false}, {2, 2, true}, {4, len(op.Links), false}, {4, 2, true}} {
		first := engine.Chain{Links: op.Links[:x.links]}
		inputs := 1
		for _, l := range first.Links {
			inputs += l.Extra
		}
		c, err := newChain(first, in[:inputs], x.threads)
		if err != nil {
			t.Fatal(err)
		}
		if c.worth(cache) != x.worth {
			t.Errorf("%d links for %d threads are worth it: %v (%d tasks, %.3f of the work twice)", x.links, x.threads, !x.worth, c.tiles, c.again)
		}
	}
}
