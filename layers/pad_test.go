package layers

import (
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestPadKinds: PyTorch's order of sides, and what a file holds.
func TestPadKinds(t *testing.T) {
	for text, k := range map[string]Kind{
		`"kind":"ConstantPad2d","padding":[1,2,3,4],"value":-1}`: ConstantPad2d{Padding: Borders{1, 2, 3, 4}, Value: -1},
		`"kind":"ReflectionPad2d","padding":[1,2,3,4]}`:          ReflectionPad2d{Padding: Borders{1, 2, 3, 4}},
		`"kind":"ReplicationPad2d","padding":2}`:                 ReplicationPad2d{Padding: Borders{2, 2, 2, 2}},
		`"kind":"LocalResponseNorm","size":5}`:                   LocalResponseNorm{Size: 5, Alpha: 1e-4, Beta: 0.75, K: 1},
		`"kind":"InstanceNorm2d","num_features":3}`:              InstanceNorm2d{NumFeatures: 3, Eps: 1e-5},
	} {
		n := line(Input{Channels: 3, Height: 9, Width: 9}, Module{Name: "p", Kind: k}, Module{Name: "pool", Kind: AdaptiveAvgPool2d{}},
			Module{Name: "fc", Kind: Linear{InFeatures: 3, OutFeatures: 2}})
		if got := string(marshal(t, n)); !strings.Contains(got, text) {
			t.Errorf("%+v is written as %s, without %s", k, got, text)
		}
		m, err := decodeModule([]byte(`{"name":"p",`+text), Image)
		if err != nil || m.Kind != k {
			t.Errorf("%s is read as %+v, %v", text, m.Kind, err)
		}
	}
	b := engine.NewBuilder(engine.NewGraph())
	y := ConstantPad2d{Padding: Borders{1, 2, 3, 4}}.Build(&Call{Builder: b, In: []*engine.Value{b.Input("x", engine.F32(1, 5, 5, 3))}})
	if b.Err() != nil || !y.Equal(engine.F32(1, 12, 8, 3)) {
		t.Errorf("padded to %v, %v", y, b.Err())
	}
}

// TestPadsRefused: settings that make no sense.
func TestPadsRefused(t *testing.T) {
	for want, k := range map[string]Kind{
		"a padding of [0 -1 0 0]": ConstantPad2d{Padding: Borders{0, -1, 0, 0}},
		"a value of 1e+300":       ConstantPad2d{Value: 1e300},
		"a size of 0 channels":    LocalResponseNorm{K: 1},
		"k must be positive":      LocalResponseNorm{Size: 3, Alpha: 1},
		"0 channels":              InstanceNorm2d{Eps: 1e-5},
		"eps 0":                   InstanceNorm2d{NumFeatures: 3},
	} {
		if err := k.Check(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", k, err, want)
		}
	}
}

// TestNeighborsStay: channels that a LocalResponseNorm sums over are not cut, and
// those of an InstanceNorm2d are cut with its γ and β.
func TestNeighborsStay(t *testing.T) {
	conv := func(in, out int) Conv2d { return Conv(in, out, 1) }
	n := line(Input{Channels: 3, Height: 6, Width: 6},
		Module{Name: "conv1", Kind: conv(3, 4)}, Module{Name: "norm", Kind: LocalResponseNorm{Size: 3, Alpha: 1, Beta: 1, K: 1}},
		Module{Name: "conv2", Kind: conv(4, 5)}, Module{Name: "instance", Kind: InstanceNorm2d{NumFeatures: 5, Eps: 1e-5, Affine: true}},
		Module{Name: "pad", Kind: ReflectionPad2d{Padding: Borders{1, 1, 1, 1}}}, Module{Name: "plain", Kind: InstanceNorm2d{NumFeatures: 5, Eps: 1e-5}},
		Module{Name: "pool", Kind: AdaptiveMaxPool2d{}}, Module{Name: "fc", Kind: Linear{InFeatures: 5, OutFeatures: 2}})
	groups, err := n.Groups()
	if err != nil {
		t.Fatal(err)
	}
	fixed := make(map[string]string)
	for _, g := range groups {
		fixed[g.Name] = g.Fixed
	}
	if !strings.Contains(fixed["conv1"], "LocalResponseNorm") || fixed["conv2"] != "" {
		t.Fatalf("fixed: %q", fixed)
	}
	cut, state, err := Select(map[string][]int{"conv2": {0, 3}})(n, started(t, n, 1))
	if err != nil {
		t.Fatal(err)
	}
	gamma := state.Find("instance.weight")
	if k := cut.Module("plain").Kind.(InstanceNorm2d); k.NumFeatures != 2 || !slices.Equal(gamma.Shape, []int{2}) {
		t.Errorf("cut to %+v, γ %v", k, gamma.Shape)
	}
	if err := cut.Validate(); err != nil {
		t.Error(err)
	}
}
