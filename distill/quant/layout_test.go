package quant

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A net's layout has the bytes of the quantized net, and its modules in integers.
func TestLayout(t *testing.T) {
	env := environment(t)
	for _, x := range []struct {
		a layers.Arch
		o Options
	}{
		{layers.Arch{Family: "mlperf_resnet8", Classes: 10}, Options{}},
		{layers.Arch{Family: "mlperf_resnet8", Classes: 10}, Options{LayerBits: map[string]int{"*": 3, "fc": 32}}},
		{layers.Arch{Family: "cnn-dwpw", Classes: 10, Base: 4}, Options{Bits: 5, LayerBits: map[string]int{"*.3": 2}}},
		{layers.Arch{Family: "mobilenet_v3_small", Classes: 10, Base: 8}, Options{PerTensor: true}},
	} {
		x.o.Scheme, x.o.Images = Int8, 8
		c := drawn(t, x.a)
		if x.a.Family == "mlperf_resnet8" && x.o.LayerBits != nil {
			x.o.LayerBits = map[string]int{"*": 3, head(c): 32}
		}
		want, _, err := Static(context.Background(), env, c, x.o)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Layout(c, x.o)
		if err != nil {
			t.Fatal(err)
		}
		a, err := checkpoint.Size(want)
		if err != nil {
			t.Fatal(err)
		}
		b, err := checkpoint.Size(got)
		if err != nil || a != b {
			t.Errorf("%s: %d bytes, %v, Static gives %d", c.Net, b, err, a)
		}
		if !reflect.DeepEqual(got.Net, want.Net) {
			t.Errorf("%s: another net", c.Net)
		}
		w, err := layers.InFloat(want.Net, want.State)
		if err != nil {
			t.Fatal(err)
		}
		if g, err := layers.InFloat(got.Net, got.State); err != nil || !reflect.DeepEqual(g, w) {
			t.Errorf("%s: in float32 stay %v, %v, of Static's %v", c.Net, g, err, w)
		}
	}
}

func head(c *checkpoint.Checkpoint) (name string) {
	for _, m := range c.Net.Modules {
		if _, ok := m.Kind.(layers.Linear); ok {
			name = m.Name
		}
	}
	return name
}

func TestLayerBits(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "mlperf_resnet8", Classes: 10})
	size := func(bits map[string]int) int64 {
		q, err := Layout(c, Options{Scheme: Int8, LayerBits: bits})
		if err != nil {
			t.Fatal(err)
		}
		n, err := checkpoint.Size(q)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	// The layer with the most weights: 3x3 of 64 to 64 channels.
	var name string
	for _, e := range c.State {
		if len(e.Data) == 9*64*64 {
			name = strings.TrimSuffix(e.Name, ".weight")
		}
	}
	if a, b := size(map[string]int{name: 8}), size(map[string]int{name: 3}); a-b < 9*64*64*5/8-64 || a-b > 9*64*64*5/8+64 {
		t.Errorf("%s in 3 bits saves %d bytes of %d, want five eighths", name, a-b, 9*64*64)
	}
	o := Options{LayerBits: map[string]int{"*": 4, "layer*": 5, "layer1.conv": 6}}
	for layer, want := range map[string]string{"fc": "*", "layer2": "layer*", "layer1.conv": "layer1.conv"} {
		if got, ok := o.layerPattern(layer); !ok || got != want {
			t.Errorf("%s has the bits of %q, want %q", layer, got, want)
		}
	}
	for want, o := range map[string]Options{
		"2 to 8, or 32":        {Scheme: Int8, LayerBits: map[string]int{"fc": 9}},
		"no convolution":       {Scheme: Int8, LayerBits: map[string]int{"nothing": 4}},
		"are chosen on images": {Scheme: Int8, Under: "96KB"},
		"without its images":   {Scheme: checkpoint.Affine8},
		"not both":             {Scheme: Int8, Under: "96KB", LayerBits: map[string]int{"fc": 4}},
	} {
		if _, err := Layout(c, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
