package layers

import (
	"slices"
	"strings"
	"testing"
)

// TestClassifier: where the last feature map of a net ends and its classifier begins.
func TestClassifier(t *testing.T) {
	for family, want := range map[string]string{
		"resnet18":           "layer4.1.relu_1: avgpool fc",
		"cnn-dwpw":           "cnn.8.3: cnn.9 fc.0",
		"vgg16":              "features.30: avgpool flatten classifier.0 classifier.1 classifier.2 classifier.3 classifier.4 classifier.5 classifier.6",
		"squeezenet1_1":      "features.12.concat: classifier.0 classifier.1 classifier.2 classifier.3",
		"shufflenet_v2_x0_5": "conv5.2: mean fc",
	} {
		features, modules, err := newModel(t, Arch{Family: family, Classes: 3}).Net().Classifier()
		if err != nil {
			t.Error(err)
			continue
		}
		var names []string
		for _, m := range modules {
			names = append(names, m.Name)
		}
		if got := features + ": " + strings.Join(names, " "); got != want {
			t.Errorf("%s: %s", family, got)
		}
	}
	b := NewNetBuilder("two", Input{Channels: 3})
	x := b.Add("conv", Conv(3, 4, 3), Image)
	y := b.Add("fc2", Linear{InFeatures: 4, OutFeatures: 2, Bias: true}, b.Add("pool", AdaptiveAvgPool2d{}, x))
	z := b.Add("fc1", Linear{InFeatures: 4, OutFeatures: 2, Bias: true}, b.Add("most", AdaptiveMaxPool2d{}, x))
	n, err := b.Net(b.Add("sum", Add{}, y, z))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.Classifier(); err == nil || !strings.Contains(err.Error(), "no chain of modules") {
		t.Errorf("two classifiers are one: %v", err)
	}
}

// TestReplaceClassifier: what stays keeps its values, what comes has the given ones or starts anew.
func TestReplaceClassifier(t *testing.T) {
	n := newModel(t, Arch{Family: "convnext_tiny", Classes: 3, Base: 8}).Net() // whose state_dict has an order of its own
	s := started(t, n, 5)
	features, _, err := n.Classifier()
	if err != nil {
		t.Fatal(err)
	}
	given := Entry{Name: "last.bias", Shape: []int{2}, Data: []float32{3, 4}}
	out, state, err := ReplaceClassifier([]Module{
		{Name: "mean", In: []string{features}, Kind: AdaptiveAvgPool2d{}},
		{Name: "last", In: []string{"mean"}, Kind: Linear{InFeatures: 64, OutFeatures: 2, Bias: true}},
	}, StateDict{given}, 7)(n, s)
	if err != nil {
		t.Fatal(err)
	}
	if out.Classes() != 2 || out.Module("classifier.2") != nil || n.Module("classifier.2") == nil {
		t.Error("the classifier is not replaced, or that of the first net is gone")
	}
	fresh := started(t, out, 7)
	for _, e := range state {
		want := s.Find(e.Name)
		switch e.Name {
		case "last.bias":
			want = &given
		case "last.weight":
			want = fresh.Find(e.Name)
		}
		if want == nil || !slices.Equal(e.Data, want.Data) {
			t.Errorf("%s is not what it should be", e.Name)
		}
	}
	if start, err := out.Start(7); err != nil || !slices.EqualFunc(start, fresh, func(a, b Entry) bool { return a.Name == b.Name && slices.Equal(a.Data, b.Data) }) {
		t.Errorf("Start is not what Init sets (%v)", err)
	}
}
