package layers

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
)

// memory is a backend that holds variables and runs nothing.
type memory struct{}

type memoryBuffer []byte

func (memory) Name() string                            { return "memory" }
func (memory) Alloc(n int) (engine.Buffer, error)      { return make(memoryBuffer, n), nil }
func (memory) Sync() error                             { return nil }
func (memory) Close() error                            { return nil }
func (m memoryBuffer) Bytes() int                      { return len(m) }
func (m memoryBuffer) Write(off int, src []byte) error { copy(m[off:], src); return nil }
func (m memoryBuffer) Read(off int, dst []byte) error  { copy(dst, m[off:]); return nil }
func (m memoryBuffer) Close() error                    { return nil }
func (memory) Compile(engine.Op, []engine.Spec, []engine.Spec) (engine.Kernel, error) {
	return nil, engine.ErrUnsupported
}

func newModel(t *testing.T, a Arch) *Model {
	t.Helper()
	m, err := New(a)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// lines reads a list of testdata without its comments.
func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			out = append(out, s.Text())
		}
	}
	return out
}

func shapeString(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(shape), "[]"), " ", "x")
}

func TestParameterCounts(t *testing.T) {
	for _, c := range []struct {
		arch Arch
		want int
	}{
		{Arch{Family: "cnn-plain", Classes: 11}, 247_179},
		{Arch{Family: "cnn-dwpw", Classes: 11}, 224_011},
		{Arch{Family: "cnn-group", Classes: 11}, 218_651},
		{Arch{Family: "cnn-group-printed", Classes: 11}, 199_179},
		{Arch{Family: "hw7-student", Classes: 11}, 256_779},
		{Arch{Family: "resnet18", Classes: 11}, 11_182_155},
		{Arch{Family: "resnet18", Classes: 1000}, 11_689_512},
		{Arch{Family: "shufflenet_v2_x0_5", Classes: 1000}, 1_366_792},
		{Arch{Family: "cnn-dwpw", Classes: 11, Widths: []int{16, 32, 64, 44, 44, 44, 89, 89, 256}}, 52_902},
	} {
		if got := newModel(t, c.arch).Params(); got != c.want {
			t.Errorf("%+v: %d parameters, want %d", c.arch, got, c.want)
		}
	}
}

// listed are the families of which testdata has lists that PyTorch wrote. For the
// others it has their digests: see TestFamilies.
var listed = []string{"cnn-plain", "cnn-dwpw", "cnn-group", "cnn-group-printed", "hw7-student", "resnet18", "shufflenet_v2_x0_5"}

// TestStateDictIsPyTorchs holds names, types, shapes and order against lists
// that PyTorch wrote.
func TestStateDictIsPyTorchs(t *testing.T) {
	for _, family := range listed {
		m := newModel(t, Arch{Family: family, Classes: 11})
		var got []string
		for _, s := range m.Slots() {
			got = append(got, fmt.Sprintf("%s %v %s", s.Variable.Name, s.Variable.DType, shapeString(s.Shape())))
		}
		if want := lines(t, "state_"+family+".txt"); !slices.Equal(got, want) {
			t.Errorf("%s: state_dict differs from PyTorch's:\n got %v\nwant %v", family, got, want)
		}
	}
}

func TestTrainableIsWhatPyTorchCallsParameters(t *testing.T) {
	for _, v := range newModel(t, Arch{Family: "resnet18", Classes: 3, Base: 4}).Variables() {
		buffer := strings.Contains(v.Name, "running_") || strings.HasSuffix(v.Name, "num_batches_tracked")
		if v.Trainable == buffer {
			t.Errorf("%s: trainable %v", v.Name, v.Trainable)
		}
	}
}

func TestSummaryIsTorchsummarys(t *testing.T) {
	for _, family := range listed {
		s, err := newModel(t, Arch{Family: family, Classes: 11}).Summary(64, 64)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		var params int
		var macs, bytes int64
		for _, l := range s.Layers {
			switch hidden := l.Type; { // what PyTorch's modules hide
			case hidden == "Add", hidden == "Concat", hidden == "Slice", hidden == "ChannelShuffle", l.Name == "mean":
			default:
				got = append(got, fmt.Sprintf("%s %s %d", l.Type, shapeString(l.Output), l.Params))
			}
			params, macs, bytes = params+l.Params, macs+l.MACs, bytes+l.Bytes
		}
		want := slices.DeleteFunc(lines(t, "summary_"+family+".txt"), func(l string) bool {
			return strings.HasPrefix(l, "BasicBlock ") || strings.HasPrefix(l, "InvertedResidual ")
		})
		if !slices.Equal(got, want) {
			t.Errorf("%s: rows differ:\n got %v\nwant %v", family, got, want)
		}
		if params != s.Params || macs != s.MACs || bytes != s.Bytes {
			t.Errorf("%s: rows sum to %d, %d, %d; totals are %d, %d, %d", family, params, macs, bytes, s.Params, s.MACs, s.Bytes)
		}
	}
}

