package layers

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// TestPairs: one number where it says everything, in both texts and both ways.
func TestPairs(t *testing.T) {
	conv := Conv(3, 4, 1)
	for text, change := range map[string]func(*Conv2d){
		`"kernel_size":3`:     func(c *Conv2d) { c.KernelSize = Both(3) },
		`"kernel_size":[1,3]`: func(c *Conv2d) { c.KernelSize = Pair{1, 3} },
		`"stride":[2,1]`:      func(c *Conv2d) { c.Stride = Pair{2, 1} },
		`"dilation":[1,2]`:    func(c *Conv2d) { c.Dilation = Pair{1, 2} },
		`"padding":1`:         func(c *Conv2d) { c.Padding = Around(1) },
		`"padding":[0,3]`:     func(c *Conv2d) { c.Padding = Sides(0, 3) },
		`"padding":[0,0,1,1]`: func(c *Conv2d) { c.Padding = Pads{0, 0, 1, 1} },
	} {
		k := conv
		change(&k)
		n := line(Input{Channels: 3, Height: 9, Width: 9}, Module{Name: "c", Kind: k}, Module{Name: "pool", Kind: AdaptiveAvgPool2d{}})
		got := string(marshal(t, n))
		if !strings.Contains(got, text) {
			t.Errorf("%+v is written as %s, without %s", k, got, text)
		}
		var back Net
		if err := json.Unmarshal([]byte(got), &back); err != nil || back.Modules[0].Kind != Kind(k) {
			t.Errorf("%s comes back as %+v, %v", got, back.Modules, err)
		}
		y, err := n.YAML()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseYAML("x.yaml", y, 4)
		if err != nil || parsed.Modules[0].Kind != Kind(k) {
			t.Errorf("%s comes back as %+v, %v", y, parsed, err)
		}
	}
}

