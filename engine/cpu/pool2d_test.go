package cpu

import (
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestHalves: a pool of 2x2 side by side is told from those whose windows are few, or otherwise placed.
func TestHalves(t *testing.T) {
	square := engine.Square
	for _, x := range []struct {
		window engine.Window
		h, w   int
		want   bool
	}{
		{square(2, 2, 0), 6, 8, true},
		{square(2, 2, 0), 7, 5, true}, // the last row and column are in no window
		{square(2, 2, 0), 2, 2, true},
		{square(2, 3, 0), 2, 2, true}, // one window, whatever the stride
		{square(2, 3, 0), 4, 4, false},
		{square(2, 3, 0), 8, 8, false},
		{square(2, 1, 0), 6, 6, false},
		{square(3, 2, 0), 7, 7, false},
		{square(3, 4, 1), 4, 4, false},
		{square(2, 2, 1), 6, 6, false},
		{engine.Window{Kernel: engine.Both(2), Stride: engine.Pair{2, 3}}, 6, 4, false},
		{engine.Window{Kernel: engine.Pair{1, 2}, Stride: engine.Both(2)}, 6, 6, false},
		{engine.Window{Kernel: engine.Both(2), Stride: engine.Both(2), Dilation: engine.Both(2)}, 6, 6, false},
		{engine.Window{Kernel: engine.Both(2), Stride: engine.Both(2), Ceil: true}, 7, 6, false},
	} {
		p := maxPooling(x.window, engine.F32(1, x.h, x.w, 3))
		if got := p.halves(x.h, x.w); got != x.want {
			t.Errorf("%+v of %dx%d: %v", x.window, x.h, x.w, got)
		}
	}
}
