package layers_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// odd adds what no family has: uneven slices, values joined with themselves,
// tensors used twice, and arithmetic on flat values. Channels are multiples of
// four.
func (d *drawer) odd(x string, c int) (string, int) {
	switch d.IntN(7) {
	case 0: // uneven slices, in another order
		at := 1 + d.IntN(c-1)
		left, right := d.add(layers.Slice{End: at}, x), d.add(layers.Slice{Start: at, End: c}, x)
		return d.add(layers.Concat{}, right, left), c
	case 1:
		return d.add(layers.Concat{}, x, x), 2 * c
	case 2:
		return d.add(layers.Add{}, x, x, x), c
	case 3: // one convolution, twice
		y := d.conv(x, c, c, 1)
		first := fmt.Sprintf("m%d", d.n)
		k := layers.Conv(c, c, 1)
		k.Bias = false
		y = d.add(k, y)
		z := d.add(k, x)
		d.b.Share("weight", fmt.Sprintf("m%d.weight", d.n-1))
		return d.add(layers.Add{}, y, z, first), c
	case 4: // slices that overlap
		a, b := d.add(layers.Slice{End: c - 1}, x), d.add(layers.Slice{Start: 1, End: c}, x)
		y := d.add(layers.Add{}, a, b)
		return d.conv(y, c-1, 8, 1), 8
	case 5: // a depthwise convolution of which a part is added to its input
		y := d.conv(x, c, 2*c, c)
		y = d.add(layers.Slice{Start: c / 2, End: c/2 + c}, y)
		return d.add(layers.Add{}, y, x), c
	}
	return d.add(layers.BatchNorm(c), d.conv(x, c, c, 1)), c
}

// flatten ends a net of c channels on 4×4 pixels in two or three flat layers.
func (d *drawer) flatten(x string, c int) string {
	f := d.add(layers.Flatten{}, x)
	n := 16 * c
	switch d.IntN(4) {
	case 0: // cut through the middle of a channel
		at := 1 + d.IntN(n-1)
		f = d.add(layers.Concat{}, d.add(layers.Slice{Start: at, End: n}, f), d.add(layers.Slice{End: at}, f))
	case 1: // channels of 16 features added to channels of 4
		y := d.conv(x, c, 4*c, 1)
		y = d.add(layers.Flatten{}, d.add(layers.MaxPool(2, 0, 0), y))
		f = d.add(layers.Add{}, f, y)
	case 2:
		f = d.add(layers.ChannelShuffle{Groups: 8}, f)
	}
	linear := func(x string, in, out int) string {
		return d.add(layers.Linear{InFeatures: in, OutFeatures: out, Bias: true}, x)
	}
	h := d.add(layers.ReLU{}, linear(f, n, 12))
	if d.IntN(2) == 0 {
		h = d.add(layers.Add{}, h, linear(h, 12, 12))
	}
	return linear(d.add(layers.Concat{}, h, d.add(layers.Slice{Start: 5, End: 7}, h)), 14, 3)
}

// TestOddNets cuts, reorders and folds nets with joints that no family has.
func TestOddNets(t *testing.T) {
	count := 300
	if testing.Short() {
		count = 50
	}
	cuts := 0
	for seed := range count {
		name := fmt.Sprint("odd ", seed)
		d := &drawer{Rand: rand.New(rand.NewPCG(uint64(seed), 77)), b: layers.NewNetBuilder("odd", layers.Input{Channels: 3, Height: 4, Width: 4})}
		x, c := d.conv(layers.Image, 3, 8, 1), 8
		for range 1 + d.IntN(5) {
			if x, c = d.odd(x, c); c > 16 {
				x, c = d.conv(x, c, 8, 1), 8
			}
		}
		n, err := d.b.Net(d.flatten(x, c))
		if err != nil {
			t.Fatal(err)
		}
		s := drawnState(t, n, 3)
		groups, err := n.Groups()
		if err != nil {
			t.Fatal(err)
		}
		checkUses(t, name, n, groups)
		whole := logitsOf(t, n, s)
		folded, fs, err := layers.FoldBatchNorm(n, s)
		if err != nil {
			t.Fatal(err)
		}
		near1(t, name+", folded", logitsOf(t, folded, fs), whole, 1e-4)

		keep, cut, state := cutSome(t, d.Rand, n, groups, s)
		for group, units := range keep {
			cuts -= len(units)
			for _, g := range groups {
				if g.Name == group {
					cuts += g.Size
				}
			}
		}
		want := logitsOf(t, n, checkpointtest.Muted(s, groups, keep))
		near1(t, name+", cut", logitsOf(t, cut, state), want, 1e-5)
		for group := range keep {
			d.Shuffle(len(keep[group]), func(i, j int) { u := keep[group]; u[i], u[j] = u[j], u[i] })
		}
		if cut, state, err = layers.Select(keep)(n, s); err != nil {
			t.Fatal(err)
		}
		near1(t, name+", shuffled", logitsOf(t, cut, state), want, 1e-5)
	}
	if cuts < 3*count {
		t.Errorf("%d channels were cut", cuts)
	}
}
