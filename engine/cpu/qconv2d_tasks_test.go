package cpu

import (
	"fmt"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestSharesOfCodes: one picture's convolutions, as ResNet-18 has them, keep all threads busy
// until nearly the end, and tasks copy little beside what they compute.
func TestSharesOfCodes(t *testing.T) {
	for _, x := range []struct{ side, channels, threads int }{
		{56, 64, 2}, {28, 128, 2}, {14, 256, 2}, {7, 512, 2}, {56, 64, 8}, {28, 128, 8}, {14, 256, 8}, {7, 512, 8}, {28, 128, 3}, {14, 256, 3},
	} {
		t.Run(fmt.Sprintf("%d pixels, %d threads", x.side, x.threads), func(t *testing.T) {
			g := geometry{n: 1, h: x.side, w: x.side, c: x.channels, oh: x.side, ow: x.side, o: x.channels, kh: 3, kw: 3,
				stride: engine.Both(1), dil: engine.Both(1), pad: engine.Pads{1, 1, 1, 1}, groups: 1, cg: x.channels, og: x.channels}
			c := newQConv(g, engine.QConv2D{})
			s := c.shared(x.threads)
			took := ceilDiv(s.tasks(c), x.threads) * s.time(c)
			alone := x.side * x.side * c.terms() * x.channels / x.threads
			t.Logf("%+v: %d tasks, %.3f of the time of the products alone", s, s.tasks(c), float64(took)/float64(alone))
			if s.block < 1 || s.block > qblock || s.splits < 1 || s.splits > x.channels/qpanel {
				t.Errorf("%+v", s)
			}
			if float64(took) > 1.25*float64(alone) {
				t.Errorf("%+v: %d tasks take %d, the products alone %d", s, s.tasks(c), took, alone)
			}
		})
	}
}
