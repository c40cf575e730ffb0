package layers_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
)

// A drawer draws nets: every kind that ties channels, in any order.
type drawer struct {
	*rand.Rand
	b     *layers.NetBuilder
	n     int  // modules so far
	norms bool // layer and group norms, gates, slopes and scales too
}

func (d *drawer) add(k layers.Kind, in ...string) string {
	d.n++
	return d.b.Add(fmt.Sprintf("m%d", d.n), k, in...)
}

func (d *drawer) conv(x string, in, out, groups int) string {
	kernel := 1 + 2*d.IntN(2)
	c := layers.Conv(in, out, kernel)
	c.Padding, c.Groups, c.Bias = layers.Around(kernel/2), groups, d.IntN(2) == 0
	return d.add(c, x)
}

// block adds something behind x, of c channels.
func (d *drawer) block(x string, c int) (string, int) {
	kinds := 9
	if d.norms {
		kinds = 16
	}
	switch d.IntN(kinds) {
	case 0: // dense
		out := 4 * (1 + d.IntN(3))
		return d.conv(x, c, out, 1), out
	case 1:
		return d.add(layers.BatchNorm(c), x), c
	case 2:
		return d.add(layers.ReLU6{}, x), c
	case 3: // depthwise, with a multiplier perhaps
		k := 1 + d.IntN(2)
		return d.conv(x, c, k*c, c), k * c
	case 4: // grouped
		out := 4 * (1 + d.IntN(3))
		return d.conv(x, c, out, 2), out
	case 5: // residual
		y := d.add(layers.ReLU{}, d.conv(x, c, c, 1))
		return d.add(layers.Add{}, y, x), c
	case 6: // concatenation
		out := 4 * (1 + d.IntN(2))
		y := d.conv(x, c, out, 1)
		if d.IntN(2) == 0 {
			return d.add(layers.Concat{}, y, x), out + c
		}
		return d.add(layers.Concat{}, x, y), c + out
	case 7: // ShuffleNet's unit
		left := d.add(layers.Slice{Start: 0, End: c / 2}, x)
		right := d.add(layers.Slice{Start: c / 2, End: c}, x)
		right = d.add(layers.BatchNorm(c/2), d.conv(right, c/2, c/2, 1))
		return d.add(layers.ChannelShuffle{Groups: 2}, d.add(layers.Concat{}, left, right)), c
	case 8:
		return d.add(layers.ChannelShuffle{Groups: 4}, x), c
	case 9:
		return d.add(layers.LayerNorm2d{NumChannels: c, Eps: 1e-6}, x), c
	case 11: // squeeze and excitation
		y := d.add(layers.Linear{InFeatures: c, OutFeatures: 4, Bias: true}, d.add(layers.AdaptiveAvgPool2d{}, x))
		y = d.add(layers.Linear{InFeatures: 4, OutFeatures: c, Bias: true}, d.add(layers.SiLU{}, y))
		return d.add(layers.Mul{}, d.add(layers.Sigmoid{}, y), x), c
	case 12: // a factor for each pixel
		return d.add(layers.Mul{}, x, d.conv(x, c, 1, 1)), c
	case 13:
		return d.add(layers.PReLU{NumParameters: c, Start: 0.25}, x), c
	case 14:
		return d.add(layers.ScaleShift{Channels: c, Scale: true, Bias: true, Dims: 1 + 2*d.IntN(2), Start: 1}, x), c
	case 15:
		y := d.add(layers.Maximum{}, d.conv(x, c, c, 1), x)
		return d.add(layers.Sub{}, y, x), c
	}
	return d.add(layers.GroupNorm{NumGroups: 2, NumChannels: c, Eps: 1e-5}, x), c
}

