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

// TestSharesFit: whatever the shape and the threads, a task's pixels fit into its array, and what it
// gathers or copies into a thread's memory, with as many rows more as two tiles have.
func TestSharesFit(t *testing.T) {
	const scratch, tileRows = 4 << 20, 32 // PS_SCRATCH; rows that tiles may read behind the last pixel
	for _, g := range []geometry{
		{n: 1, oh: 1, ow: 1, c: 1, o: 1, kh: 1, kw: 1, groups: 1},
		{n: 1, oh: 1, ow: 1, c: maxQTerms, o: 1000, kh: 1, kw: 1, groups: 1},
		{n: 1, oh: 30, ow: 30, c: 3650, o: 2, kh: 3, kw: 3, groups: 1},
		{n: 32, oh: 56, ow: 56, c: 64, o: 64, kh: 3, kw: 3, groups: 1},
		{n: 1, oh: 7, ow: 300, c: 96, o: 960, kh: 3, kw: 3, groups: 32},
		{n: 9, oh: 3, ow: 2, c: 512, o: 17, kh: 3, kw: 3, groups: 1},
		{n: 1, oh: 500, ow: 3, c: 8, o: 640, kh: 1, kw: 1, groups: 1},
	} {
		g.stride, g.dil, g.h, g.w = engine.Both(1), engine.Both(1), g.oh+g.kh-1, g.ow+g.kw-1
		g.cg, g.og = g.c/g.groups, g.o/g.groups
		for _, threads := range []int{1, 2, 7, 128} {
			c := newQConv(g, engine.QConv2D{})
			s := c.shared(threads)
			name := fmt.Sprintf("%+v, %d threads: %+v", g, threads, s)
			if s.block < 1 || s.block > qblock || s.splits < 1 || s.splits > ceilDiv(g.og, qpanel) {
				t.Errorf("%s: no division", name)
			}
			if pixels := g.n * g.oh * g.ow; s.tasks(c) != ceilDiv(pixels, s.block)*g.groups*s.splits {
				t.Errorf("%s: %d tasks", name, s.tasks(c))
			}
			if bytes := 2 * s.block * c.terms(); bytes > scratch && !c.copies(s.block) {
				t.Errorf("%s: %d bytes are gathered", name, bytes)
			}
			if bytes := 2 * c.copiedRows(s.block); bytes > scratch && c.copies(s.block) {
				t.Errorf("%s: %d bytes are copied", name, bytes)
			}
			if bytes := (s.block + tileRows) * (c.terms() + 63); bytes > scratch {
				t.Errorf("%s: %d bytes are gathered for tiles", name, bytes)
			}
			if again := c.shared(threads); again != s {
				t.Errorf("%s: %+v when asked again", name, again)
			}
		}
	}
}

// maxQTerms is the most products that engine.QConv2D sums.
const maxQTerms = 1 << 30 / (255 * 128)
