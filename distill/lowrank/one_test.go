package lowrank

import (
	"context"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers"
)

// TestOneLayer: every split of Within has at most the share of its layer's multiply-adds,
// and Apart makes the net of it, with the parameters that it reports.
func TestOneLayer(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 3, Base: 8})
	c.Preprocess.Size = 32
	const share = 0.5
	splits, err := Within(context.Background(), c, share)
	if err != nil || len(splits) < 10 {
		t.Fatalf("%d splits, %v", len(splits), err)
	}
	params := func(n *layers.Net) int {
		m, err := n.Model()
		if err != nil {
			t.Fatal(err)
		}
		return m.Params()
	}
	before := params(c.Net)
	for _, s := range splits {
		if s.Layer == "conv1" || float64(s.MACsAfter) > share*float64(s.MACsBefore) || s.ParamsAfter >= s.ParamsBefore || !(s.Energy > 0 && s.Energy < 1) {
			t.Errorf("%+v", s)
		}
		out, err := Apart(c, s)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := params(out.Net)-before, s.ParamsAfter-s.ParamsBefore; got != want {
			t.Errorf("%s taken apart changes the parameters by %d, not by %d", s.Layer, got, want)
		}
		if err := out.Net.CheckState(out.State); err != nil {
			t.Error(err)
		}
	}
	for want, s := range map[string]Split{
		"no layer nothing":              {Layer: "nothing", Form: "svd", Ranks: []int{1}},
		`in the form "auto"`:            {Layer: "fc", Form: "auto", Ranks: []int{1}},
		`in the form "spatial"`:         {Layer: "fc", Form: "spatial", Ranks: []int{1}},
		"with the ranks [1 1]":          {Layer: "fc", Form: "svd", Ranks: []int{1, 1}},
		"no rank 4 in the form svd":     {Layer: "fc", Form: "svd", Ranks: []int{4}},
		"has 8 inputs, and no rank 9":   {Layer: "layer1.0.conv1", Form: "tucker", Ranks: []int{9, 1}},
		"no rank 9 in the form tucker":  {Layer: "layer1.0.conv1", Form: "tucker", Ranks: []int{1, 9}},
		"no rank 0 in the form channel": {Layer: "layer1.0.conv1", Form: "channel", Ranks: []int{0}},
	} {
		if _, err := Apart(c, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}
