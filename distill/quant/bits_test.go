package quant

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// wholeNet has every op in integers, with channels that fill vectors and that do not:
// depthwise convolutions of either size and stride, a residual sum, a gate, a
// concatenation and pools.
const wholeNet = `
input: {channels: 3, height: 21, width: 18}
modules:
  stem: {kind: Conv2d, out_channels: 24, kernel_size: 3, stride: 2, padding: 1, bias: false}
  bn: BatchNorm2d
  relu: ReLU
  expand: {kind: Conv2d, out_channels: 72, kernel_size: 1}
  relu6: ReLU6
  depthwise: {kind: Conv2d, out_channels: 72, kernel_size: 3, padding: 1, groups: 72}
  swish: Hardswish
  squeeze: AdaptiveAvgPool2d
  fc1: {kind: Linear, out_features: 16}
  relu1: ReLU
  fc2: {kind: Linear, out_features: 72}
  gate: Hardsigmoid
  scale: {kind: Mul, from: [swish, gate]}
  project: {kind: Conv2d, out_channels: 24, kernel_size: 1}
  add: {kind: Add, from: [project, relu]}
  wide: {kind: Conv2d, out_channels: 24, kernel_size: 5, padding: 2, groups: 24}
  relu2: ReLU
  down: {kind: Conv2d, out_channels: 24, kernel_size: 3, stride: 2, padding: 1, groups: 24}
  relu3: ReLU
  small: {kind: Conv2d, out_channels: 40, kernel_size: 3, padding: 1}
  max: {kind: MaxPool2d, kernel_size: 3, stride: 1, padding: 1}
  mean: {kind: AvgPool2d, from: [small], kernel_size: 3, stride: 1, padding: 1}
  cat: {kind: Concat, from: [max, mean]}
  flat: {kind: AdaptiveAvgPool2d}
  head: {kind: Linear, out_features: 6}
`

// quantizedNet returns the net in integers, and images [3,21,18,3].
func quantizedNet(t *testing.T) (*layers.Net, layers.StateDict, []float32) {
	t.Helper()
	net, err := layers.ParseYAML("net.yaml", []byte(wholeNet), 6)
	if err != nil {
		t.Fatal(err)
	}
	b := ref.New()
	m, err := net.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	if err := m.Init(store, 5); err != nil {
		t.Fatal(err)
	}
	state, err := m.State(store)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(5, 6))
	image := make([]float32, 3*21*18*3)
	for i := range image {
		image[i] = float32(rng.NormFloat64())
	}
	c := &checkpoint.Checkpoint{Net: net, State: state, Classes: []string{"a", "b", "c", "d", "e", "f"}}
	q, report, err := StaticOn(context.Background(), compress.Env{Backend: b}, c, Options{Scheme: Int8}, []Images{{3, 21, 18, 3, image}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Images != 3 {
		t.Errorf("%d images of 3", report.Images)
	}
	n, s, err := layers.Integers(q.Net, q.State)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n.Modules {
		if _, ok := n.Modules[i].Kind.(layers.Integer); !ok {
			t.Errorf("%s is a %s", n.Modules[i].Name, layers.KindName(n.Modules[i].Kind))
		}
	}
	return n, s, image
}

// evaluated returns the logits of a net for images, by a backend.
func evaluated(t *testing.T, b engine.Backend, n *layers.Net, s layers.StateDict, images []float32) []float32 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	store := engine.NewStore(b)
	defer store.Close()
	if err := m.Load(store, s); err != nil {
		t.Fatal(err)
	}
	g := engine.NewBuilder(engine.NewGraph())
	in := n.Input
	x := g.Input("images", engine.F32(len(images)/(in.Height*in.Width*in.Channels), in.Height, in.Width, in.Channels))
	y := m.Forward(g, x, false)
	if err := g.Err(); err != nil {
		t.Fatal(err)
	}
	p, err := g.Graph().Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{y}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Run(context.Background(), engine.Bindings{x: engine.Bytes(images)}); err != nil {
		t.Fatal(err)
	}
	out := make([]float32, y.Len())
	if err := p.Read(y, engine.Bytes(out)); err != nil {
		t.Fatal(err)
	}
	return out
}

// A statically quantized net gives the same bits by the reference, on every instruction
// set with one thread and with two, in plain Go where that is what is built, and
// through the stand-ins of CUDA's libraries.
func TestSameBits(t *testing.T) {
	n, s, image := quantizedNet(t)
	want := evaluated(t, ref.New(), n, s, image)
	if w := slices.Clone(want); len(w) != 18 || len(slices.Compact(w)) < 12 {
		t.Fatalf("the logits are %v: the test is void", want)
	}
	check := func(t *testing.T, b engine.Backend, err error) {
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if got := evaluated(t, b, n, s, image); !slices.Equal(got, want) {
			t.Errorf("the logits are\n%v, not\n%v", got, want)
		}
	}
	for _, v := range append(cpu.Variants(), cpu.EmulatedVariants()...) {
		for _, threads := range []int{1, 2} {
			t.Run(strings.Join([]string{v, "threads", string(rune('0' + threads))}, "-"), func(t *testing.T) {
				b, err := cpu.New(cpu.Options{Threads: threads, Variant: v})
				check(t, b, err)
			})
		}
	}
	t.Run("cuda", func(t *testing.T) {
		dir := fake.Dir(t) // which skips the test where there is no compiler
		b, err := gpu.New(gpu.Options{Search: []string{dir}, CacheDir: filepath.Join(dir, "cache"), NoLibraries: true})
		check(t, b, err)
	})
}