// drawNet returns the net of a seed. Its channels are multiples of four.
func drawNet(t *testing.T, seed uint64, norms bool) *layers.Net {
	t.Helper()
	d := &drawer{Rand: rand.New(rand.NewPCG(seed, 1)), b: layers.NewNetBuilder("drawn", layers.Input{Channels: 3, Height: 4, Width: 4}), norms: norms}
	x, c := d.conv(layers.Image, 3, 8, 1), 8
	for range 3 + d.IntN(6) {
		x, c = d.block(x, c)
		if c > 32 {
			x, c = d.conv(x, c, 8, 1), 8
		}
	}
	flat := c
	if d.IntN(2) == 0 {
		x, flat = d.add(layers.Flatten{}, x), 16*c
	} else {
		x = d.add(layers.AdaptiveAvgPool2d{}, x)
	}
	n, err := d.b.Net(d.add(layers.Linear{InFeatures: flat, OutFeatures: 3, Bias: true}, x))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// drawn returns a state with statistics of a net that has learned.
func drawnState(t *testing.T, n *layers.Net, seed uint64) layers.StateDict {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	return checkpointtest.Redraw(checkpointtest.State(t, m, seed), seed, checkpointtest.Trained)
}

// logitsOf runs a net on two images by the reference.
func logitsOf(t *testing.T, n *layers.Net, s layers.StateDict) []float32 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(ref.New())
	defer store.Close()
	if err := m.Load(store, s); err != nil {
		t.Fatal(err)
	}
	h, w := n.Input.Height, n.Input.Width
	if h == 0 {
		h, w = 32, 32
	}
	b := engine.NewBuilder(engine.NewGraph())
	x := b.Input("images", engine.F32(2, h, w, n.Input.Channels))
	y := m.Forward(b, x, false)
	p := compile(t, b, store, y)
	defer p.Close()
	images := make([]float32, x.Len())
	r := rand.New(rand.NewPCG(7, 7))
	for i := range images {
		images[i] = r.Float32()
	}
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(images)}); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(read(t, p, y))
}

// some returns units of a group to keep, sorted or not, at least one.
func some(r *rand.Rand, size int, sorted bool) []int {
	units := r.Perm(size)[:1+r.IntN(size)]
	if sorted {
		slices.Sort(units)
	}
	return units
}

// cutSome cuts every group that can be cut.
func cutSome(t *testing.T, r *rand.Rand, n *layers.Net, groups []layers.Group, s layers.StateDict) (map[string][]int, *layers.Net, layers.StateDict) {
	t.Helper()
	keep := make(map[string][]int)
	for _, g := range groups {
		if g.Fixed == "" {
			keep[g.Name] = some(r, g.Size, true)
		}
	}
	cut, state, err := layers.Select(keep)(n, s)
	if err != nil {
		t.Fatal(err)
	}
	return keep, cut, state
}

func near1(t *testing.T, what string, got, want []float32, tolerance float64) {
	t.Helper()
	scale := 0.0
	for _, v := range want {
		scale = max(scale, math.Abs(float64(v)))
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= tolerance*scale) {
			t.Fatalf("%s: logit %d is %g, want %g", what, i, got[i], want[i])
		}
	}
}