// TestSummaryTotals holds the totals of ResNet-18 at 224 pixels against those
// that torchsummary is widely quoted with, and the MACs against its paper's 1.8e9.
func TestSummaryTotals(t *testing.T) {
	s, err := newModel(t, Arch{Family: "resnet18", Classes: 1000}).Summary(224, 224)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%.2f %.2f %.2f %.2f", s.InputMB, s.ForwardBackwardMB, s.ParamsMB, s.TotalMB)
	if want := "0.57 62.79 44.59 107.96"; got != want {
		t.Errorf("sizes in MB %s, want %s", got, want)
	}
	if s.MACs != 1_814_073_344 {
		t.Errorf("%d MACs, want 1814073344", s.MACs)
	}
	if _, err := newModel(t, Arch{Family: "cnn-plain", Classes: 2}).Summary(8, 8); err == nil || !strings.Contains(err.Error(), "cnn.3.3") {
		t.Errorf("summary of an image that is too small: %v", err)
	}
}

func TestBadArchitectures(t *testing.T) {
	for _, c := range []struct {
		arch Arch
		want string
	}{
		{Arch{Family: "vgg", Classes: 11}, "the nearest are vgg8"},
		{Arch{Family: "resnet-50", Classes: 11}, "the nearest are resnet50, "},
		{Arch{Family: "mobilenet_v2", Classes: 11, Widths: []int{3}}, "its net is not a list of them"},
		{Arch{Family: "cnn-dwpw"}, "0 classes"},
		{Arch{Family: "cnn-dwpw", Classes: -1}, "-1 classes"},
		{Arch{Family: "cnn-dwpw", Classes: 2, Base: -1}, "base width -1"},
		{Arch{Family: "cnn-dwpw", Classes: 2, InChannels: -1}, "-1 image channels"},
		{Arch{Family: "cnn-dwpw", Classes: 2, Widths: []int{16, 32}}, "2 widths given, it has 9 blocks"},
		{Arch{Family: "cnn-plain", Classes: 2, Widths: []int{16, 32, 0, 8, 8}}, "width 0 of block 2"},
		{Arch{Family: "cnn-plain", Classes: 2, Widths: []int{16, 32, 1 << 40, 8, 8}}, "width 1099511627776"},
		{Arch{Family: "cnn-group", Classes: 2, Widths: []int{16, 31, 8, 8, 8, 8}}, "width 31 of block 1 does not divide into 2 groups"},
		{Arch{Family: "cnn-group-printed", Classes: 2, Widths: []int{16, 32, 8, 8, 8, 7}}, "width 7 of block 5"},
	} {
		_, err := New(c.arch)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: error %v, want one line with %q", c.arch, err, c.want)
		}
	}
	// The last block of cnn-group divides nothing.
	newModel(t, Arch{Family: "cnn-group", Classes: 2, Widths: []int{2, 4, 6, 8, 8, 7}})
}

func TestArchIsResolved(t *testing.T) {
	a := newModel(t, Arch{Family: "cnn-dwpw", Classes: 11}).Arch()
	if a.Base != 16 || a.InChannels != 3 || !slices.Equal(a.Widths, []int{16, 32, 64, 128, 128, 128, 256, 256, 256}) {
		t.Errorf("arch %+v", a)
	}
	a.Widths[3] = 44
	if pruned := newModel(t, a).Arch(); pruned.Base != 0 || pruned.Widths[3] != 44 {
		t.Errorf("pruned arch %+v", pruned)
	}
	if again := newModel(t, newModel(t, Arch{Family: "resnet18", Classes: 2, Base: 8}).Arch()).Arch(); again.Base != 8 {
		t.Errorf("rebuilt arch %+v", again)
	}
}

// line makes a net of modules that follow each other, without checking it.
func line(in Input, modules ...Module) *Net {
	n := &Net{Version: NetVersion, Input: in}
	from := Image
	for _, m := range modules {
		if m.In == nil {
			m.In = []string{from}
		}
		n.Modules = append(n.Modules, m)
		from = m.Name
	}
	n.Output = from
	return n
}

