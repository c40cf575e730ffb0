package layers

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestYAMLNames takes names to YAML and back that YAML would take for something else.
func TestYAMLNames(t *testing.T) {
	b := NewNetBuilder("on", Input{Channels: 3})
	x := b.Add("0", Conv(3, 4, 1), Image)
	x = b.Add("null", ReLU{}, x)
	x = b.Add("1.5", BatchNorm(4), x)
	b.Share("weight", "#[a]:{b},\"c\"")
	x = b.Add("ja:", ReLU{}, x)
	x = b.Add("Größe", Add{}, x, "0", "null")
	x = b.Add("~", AdaptiveAvgPool2d{}, x)
	x = b.Add("true", Linear{InFeatures: 4, OutFeatures: 3, Bias: true}, x)
	x = b.Add("-", ReLU{}, x)
	n, err := b.Net(x)
	if err != nil {
		t.Fatal(err)
	}
	n.StateOrder = []string{"1.5", "0", "true"}
	text, err := n.YAML()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseYAML("x.yaml", text, 3)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(back, n) {
		t.Errorf("comes back as\n%+v\nfrom\n%s", back, text)
	}
}

// TestYAMLFileName has a name for a net whatever its file's is.
func TestYAMLFileName(t *testing.T) {
	for file, want := range map[string]string{
		"dir/my net.yaml": "my-net", "a\tb.yml": "a-b", ".yaml": "net", "1.5.yaml": "1.5",
		strings.Repeat("ä", 200) + ".yaml": strings.Repeat("ä", 128),
	} {
		n, err := ParseYAML(file, []byte(readYAML(t, "residual.yaml")), 5)
		if err != nil || n.Family != want {
			t.Errorf("%s: net %v (%v), want %s", file, n, err, want)
		}
	}
}

// TestSettings says which setting is missing or cannot be.
func TestSettings(t *testing.T) {
	for _, c := range []struct{ module, want string }{
		{"x: Slice", "x: it has no end"},
		{"x: MaxPool2d", "x: it has no kernel_size"},
		{"x: GroupNorm", "x: it has no num_groups"},
		{"x: Conv2d", "x: it has no out_channels"},
		{"x: {kind: Dropout, p: 0.99999999999}", "x: a dropout probability of 0.99999999999"},
		{"x: {kind: BatchNorm2d, eps: 1e-60}", "x: eps 1e-60"},
		{"x: {kind: LayerNorm2d, eps: 1e60}", "x: eps 1e+60"},
	} {
		text := "modules:\n  conv: {kind: Conv2d, out_channels: 4}\n  " + c.module + "\n  pool: AdaptiveAvgPool2d\n  fc: Linear\n"
		_, err := ParseYAML("n.yaml", []byte(text), 3)
		if err == nil || !strings.HasPrefix(err.Error(), "n.yaml:3:6: "+c.want) {
			t.Errorf("%s: error %v, want %q", c.module, err, c.want)
		}
	}
}

// TestLargeNets refuses nets that are small on paper and large to work on.
func TestLargeNets(t *testing.T) {
	dense := NewNetBuilder("dense", Input{Channels: 3})
	all := []string{dense.Add("conv", Conv(3, 4, 1), Image)}
	for i := range 500 {
		all = append(all, dense.Add(fmt.Sprint("add", i), Add{}, append([]string{"conv"}, all...)...))
	}
	pool := dense.Add("pool", AdaptiveAvgPool2d{}, all[len(all)-1])
	if _, err := dense.Net(dense.Add("fc", Linear{InFeatures: 4, OutFeatures: 2}, pool)); err == nil || !strings.Contains(err.Error(), "read more than 65536 others") {
		t.Errorf("error %v", err)
	}
	apart := NewNetBuilder("apart", Input{Channels: 3, Height: 28, Width: 28})
	x := apart.Add("conv", Conv(3, 1000, 1), Image)
	var parts []string
	for i := range 1000 {
		parts = append(parts, apart.Add(fmt.Sprint("part", i), Slice{Start: i, End: i + 1}, x))
	}
	x = apart.Add("flat", Flatten{}, apart.Add("cat", Concat{}, parts...))
	n, err := apart.Net(apart.Add("fc", Linear{InFeatures: 784000, OutFeatures: 2}, x))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Groups(); err == nil || !strings.Contains(err.Error(), "apart: fc: the channels of fc.weight lie in too many groups") {
		t.Errorf("error %v", err)
	}
}

// TestOneSize refuses images of another size than the net takes, which a global
// pooling would hide.
func TestOneSize(t *testing.T) {
	n, err := ParseYAML("n.yaml", []byte("input: {height: 8, width: 6}\nmodules:\n  c: {kind: Conv2d, out_channels: 2}\n  pool: AdaptiveAvgPool2d\n  fc: Linear\n"), 2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Summary(8, 6); err != nil {
		t.Error(err)
	}
	if _, err := m.Summary(6, 8); err == nil || !strings.Contains(err.Error(), "n takes images of 8x6 pixels, not 6x8") {
		t.Errorf("error %v", err)
	}
}

// TestSharedStatistics trains no two batch norms that move the same statistics,
// and evaluates them.
func TestSharedStatistics(t *testing.T) {
	text := "modules:\n  c: {kind: Conv2d, out_channels: 3}\n  a: BatchNorm2d\n" +
		"  b: {kind: BatchNorm2d, tensors: {weight: a.weight, bias: a.bias, running_mean: a.running_mean, running_var: a.running_var, num_batches_tracked: a.num_batches_tracked}}\n" +
		"  pool: AdaptiveAvgPool2d\n  fc: Linear\n"
	n, err := ParseYAML("n.yaml", []byte(text), 2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	build := func(train bool) error {
		b := engine.NewBuilder(engine.NewGraph())
		m.Forward(b, b.Input("x", engine.F32(2, 8, 8, 3)), train)
		return b.Err()
	}
	if err := build(true); err == nil || !strings.Contains(err.Error(), "n: a and b share a.running_mean") {
		t.Errorf("error %v", err)
	}
	if err := build(false); err != nil {
		t.Error(err)
	}
	if err := m.Freeze("a"); err != nil {
		t.Fatal(err)
	}
	if err := build(true); err != nil {
		t.Error(err)
	}
}