// TestPairsRefused: lists of other lengths and of other things are mistakes.
func TestPairsRefused(t *testing.T) {
	for text, want := range map[string]string{
		`"kernel_size":[]`:            `key "kernel_size"`,
		`"kernel_size":[1,2,3]`:       `key "kernel_size"`,
		`"kernel_size":[3,null]`:      `key "kernel_size"`,
		`"kernel_size":"3"`:           `key "kernel_size"`,
		`"kernel_size":1.5`:           `key "kernel_size"`,
		`"kernel_size":[3,1e9]`:       `key "kernel_size"`,
		`"kernel_size":[3,100000]`:    "a kernel of 3x100000",
		`"padding":[1,2,3]`:           `key "padding"`,
		`"padding":[[1],2]`:           `key "padding"`,
		`"padding":[0,0,0,-1]`:        "padding [0,0,0,-1]",
		`"stride":[1,0]`:              "stride 1x0",
		`"padding":[0,0,0,999999999]`: "at most 16384",
	} {
		var n Net
		err := json.Unmarshal([]byte(`{"version":1,"input":{"channels":3},"modules":[{"name":"c","kind":"Conv2d","in_channels":3,"out_channels":4,`+
			text+`},{"name":"p","kind":"AdaptiveAvgPool2d"}]}`), &n)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", text, err, want)
		}
	}
	const doc = "input: {channels: 3}\nmodules:\n  c: {kind: Conv2d, out_channels: 4, %}\n  p: AdaptiveAvgPool2d\n"
	for text, want := range map[string]string{
		"kernel_size: three":        "n.yaml:3:51: kernel_size wants a whole number",
		"kernel_size: [1, 2, 3]":    "n.yaml:3:51: 3 numbers; give one, or [height, width]",
		"padding: [1, 2, 3]":        "n.yaml:3:47: 3 numbers; give one, [height, width], or [top, left, bottom, right]",
		"padding: [1, two]":         "padding wants a whole number",
		"kernel_size: {a: 1}":       "kernel_size wants a whole number",
		"stride: [2, 1], groups: 5": "do not divide",
	} {
		_, err := ParseYAML("n.yaml", []byte(strings.Replace(doc, "%", text, 1)), 4)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestPoolSettings: what a file does not say is PyTorch's default, and is not
// written.
func TestPoolSettings(t *testing.T) {
	for text, k := range map[string]Kind{
		`"kind":"MaxPool2d","kernel_size":2}`:                                       MaxPool(2, 0, 0),
		`"kind":"AvgPool2d","kernel_size":3,"stride":2,"padding":1}`:                AvgPool(3, 2, 1),
		`"kind":"AvgPool2d","kernel_size":3,"count_include_pad":false}`:             AvgPool2d{KernelSize: Both(3)},
		`"kind":"MaxPool2d","kernel_size":[1,3],"dilation":[1,2],"ceil_mode":true}`: MaxPool2d{KernelSize: Pair{1, 3}, Dilation: Pair{1, 2}, CeilMode: true},
		`"kind":"AdaptiveAvgPool2d","output_size":[2,3]}`:                           AdaptiveAvgPool2d{OutputSize: Pair{2, 3}},
		`"kind":"AdaptiveMaxPool2d","output_size":1,"keep_dims":true}`:              AdaptiveMaxPool2d{OutputSize: Both(1), KeepDims: true},
		`"kind":"AdaptiveAvgPool2d"}`:                                               AdaptiveAvgPool2d{},
	} {
		n := line(Input{Channels: 3, Height: 9, Width: 9}, Module{Name: "p", Kind: k}, Module{Name: "f", Kind: Flatten{}},
			Module{Name: "fc", Kind: Linear{InFeatures: 3, OutFeatures: 2}})
		got := string(marshal(t, n))
		if !strings.Contains(got, text) {
			t.Errorf("%+v is written as %s, without %s", k, got, text)
		}
		m, err := decodeModule([]byte(`{"name":"p",`+text), Image)
		if err != nil || m.Kind != k {
			t.Errorf("%s is read as %+v, %v", text, m.Kind, err)
		}
	}
}

// TestPoolShapes: sizes are PyTorch's, for images of any size.
func TestPoolShapes(t *testing.T) {
	for _, c := range []struct {
		k    Kind
		h, w int
		want engine.Spec
	}{
		{MaxPool2d{KernelSize: Both(3), Stride: Both(2), CeilMode: true}, 8, 9, engine.F32(1, 4, 4, 3)},
		{AvgPool2d{KernelSize: Both(2), Padding: Around(1), CeilMode: true}, 8, 9, engine.F32(1, 5, 5, 3)},
		{AdaptiveAvgPool2d{}, 8, 9, engine.F32(1, 3)},
		{AdaptiveAvgPool2d{KeepDims: true}, 8, 9, engine.F32(1, 1, 1, 3)},
		{AdaptiveAvgPool2d{OutputSize: Both(7)}, 7, 7, engine.F32(1, 7, 7, 3)},
		{AdaptiveAvgPool2d{OutputSize: Both(7)}, 3, 9, engine.F32(1, 7, 7, 3)},
		{AdaptiveAvgPool2d{OutputSize: Both(3)}, 9, 6, engine.F32(1, 3, 3, 3)},
		{AdaptiveMaxPool2d{}, 8, 9, engine.F32(1, 3)},
		{AdaptiveMaxPool2d{KeepDims: true}, 1, 1, engine.F32(1, 1, 1, 3)},
		{AdaptiveMaxPool2d{OutputSize: Pair{2, 3}}, 5, 7, engine.F32(1, 2, 3, 3)},
	} {
		b := engine.NewBuilder(engine.NewGraph())
		y := c.k.Build(&Call{Builder: b, In: []*engine.Value{b.Input("x", engine.F32(1, c.h, c.w, 3))}})
		if b.Err() != nil || !y.Equal(c.want) {
			t.Errorf("%+v of %dx%d gives %v, want %v (%v)", c.k, c.h, c.w, y, c.want, b.Err())
		}
	}
}

// TestPoolsRefused: windows that make no sense.
func TestPoolsRefused(t *testing.T) {
	for want, k := range map[string]Kind{
		"no kernel_size":          MaxPool2d{},
		"must be less":            MaxPool2d{KernelSize: Both(2), Padding: Pads{0, 0, 2, 0}},
		"stride -1x1":             AvgPool2d{KernelSize: Both(2), Stride: Pair{-1, 1}},
		"dilation 20000":          MaxPool2d{KernelSize: Both(2), Dilation: Both(20000)},
		"an output_size of 1x-1":  AdaptiveAvgPool2d{OutputSize: Pair{1, -1}},
		"an output_size of 99999": AdaptiveMaxPool2d{OutputSize: Both(99999)},
		"a window of 0x2":         AvgPool2d{KernelSize: Pair{0, 2}},
	} {
		if err := k.Check(1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", k, err, want)
		}
	}
}