func TestBadNets(t *testing.T) {
	conv := func(f func(*Conv2d)) Kind {
		c := Conv(3, 5, 3)
		f(&c)
		return c
	}
	pool := Module{Name: "pool", Kind: AdaptiveAvgPool2d{}}
	for _, c := range []struct {
		modules []Module
		want    string
	}{
		{nil, "needs modules"},
		{[]Module{{Name: "m"}}, "m: it has no kind"},
		{[]Module{{Name: "c", Kind: conv(func(c *Conv2d) { c.Groups = 2 })}, pool}, "c: 3 to 5 channels do not divide into 2 groups"},
		{[]Module{{Name: "c", Kind: conv(func(c *Conv2d) { c.Stride[1] = -1 })}, pool}, "negative"},
		{[]Module{{Name: "c", Kind: conv(func(c *Conv2d) { c.Padding[3] = -1 })}, pool}, "padding [0,0,0,-1]"},
		{[]Module{{Name: "c", Kind: conv(func(c *Conv2d) { c.Dilation[0] = 1 << 15 })}, pool}, "dilation 32768x1: at most 16384"},
		{[]Module{{Name: "c", Kind: conv(func(c *Conv2d) { c.KernelSize = Pair{1, 257} })}, pool}, "a kernel of 1x257"},
		{[]Module{{Name: "c", Kind: Conv(0, 5, 3)}, pool}, "positive"},
		{[]Module{{Name: "c", Kind: Conv(3, 1<<15, 3)}, pool}, "at most 16384 channels"},
		{[]Module{{Name: "c", Kind: Conv(4, 5, 3)}, pool}, "c: Conv2D"},
		{[]Module{{Name: "n", Kind: BatchNorm(0)}, pool}, "0 channels"},
		{[]Module{pool, {Name: "l", Kind: Linear{InFeatures: 3}}}, "it has no out_features"},
		{[]Module{pool, {Name: "d", Kind: Dropout{P: 1}}}, "[0, 1)"},
		{[]Module{pool, {Name: "pool", Kind: ReLU{}}}, "two modules are named pool"},
		{[]Module{pool, {Name: "image", Kind: ReLU{}}}, "stands for the input"},
		{[]Module{pool, {Name: "a b", Kind: ReLU{}}}, "spaces"},
		{[]Module{pool, {Name: "r", Kind: ReLU{}, In: []string{"later"}}}, `its input "later" is no module before it`},
		{[]Module{pool, {Name: "r", Kind: ReLU{}, In: []string{Image}}}, "pool: nothing that leads to the output r reads it"},
		{[]Module{pool, {Name: "r", Kind: Add{}}}, "two inputs or more"},
		{[]Module{{Name: "c", Kind: Conv(3, 5, 3)}}, "logits are [N,classes]"},
		{[]Module{{Name: "c", Kind: Conv(3, 3, 3), Tensors: map[string]string{"scale": "x"}}, pool}, `no tensor "scale"`},
		{[]Module{{Name: "c", Kind: Conv(3, 3, 3)}, {Name: "d", Kind: Conv(3, 3, 1), Tensors: map[string]string{"weight": "c.weight"}}, pool}, "shares c.weight"},
	} {
		_, err := line(Input{Channels: 3}, c.modules...).Model()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %v, want one line with %q", err, c.want)
		}
	}
}

// TestOwnNet builds a net of the layers that no family uses.
func TestOwnNet(t *testing.T) {
	conv := Conv(1, 6, 5)
	conv.Padding = Around(2)
	m, err := line(Input{Channels: 1, Height: 8, Width: 8},
		Module{Name: "conv1", Kind: conv},
		Module{Name: "relu1", Kind: ReLU{}},
		Module{Name: "pool1", Kind: AvgPool(2, 0, 0)},
		Module{Name: "flatten", Kind: Flatten{}},
		Module{Name: "drop1", Kind: Dropout{P: 0.5}},
		Module{Name: "drop2", Kind: Dropout{P: 0.5}},
		Module{Name: "flatten2", Kind: Flatten{}},
		Module{Name: "fc", Kind: Linear{InFeatures: 6 * 4 * 4, OutFeatures: 10, Bias: true}}).Model()
	if err != nil {
		t.Fatal(err)
	}
	g := engine.NewGraph()
	b := engine.NewBuilder(g)
	y := m.Forward(b, b.Input("x", engine.F32(2, 8, 8, 1)), true)
	if b.Err() != nil || !y.Equal(engine.F32(2, 10)) || len(g.Inputs()) != 2 {
		t.Fatalf("y is %v, %d inputs, error %v", y, len(g.Inputs()), b.Err())
	}
	streams := make(map[uint32]bool)
	for _, n := range g.Nodes() {
		if n.Scope == "" {
			t.Errorf("%s has no scope", engine.OpName(n.Op))
		}
		if d, ok := n.Op.(engine.Dropout); ok {
			streams[d.Stream] = true
		}
	}
	if len(streams) != 2 {
		t.Errorf("two dropouts have %d streams of random numbers", len(streams))
	}
	s, err := m.Summary(8, 8)
	if err != nil || s.MACs != 8*8*6*25+96*10 || s.Input[0] != 1 || len(s.Layers) != 8 {
		t.Errorf("summary %+v, error %v", s, err)
	}
}