// TestCutsAreZeros: a net whose channels are cut computes what it did with
// zeros in place of its consumers' columns: every family, and drawn nets.
func TestCutsAreZeros(t *testing.T) {
	nets := make(map[string]*layers.Net)
	for name, a := range checkpointtest.Architectures() {
		n, err := a.Net()
		if err != nil {
			t.Fatal(err)
		}
		nets[name] = n
	}
	count := 300
	if testing.Short() {
		count = 50
	}
	for seed := range count {
		nets[fmt.Sprint("drawn ", seed)] = drawNet(t, uint64(seed), false)
	}
	cuts := 0
	for name, n := range nets {
		r := rand.New(rand.NewPCG(uint64(len(n.Modules)), uint64(len(name))))
		s := drawnState(t, n, 3)
		groups, err := n.Groups()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		checkUses(t, name, n, groups)
		keep, cut, state := cutSome(t, r, n, groups, s)
		for _, g := range groups {
			if g.Fixed == "" {
				cuts += g.Size - len(keep[g.Name])
			}
		}
		want := logitsOf(t, n, checkpointtest.Muted(s, groups, keep))
		near1(t, name, logitsOf(t, cut, state), want, 1e-6)

		// In another order they compute the same.
		for group := range keep {
			r.Shuffle(len(keep[group]), func(i, j int) { u := keep[group]; u[i], u[j] = u[j], u[i] })
		}
		cut, state, err = layers.Select(keep)(n, s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		near1(t, name+", shuffled", logitsOf(t, cut, state), want, 1e-6)
	}
	if cuts < 1000 {
		t.Errorf("%d channels were cut", cuts)
	}
}

// checkUses makes sure that every channel of every tensor is in one group.
func checkUses(t *testing.T, name string, n *layers.Net, groups []layers.Group) {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	met := make(map[string][]bool)
	for _, g := range groups {
		if g.Size < 1 || g.Width < 1 {
			t.Errorf("%s: group %s of %d units, %d wide", name, g.Name, g.Size, g.Width)
		}
		for _, u := range g.Uses {
			key := fmt.Sprint(u.Tensor, u.Axis)
			if met[key] == nil {
				met[key] = make([]bool, len(u.At))
			}
			for i, unit := range u.At {
				if unit >= 0 && met[key][i] || int(unit) >= g.Size {
					t.Errorf("%s: %s index %d is in two groups", name, key, i)
				}
				met[key][i] = met[key][i] || unit >= 0
			}
		}
	}
	for _, s := range m.Slots() {
		for axis := range s.Shape()[:min(2, len(s.Shape()))] {
			at := met[fmt.Sprint(s.Variable.Name, axis)]
			if axis == 1 && s.Shape()[1] == 1 {
				continue // a depthwise convolution's
			}
			if len(at) != s.Shape()[axis] || slices.Contains(at, false) {
				t.Errorf("%s: %s axis %d is not wholly in groups", name, s.Variable.Name, axis)
			}
		}
	}
}

// TestGroupsOfFamilies names the groups of nets whose ties are known.
func TestGroupsOfFamilies(t *testing.T) {
	for _, c := range []struct {
		arch layers.Arch
		want string
	}{
		{layers.Arch{Family: "cnn-dwpw", Classes: 11}, "image:3! cnn.0.0:16 cnn.1.3:32 cnn.2.3:64 cnn.3.3:128 cnn.4.3:128 cnn.5.3:128 cnn.6.3:256 cnn.7.3:256 cnn.8.3:256 fc.0:11!"},
		{layers.Arch{Family: "resnet18", Classes: 10}, "image:3! conv1:64 layer1.0.conv1:64 layer1.1.conv1:64 layer2.0.conv1:128 layer2.0.conv2:128 layer2.1.conv1:128 layer3.0.conv1:256 layer3.0.conv2:256 layer3.1.conv1:256 layer4.0.conv1:512 layer4.0.conv2:512 layer4.1.conv1:512 fc:10!"},
		{layers.Arch{Family: "cnn-group", Classes: 2, Base: 4}, "image:3! cnn.0.0:2x2 cnn.1.0:2x2 cnn.1.3:4x2 cnn.2.0:4x2 cnn.2.3:8x2 cnn.3.0:8x2 cnn.3.3:16x2 cnn.4.0:16x2 cnn.4.3:16x2 cnn.5.0:16x2 cnn.5.3:32 fc.0:2!"},
	} {
		n, err := c.arch.Net()
		if err != nil {
			t.Fatal(err)
		}
		groups, err := n.Groups()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range groups {
			text := fmt.Sprintf("%s:%d", g.Name, g.Size)
			if g.Width > 1 {
				text += fmt.Sprintf("x%d", g.Width)
			}
			if g.Fixed != "" {
				text += "!"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.arch.Family, text, c.want)
		}
	}
}

func TestSelectRefuses(t *testing.T) {
	n, err := layers.Arch{Family: "resnet18", Classes: 3, Base: 4}.Net()
	if err != nil {
		t.Fatal(err)
	}
	for want, keep := range map[string]map[string][]int{
		"there is no channel group layer9":   {"layer9": {0}},
		"it is the classes":                  {"fc": {0}},
		"the channels of the image":          {"image": {0}},
		"nothing would be left of its 4":     {"conv1": {}},
		"unit 4 of 4 is kept twice, or":      {"conv1": {4}},
		"unit 1 of 4 is kept twice, or ther": {"conv1": {1, 1}},
	} {
		if _, _, err := layers.Select(keep)(n, nil); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, want)
		}
	}
}
