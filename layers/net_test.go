package layers

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/yamldoc"
)

func marshal(t *testing.T, n *Net) []byte {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestJSON takes nets to JSON and YAML and back.
func TestJSON(t *testing.T) {
	nets := []*Net{mixed(t)}
	for _, f := range Families() {
		nets = append(nets, newModel(t, Arch{Family: f, Classes: 7, Base: 4}).Net())
	}
	for _, n := range nets {
		text := marshal(t, n)
		var back Net
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		if !reflect.DeepEqual(&back, n) {
			t.Errorf("%s comes back as\n%+v\nfrom %s", n, back, text)
		}
		if !slices.Equal(marshal(t, &back), text) {
			t.Errorf("%s: another text", n)
		}
		y, err := n.YAML()
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := ParseYAML("x.yaml", y, n.Classes())
		if err != nil {
			t.Fatalf("%v\n%s", err, y)
		}
		if !reflect.DeepEqual(parsed, n) {
			t.Errorf("%s comes back from YAML as\n%+v\nfrom\n%s", n, parsed, y)
		}
	}
}

// mixed has what families do not: shared tensors, tensors of other names, an
// order of the state_dict of its own, all kinds of joints.
func mixed(t *testing.T) *Net {
	t.Helper()
	b := NewNetBuilder("mixed", Input{Channels: 3, Height: 8, Width: 8})
	x := b.Add("a.conv", Conv(3, 8, 3), Image)
	l := b.Add("left", Slice{Start: 0, End: 4}, x)
	r := b.Add("right", Slice{Start: 4, End: 8}, x)
	l = b.Add("c1", Conv(4, 4, 1), l)
	r = b.Add("c2", Conv(4, 4, 1), r)
	b.Share("weight", "c1.weight")
	b.Share("bias", "other.bias")
	x = b.Add("cat", Concat{}, l, r)
	x = b.Add("shuffle", ChannelShuffle{Groups: 2}, x)
	x = b.Add("drop", Dropout{P: 0.25}, x)
	x = b.Add("flat", Flatten{}, x)
	n, err := b.Net(b.Add("fc", Linear{InFeatures: 8 * 36, OutFeatures: 5}, x))
	if err != nil {
		t.Fatal(err)
	}
	n.StateOrder = []string{"fc", "a.conv", "c1", "c2"}
	if err := n.Validate(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStateOrderAndSharing(t *testing.T) {
	m, err := mixed(t).Model()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range m.Slots() {
		names = append(names, s.Variable.Name)
	}
	if want := []string{"fc.weight", "a.conv.weight", "a.conv.bias", "c1.weight", "c1.bias", "other.bias"}; !slices.Equal(names, want) {
		t.Errorf("tensors %v, want %v", names, want)
	}
	// What is shared is cut alike, and is counted once.
	groups, err := m.Net().Groups()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		if g.Name == "c1" && (g.Size != 4 || len(g.Uses) != 4) { // weight, both biases, and columns of fc
			t.Errorf("%+v", g)
		}
	}
	s, err := m.Summary(8, 8)
	if err != nil || s.Params != 5*8*36+8*27+8+16+4+4 {
		t.Errorf("%d parameters (%v)", s.Params, err)
	}
}

// TestBadJSON refuses what is no net, before anything is made of it.
func TestBadJSON(t *testing.T) {
	good := string(marshal(t, newModel(t, Arch{Family: "cnn-plain", Classes: 3, Base: 2}).Net()))
	many := `{"version":1,"input":{"channels":3},"modules":[` + strings.Repeat(`{"name":"a","kind":"ReLU"},`, maxModules) + `{"name":"b","kind":"ReLU"}]}`
	for want, text := range map[string]string{
		"version 2, not 1":             strings.Replace(good, `"version":1`, `"version":2`, 1),
		`unknown key "Version"`:        strings.Replace(good, `"version"`, `"Version"`, 1),
		`key "kind" is there twice`:    strings.Replace(good, `"kind":"Conv2d"`, `"kind":"Conv2d","kind":"ReLU"`, 1),
		`unknown key "kernel"`:         strings.Replace(good, `"kernel_size"`, `"kernel"`, 1),
		`unknown kind "Conv3d"`:        strings.Replace(good, `Conv2d`, `Conv3d`, 1),
		`key "in_channels": "3.5"`:     strings.Replace(good, `"in_channels":3`, `"in_channels":3.5`, 1),
		`key "padding" has no value`:   strings.Replace(good, `"padding":1`, `"padding":null`, 1),
		`key "kernel_size"`:            strings.Replace(good, `"kernel_size":3`, `"kernel_size":1e99`, 1),
		"a kernel of 100000":           strings.Replace(good, `"kernel_size":3`, `"kernel_size":100000`, 1),
		"keys and values are needed":   `[1]`,
		"4097 modules":                 many,
		"it has spaces or control":     "",
		"images of 0x9 pixels":         strings.Replace(good, `"channels":3`, `"channels":3,"width":9`, 1),
		"at most 16384 channels":       strings.Replace(good, `"out_channels":2`, `"out_channels":9999999`, 1),
		"a name of 100000 bytes":       strings.Replace(good, `"cnn.0.0"`, `"`+strings.Repeat("x", 100000)+`"`, 1),
		"the net's name: a name":       strings.Replace(good, `"family":"cnn-plain"`, `"family":"`+strings.Repeat("x", 100000)+`"`, 1),
		"unknown kind \"xxx":           strings.Replace(good, `"Conv2d"`, `"`+strings.Repeat("x", 100000)+`"`, 1),
		"unknown key \"xxx":            strings.Replace(good, `"padding"`, `"`+strings.Repeat("x", 100000)+`"`, 1),
		"has no tensor \"xxx":          strings.Replace(good, `"padding":1`, `"tensors":{"`+strings.Repeat("x", 100000)+`":"a"}`, 1),
		"its input \"xxx":              strings.Replace(good, `"padding":1`, `"from":["`+strings.Repeat("x", 100000)+`"]`, 1),
		`the name "cnn\u009b"`:         strings.Replace(good, `"cnn.0.0"`, `"cnn\u009b"`, 1),
		`the name "cnn\u202e"`:         strings.Replace(good, `"cnn.0.0"`, `"cnn\u202e"`, 1),
		"after top-level value":        good + " 1",
		`the output "x" is no module`:  strings.Replace(good, `"modules"`, `"output":"x","modules"`, 1),
		"more than 1073741824 weights": `{"version":1,"input":{"channels":16384},"modules":[{"name":"c","kind":"Conv2d","in_channels":16384,"out_channels":16384,"kernel_size":3},{"name":"p","kind":"AdaptiveAvgPool2d"}]}`,
		"is too large":                 `{"version":1,"input":{"channels":16384,"height":16384,"width":16384},"modules":[{"name":"a","kind":"ReLU"},{"name":"p","kind":"AdaptiveAvgPool2d"}]}`,
	} {
		if want == "it has spaces or control" {
			want, text = "spaces or control characters", strings.Replace(good, `"cnn.0.0"`, `"cnn\u0000"`, 1)
		}
		var n Net
		err := json.Unmarshal([]byte(text), &n)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("error %v, want one short line with %q", err, want)
		}
	}
}

func readYAML(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestYAML(t *testing.T) {
	text := readYAML(t, "residual.yaml")
	n, err := ParseYAML("dir/residual.yaml", []byte(text), 5)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	const params = 3*16*9 + 2*16 + 2*(16*16*9+2*16) + 16*32*9 + 2*32 + 32*32*9 + 2*32 + 16*32 + 2*32 + 32*5 + 5
	if n.Family != "residual" || n.Classes() != 5 || m.Params() != params {
		t.Errorf("%s of %d classes and %d parameters, want %d", n, n.Classes(), m.Params(), params)
	}
	if a := n.Arch(); a.Family != "residual" || a.Classes != 5 || a.InChannels != 3 || a.Widths != nil {
		t.Errorf("arch %+v", a)
	}
	path := filepath.Join(t.TempDir(), "net.YML")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Open(Arch{Family: path, Classes: 7}); err != nil || n.Classes() != 7 {
		t.Error(err)
	}
	for want, a := range map[string]Arch{"leave base and widths out": {Family: path, Base: 4}, "name a YAML file": {Family: path + ".yaml"}} {
		if _, err := Open(a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestYAMLErrors says where a mistake is.
func TestYAMLErrors(t *testing.T) {
	text := readYAML(t, "residual.yaml")
	for _, c := range []struct{ old, new, want string }{
		{"bn1: BatchNorm2d", "bn1: BatchNorm", `n.yaml:5:8: bn1: unknown kind "BatchNorm"; nearest are BatchNorm2d, `},
		{"stride: 2, padding: 1", "strides: 2, padding: 1", `n.yaml:17:66: block2.conv1: unknown key "strides" of a Conv2d; known are kind, from, tensors, in_channels`},
		{"kind: MaxPool2d, ", "", `n.yaml:7:10: pool1 has no kind`},
		{"kernel_size: 2}", "kernel_size: two}", `n.yaml:7:41: kernel_size wants a whole number`},
		{"kernel_size: 2}", "kernel_size: 0}", `n.yaml:7:10: pool1: it has no kernel_size`},
		{"from: [block1.bn2, pool1]", "from: [block1.bn2, pool9]", `n.yaml:14:15: block1.add: its input "pool9" is no module before it`},
		{"from: [block1.bn2, pool1]", "from: [block1.bn2, conv1]", `n.yaml:14:15: block1.add: Add`},
		{"  relu1: ReLU\n", "  bn1: ReLU\n", `n.yaml:6:3: not understood as YAML: mapping key "bn1" already defined`},
		{"fc: Linear", "fc: {kind: Linear, out_features: 9}", `n.yaml:29:7: fc: the net has 9 classes, 5 are needed; leave the number out`},
		{"channels: 3", "channels: 0.5", `n.yaml:2:19: channels wants a whole number`},
		{"channels: 3", "channels: 3, height: 9", `n.yaml:2:8: images of 9x0 pixels`},
		{"modules:", "layers:", `n.yaml:3:1: unknown key "layers"`},
		{"pool: AdaptiveAvgPool2d", "pool: Flatten", `n.yaml:29:7: fc: what it takes depends on the size of the images behind a Flatten`},
		{"  fc: Linear", "  fc: Linear\n  more: ReLU\nstate_order: [fc]", `the order of the state_dict lacks conv1`},
		{"out_channels: 16, kernel_size: 3, padding: 1, bias: false}\n  bn1", "out_channels: 99999, kernel_size: 3}\n  bn1", `n.yaml:4:10: conv1: 3 to 99999 channels`},
		{"  drop: {kind: Dropout, p: 0.1}", "  drop: {kind: Dropout, p: 0.1}\n  side: {kind: ReLU, from: pool}", `n.yaml:28:9: drop: nothing that leads to the output fc reads it`},
	} {
		bad := strings.Replace(text, c.old, c.new, 1)
		if bad == text {
			t.Fatalf("%q is not in the text", c.old)
		}
		_, err := ParseYAML("n.yaml", []byte(bad), 5)
		var e *yamldoc.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s → %s:\n got %v\nwant %s", c.old, c.new, err, c.want)
		}
	}
	for want, text := range map[string]string{
		"n.yaml:2:7: no module has weights":  "modules:\n  pool: AdaptiveAvgPool2d",
		"the net is empty; it needs modules": "",
		"a net needs modules":                "input: {channels: 1}",
	} {
		if _, err := ParseYAML("n.yaml", []byte(text), 5); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestDoc holds docs/nets.md to the kinds that there are.
func TestDoc(t *testing.T) {
	page, err := os.ReadFile("../docs/nets.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kinds {
		line := ""
		for l := range strings.Lines(string(page)) {
			if strings.HasPrefix(l, "| `") && strings.Contains(strings.SplitN(l, "|", 3)[1], "`"+name+"`") {
				line = l
			}
		}
		if line == "" {
			t.Errorf("docs/nets.md lacks %s", name)
		}
		settings(reflect.ValueOf(k), func(key string, _ reflect.Value) {
			if !strings.Contains(line, "`"+key+"`") {
				t.Errorf("docs/nets.md lacks %s of %s", key, name)
			}
		})
	}
	text := readYAML(t, "residual.yaml")
	for _, block := range strings.Split(string(page), "```yaml\n")[1:] {
		block = block[:strings.Index(block, "```")]
		if _, err := ParseYAML("docs/nets.md", []byte(block), 3); err != nil {
			t.Error(err)
		}
		for l := range strings.Lines(block) {
			if strings.Contains(l, "conv1:") && !strings.Contains(text, l) {
				t.Errorf("the example lacks %q", l)
			}
		}
	}
}

func TestTaps(t *testing.T) {
	m := newModel(t, Arch{Family: "resnet18", Classes: 3, Base: 4})
	b := engine.NewBuilder(engine.NewGraph())
	o := m.Build(b, b.Input("x", engine.F32(2, 64, 64, 3)), true)
	if b.Err() != nil {
		t.Fatal(b.Err())
	}
	for name, want := range map[string][]int{
		"conv1": {2, 32, 32, 4}, "layer1": {2, 16, 16, 4}, "layer2.0": {2, 8, 8, 8}, "layer4.1.conv2": {2, 2, 2, 32}, "fc": {2, 3},
	} {
		if v := o.At(name); v == nil || !slices.Equal(v.Shape, want) {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if o.At("layer1") != o.At("layer1.1.relu_1") || o.At("layer") != nil || o.At("image") != nil || o.At("fc") != o.Logits {
		t.Error("containers, or names that are none, give other values")
	}
}

func TestFreeze(t *testing.T) {
	m := newModel(t, Arch{Family: "resnet18", Classes: 3, Base: 4})
	if err := m.Freeze("layer1", "*.downsample.*", "conv1.weight"); err != nil {
		t.Fatal(err)
	}
	counters := len(m.Counters())
	for _, s := range m.Slots() {
		name := s.Variable.Name
		frozen := strings.HasPrefix(name, "layer1.") || strings.Contains(name, ".downsample.") || name == "conv1.weight" || s.Buffer
		if s.Variable.Trainable == frozen {
			t.Errorf("%s: trainable %v", name, s.Variable.Trainable)
		}
	}
	if counters != 20-4-3 {
		t.Errorf("%d batch norms count, want 13", counters)
	}
	b := engine.NewBuilder(engine.NewGraph())
	m.Forward(b, b.Input("x", engine.F32(2, 32, 32, 3)), true)
	for _, n := range b.Graph().Nodes() {
		bn, ok := n.Op.(engine.BatchNorm)
		frozen := strings.HasPrefix(n.Scope, "layer1.") || strings.Contains(n.Scope, ".downsample.")
		if ok && bn.Train == frozen {
			t.Errorf("%s: in training %v", n.Scope, bn.Train)
		}
	}
	if err := m.Freeze("layer7.*"); err == nil || !strings.Contains(err.Error(), `no tensor fits the pattern "layer7.*"`) {
		t.Errorf("error %v", err)
	}
	if got := m.Matches("fc"); !slices.Equal(got, []string{"fc.weight", "fc.bias"}) {
		t.Errorf("fc is %v", got)
	}
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a.b", "a.b.c", true}, {"a.b", "a.bc", false}, {"a*c", "a.b.c", true}, {"*.b", "a.b", true}, {"*.b", "a.b.weight", true},
		{"a.*.c", "a.c", false}, {"*", "x", true}, {"a**c", "abc", true}, {"ab*ba", "aba", false}, {"", "a", false},
	} {
		if fits(c.pattern, c.name) != c.want {
			t.Errorf("%q fits %q: %v", c.pattern, c.name, !c.want)
		}
	}
}

// FuzzNet reads nets from JSON and from YAML: what is accepted can be written,
// read again, asked for its groups and made a model, and nothing panics.
func FuzzNet(f *testing.F) {
	n, err := Arch{Family: "cnn-group", Classes: 2, Base: 2}.Net()
	if err != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(n)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"version":1,"input":{"channels":1,"height":4,"width":4},"modules":[{"name":"f","kind":"Flatten"},{"name":"l","kind":"Linear","in_features":16,"out_features":2}]}`))
	f.Add([]byte(`{"version":1,"input":{"channels":4},"modules":[{"name":"s","kind":"Slice","end":2},{"name":"c","kind":"Concat","from":["s","image","s"]},{"name":"h","kind":"ChannelShuffle"},{"name":"g","kind":"GroupNorm","num_groups":2,"num_channels":8},{"name":"a","kind":"Add","from":["g","h"]},{"name":"p","kind":"AdaptiveAvgPool2d"}]}`))
	yaml, err := os.ReadFile("../examples/residual.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(yaml)
	f.Fuzz(func(t *testing.T, text []byte) {
		n := new(Net)
		if json.Unmarshal(text, n) != nil {
			if n, err = ParseYAML("f.yaml", text, 3); err != nil {
				if strings.Contains(err.Error(), "\n") {
					t.Errorf("an error of several lines: %q", err)
				}
				return
			}
		}
		again := new(Net)
		if err := json.Unmarshal(marshal(t, n), again); err != nil || !n.Equal(again) {
			t.Fatalf("%+v comes back as %+v: %v", n, again, err)
		}
		m, err := n.Model()
		if err != nil {
			t.Fatal(err)
		}
		if m.Params() > 1<<20 {
			return // it would only take time
		}
		groups, err := n.Groups()
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups[:min(len(groups), 4)] {
			if g.Fixed == "" && g.Size > 1 {
				if _, _, err := Select(map[string][]int{g.Name: {0}})(n, nil); err != nil {
					t.Error(err)
				}
			}
		}
		n.Arch()
	})
}