func TestLayouts(t *testing.T) {
	for _, c := range []struct {
		layout Layout
		torch  []int
	}{{OIHW, []int{5, 3, 2, 4}}, {OI, []int{5, 3}}, {Same, []int{7}}} {
		n := 1
		for _, d := range c.torch {
			n *= d
		}
		src, inside, back := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range src {
			src[i] = float32(i)
		}
		c.layout.ToEngine(inside, src, c.torch)
		c.layout.ToTorch(back, inside, c.torch)
		if !slices.Equal(src, back) {
			t.Errorf("%v: not its own inverse", c.layout)
		}
		if c.layout == OIHW { // element (o,i,h,w) = (4,2,1,3) lies at (h,w,i,o)
			if got, want := inside[((1*4+3)*3+2)*5+4], src[((4*3+2)*2+1)*4+3]; got != want {
				t.Errorf("OIHW: %v, want %v", got, want)
			}
		}
		if c.layout == OI && inside[2*5+4] != src[4*3+2] {
			t.Errorf("OI: %v, want %v", inside[2*5+4], src[4*3+2])
		}
	}
}

func TestInitDistributions(t *testing.T) {
	store := engine.NewStore(memory{})
	m := newModel(t, Arch{Family: "cnn-dwpw", Classes: 11})
	if err := m.Init(store, 7); err != nil {
		t.Fatal(err)
	}
	s, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	w, b := s.Find("cnn.7.3.weight"), s.Find("cnn.7.3.bias") // 256 to 256, fan_in 256
	checkUniform(t, w.Name, w.Data, 1.0/16)
	checkUniform(t, b.Name, b.Data, 1.0/16)
	checkUniform(t, "depthwise", s.Find("cnn.8.0.weight").Data, 1.0/3) // fan_in 9
	for name, want := range map[string]float32{"cnn.3.1.weight": 1, "cnn.3.1.bias": 0, "cnn.3.1.running_mean": 0, "cnn.3.1.running_var": 1, "cnn.3.1.num_batches_tracked": 0} {
		e := s.Find(name)
		for _, v := range append(e.Data, make([]float32, len(e.Int))...) {
			if v != want {
				t.Fatalf("%s starts at %v, want %v", name, v, want)
			}
		}
	}

	r := newModel(t, Arch{Family: "resnet18", Classes: 11, Base: 16})
	if err := r.Init(store, 7); err != nil {
		t.Fatal(err)
	}
	if s, err = r.State(store); err != nil {
		t.Fatal(err)
	}
	data := s.Find("layer4.1.conv2.weight").Data // fan_out 128·9
	var sum, square float64
	for _, v := range data {
		sum, square = sum+float64(v), square+float64(v)*float64(v)
	}
	n, want := float64(len(data)), math.Sqrt(2.0/(128*9))
	if std := math.Sqrt(square / n); math.Abs(std/want-1) > 0.01 || math.Abs(sum/n) > 0.01*want {
		t.Errorf("std %v, mean %v; want %v, 0", std, sum/n, want)
	}
	checkUniform(t, "fc", s.Find("fc.weight").Data, 1/math.Sqrt(128))
}

// checkUniform checks range, mean and variance of a uniform sample in ±bound.
func checkUniform(t *testing.T, name string, data []float32, bound float64) {
	t.Helper()
	var sum, square float64
	for _, v := range data {
		if math.Abs(float64(v)) > bound*(1+1e-6) {
			t.Fatalf("%s: %v is outside ±%v", name, v, bound)
		}
		sum, square = sum+float64(v), square+float64(v)*float64(v)
	}
	n := float64(len(data))
	std := bound / math.Sqrt(3)
	if math.Abs(sum/n) > 5*std/math.Sqrt(n) || math.Abs(square/n/(std*std)-1) > 5/math.Sqrt(n) {
		t.Errorf("%s: mean %v, variance %v; want 0, %v", name, sum/n, square/n, std*std)
	}
}

// TestInitDependsOnSeedAndNameAlone finds equal tensors in two different nets.
func TestInitDependsOnSeedAndNameAlone(t *testing.T) {
	state := func(a Arch, seed uint64) StateDict {
		store, m := engine.NewStore(memory{}), newModel(t, a)
		if err := m.Init(store, seed); err != nil {
			t.Fatal(err)
		}
		s, err := m.State(store)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := state(Arch{Family: "cnn-dwpw", Classes: 11}, 1)
	b := state(Arch{Family: "hw7-student", Classes: 3}, 1)
	c := state(Arch{Family: "cnn-dwpw", Classes: 11}, 2)
	const name = "cnn.2.3.weight"
	if !slices.Equal(a.Find(name).Data, b.Find(name).Data) {
		t.Error("the same seed and name gave two tensors")
	}
	if slices.Equal(a.Find(name).Data, c.Find(name).Data) {
		t.Error("two seeds gave the same tensor")
	}
	if slices.Equal(a.Find("cnn.4.3.bias").Data, a.Find("cnn.5.3.bias").Data) {
		t.Error("two names gave the same tensor")
	}
}

func TestLoadIsStrict(t *testing.T) {
	store := engine.NewStore(memory{})
	m := newModel(t, Arch{Family: "cnn-group", Classes: 5, Base: 4})
	if err := m.Init(store, 3); err != nil {
		t.Fatal(err)
	}
	state := func() StateDict {
		s, err := m.State(store)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := state()
	s.Find("cnn.0.1.num_batches_tracked").Int[0] = 1<<24 + 1
	slices.Reverse(s) // order does not matter
	other := engine.NewStore(memory{})
	if err := m.Load(other, s); err != nil {
		t.Fatal(err)
	}
	got, err := m.State(other)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(s)
	for i := range got {
		if got[i].Name != s[i].Name || !slices.Equal(got[i].Data, s[i].Data) || !slices.Equal(got[i].Int, s[i].Int) {
			t.Errorf("%s came back changed", s[i].Name)
		}
	}
	for want, change := range map[string]func(s StateDict) StateDict{
		"cnn.0.0.weight [4 3 3 3] of cnn-group is missing": func(s StateDict) StateDict { return s[1:] },
		"tensor new is not one of cnn-group":               func(s StateDict) StateDict { return append(s, Entry{Name: "new"}) },
		"fc.0.bias is [4], cnn-group needs [5]":            func(s StateDict) StateDict { s[len(s)-1].Shape = []int{4}; return s },
		"has 2 values for its shape":                       func(s StateDict) StateDict { s[0].Data = s[0].Data[:2]; return s },
		"cnn.0.0.weight is there twice":                    func(s StateDict) StateDict { return append(s, s[0]) },
	} {
		if err := m.Load(other, change(state())); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestMultAddsAreThoseOfTorchinfo holds every family to scripts/golden_macs.py.
func TestMultAddsAreThoseOfTorchinfo(t *testing.T) {
	text, err := os.ReadFile("testdata/torchinfo.json")
	if err != nil {
		t.Fatal(err)
	}
	var nets []struct {
		Family        string
		Classes, Base int
		Height, Width int
		Params        int
		MultAdds      int64 `json:"mult_adds"`
	}
	if err := json.Unmarshal(text, &nets); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, want := range nets {
		seen[want.Family] = true
		m, err := New(Arch{Family: want.Family, Classes: want.Classes, Base: want.Base})
		if err != nil {
			t.Fatal(err)
		}
		s, err := m.Summary(want.Height, want.Width)
		if err != nil {
			t.Fatal(err)
		}
		if s.MultAdds != want.MultAdds || s.Params != want.Params {
			t.Errorf("%+v: %d multiply-adds and %d parameters", want, s.MultAdds, s.Params)
		}
	}
	// torchinfo leaves out the pixels of these: see the script.
	uncounted := []string{"convnext_tiny", "efficientnet_lite0", "mlperf_resnet8"}
	for _, family := range Families() {
		if !seen[family] && !slices.Contains(uncounted, family) {
			t.Errorf("torchinfo has not counted %s", family)
		}
	}
}
