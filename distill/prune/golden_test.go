package prune

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/checkpointtest"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A golden is what scripts/golden_prune.py says of a net.
type golden struct {
	Base    int                          `json:"base"`
	Groups  int                          `json:"groups"`
	Members string                       `json:"members"`
	Cuts    map[string]map[string]string `json:"cuts"`
	Counts  map[string]int               `json:"counts"`
	Logits  []float64                    `json:"logits"`
	Params  int                          `json:"params"`
	MACs    int64                        `json:"macs"`
}

const goldenSeed = 15

// goldenState draws the weights, and the gradients, that the script draws.
func goldenState(t *testing.T, n *layers.Net) (layers.StateDict, map[string][]float32) {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	s := checkpointtest.State(t, m, 1)
	grads := make(map[string][]float32)
	for i := range s {
		e := &s[i]
		if e.Integer() {
			continue
		}
		lo, hi := -0.3, 0.3
		switch {
		case len(e.Shape) > 1:
			fan := len(e.Data) / e.Shape[0]
			lo, hi = -math.Sqrt(3/float64(fan)), math.Sqrt(3/float64(fan))
		case strings.HasSuffix(e.Name, "weight"), strings.HasSuffix(e.Name, "running_var"):
			lo, hi = 0.5, 1.5
		}
		r, g := random.New(goldenSeed, 0, i, random.UseOther), random.New(goldenSeed, 1, i, random.UseOther)
		grads[e.Name] = make([]float32, len(e.Data))
		for k := range e.Data {
			e.Data[k] = float32(r.Uniform(lo, hi))
			grads[e.Name][k] = float32(g.Uniform(-0.01, 0.01))
		}
	}
	return s, grads
}

// keyOf is the script's name of a group, and its members.
func keyOf(n *layers.Net, g *layers.Group) (key string, list []string) {
	for _, u := range g.Uses {
		if u.Role != "weight" {
			continue
		}
		face := "bn"
		switch k := n.Module(u.Module).Kind.(type) {
		case layers.Conv2d:
			face = []string{"out", "in"}[u.Axis]
			if k.Groups > 1 && k.Groups == k.InChannels {
				face = "dw"
			}
		case layers.Linear:
			face = []string{"out", "in"}[u.Axis]
		}
		list = append(list, u.Module+":"+face)
		if (face == "out" || face == "dw") && (key == "" || u.Module < key) {
			key = u.Module
		}
	}
	slices.Sort(list)
	return key, list
}

func digestOf(lines []string) string {
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	if len(lines) == 0 {
		sum = sha256.Sum256(nil)
	}
	return fmt.Sprintf("%x", sum)[:24]
}

// TestTorchPruning holds Compat to Torch-Pruning 1.6.1: the same groups, the same
// importances, the same channels cut, and the same net after it.
func TestTorchPruning(t *testing.T) {
	text, err := os.ReadFile("testdata/torch_pruning.json")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]*golden
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	file, err := safetensors.Read("testdata/torch_pruning.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 9 {
		t.Errorf("%d nets", len(all))
	}
	for family, g := range all {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			compareNet(t, family, g, file)
		})
	}
}

func compareNet(t *testing.T, family string, g *golden, file *safetensors.File) {
	n, err := layers.Arch{Family: family, Classes: 10, Base: g.Base}.Net()
	if err != nil {
		t.Fatal(err)
	}
	s, grads := goldenState(t, n)
	groups, err := n.Groups()
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]string)
	var lines, names []string
	byKey := make(map[string]int)
	for i := range groups {
		if groups[i].Fixed != "" {
			continue
		}
		key, list := keyOf(n, &groups[i])
		keys[groups[i].Name] = key
		byKey[key] = i
		names = append(names, key)
		lines = append(lines, key+"|"+strings.Join(list, ","))
	}
	if len(lines) != g.Groups || digestOf(lines) != g.Members {
		t.Fatalf("%d groups, want %d; members %s, want %s", len(lines), g.Groups, digestOf(lines), g.Members)
	}
	slices.Sort(names)
	for _, name := range []string{"l1", "l2", "bn-scale", "fpgm", "lamp", "taylor"} {
		cuts, ok := g.Cuts[name]
		if !ok {
			t.Errorf("no golden of %s", name)
		}
		if len(cuts) == 0 {
			continue // Torch-Pruning cannot, or says nothing
		}
		if len(cuts) != 9 {
			t.Errorf("%s: %d cuts", name, len(cuts))
		}
		c := &cutter{o: Options{Criterion: name, Compat: TorchPruning}.withDefaults(), groups: groups, why: make(map[string]string)}
		c.c = &checkpoint.Checkpoint{Net: n, State: s}
		compareScores(t, name, c, &statistics{of: grads}, names, byKey, file, family)
		rankings := make(map[string]*ranking)
		for mode, want := range cuts {
			rank, number, _ := strings.Cut(mode, " ")
			var ratio float64
			if _, err := fmt.Sscan(number, &ratio); err != nil {
				t.Fatal(err)
			}
			if c.rank = rankings[rank]; c.rank == nil {
				c.o.Rank, c.why = rank, make(map[string]string)
				if err := c.prepare(&statistics{of: grads}); err != nil {
					t.Fatal(err)
				}
				rankings[rank] = c.rank
			}
			compareCut(t, name+" "+mode, c, ratio, keys, want, g.Counts[name+" "+mode])
		}
	}
	compareLogits(t, n, s, g)
}

// compareScores holds the importance of every channel to 1e-5.
func compareScores(t *testing.T, name string, c *cutter, stats *statistics, names []string, byKey map[string]int, file *safetensors.File, family string) {
	tensor, ok := file.Lookup(family + "/" + name)
	if !ok {
		t.Fatalf("no golden %s/%s", family, name)
	}
	want, err := safetensors.Float32s(tensor)
	if err != nil {
		t.Fatal(err)
	}
	k, err := criterionOf(name)
	if err != nil {
		t.Fatal(err)
	}
	sc := &scorer{net: c.c.Net, state: c.c.State, criterion: k, reduce: "mean", normalize: k.normalize, stats: stats, compat: true}
	at := 0
	for _, key := range names {
		g := &c.groups[byKey[key]]
		got, err := sc.channels(g)
		if err != nil {
			t.Fatal(err)
		}
		tolerance := make([]float64, len(got))
		for i := range got {
			tolerance[i] = 1e-5
		}
		if name == "lamp" {
			// Torch-Pruning subtracts sums of float32 from each other: of n channels
			// the difference is off by n roundings of the whole.
			raw, err := (&scorer{net: c.c.Net, state: c.c.State, criterion: k, reduce: "mean", normalize: "none", compat: true}).channels(g)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, v := range raw {
				sum += v
			}
			for i, v := range raw {
				tolerance[i] += float64(len(raw)) * 0x1p-24 * sum / (v / got[i])
			}
		}
		for i, v := range got {
			if w := float64(want[at+i]); math.Abs(v-w) > tolerance[i]*math.Abs(w) {
				t.Errorf("%s: %s, channel %d: %g, want %g", name, key, i, v, w)
				break
			}
		}
		at += len(got)
	}
	if at != len(want) {
		t.Errorf("%s: %d importances, want %d", name, at, len(want))
	}
}

// compareCut holds what is cut to the golden.
func compareCut(t *testing.T, what string, c *cutter, ratio float64, keys map[string]string, want string, count int) {
	size := c.rank.compatSizes(ratio)
	keep := c.rank.keep(size)
	var lines []string
	n := 0
	for _, k := range c.rank.candidates {
		units, cut := keep[k.Name]
		if !cut {
			continue
		}
		var gone []string
		stays := make([]bool, k.Size)
		for _, u := range units {
			stays[u] = true
		}
		for channel := range k.Size * k.Width {
			if !stays[channel%k.Size] {
				gone = append(gone, fmt.Sprint(channel))
			}
		}
		n += len(gone)
		lines = append(lines, keys[k.Name]+":"+strings.Join(gone, ","))
	}
	if digestOf(lines) != want {
		t.Errorf("%s: %d channels are cut, %d by Torch-Pruning, or others", what, n, count)
	}
}

// compareLogits makes the cut and runs the net.
func compareLogits(t *testing.T, n *layers.Net, s layers.StateDict, g *golden) {
	const size = 64
	out, r := cutBy(t, &checkpoint.Checkpoint{Net: n, State: s}, Options{Criterion: "l2", Ratio: 0.5, Compat: TorchPruning, Size: size})
	if r.ParamsAfter != g.Params {
		t.Errorf("%d parameters, want %d", r.ParamsAfter, g.Params)
	}
	// Their counter sees modules alone, not functions of PyTorch.
	whole := []string{"resnet18", "resnet50", "resnext50_32x4d", "vgg11_bn", "regnet_x_400mf"}
	if macs := theirMACs(t, out.Net, size); macs != g.MACs && slices.Contains(whole, n.Family) {
		t.Errorf("%d multiply-adds in their way, want %d", macs, g.MACs)
	}
	draw := random.New(goldenSeed, 2, 0, random.UseOther)
	nchw := make([]float32, 2*3*size*size)
	for i := range nchw {
		nchw[i] = float32(draw.Uniform(0, 1))
	}
	images := make([]float32, len(nchw))
	for i := range nchw {
		n, c, p := i/(3*size*size), i/(size*size)%3, i%(size*size)
		images[(n*size*size+p)*3+c] = nchw[i]
	}
	got := checkpointtest.LogitsOf(t, out.Restore, images, 2, size)
	scale := 0.0
	for _, v := range g.Logits {
		scale = max(scale, math.Abs(v))
	}
	for i, want := range g.Logits {
		if math.Abs(float64(got[i])-want) > 1e-4*scale {
			t.Errorf("logit %d is %g, want %g", i, got[i], want)
		}
	}
}

// theirMACs counts as Torch-Pruning does: multiply-adds of convolutions and linear
// layers and their biases, two for each number that a batch norm makes, one for
// each of a ReLU and of what a pooling reads.
func theirMACs(t *testing.T, n *layers.Net, size int) int64 {
	t.Helper()
	m, err := n.Model()
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Summary(size, size)
	if err != nil {
		t.Fatal(err)
	}
	length := make(map[string]int64)
	length[layers.Image] = int64(3 * size * size)
	total := int64(0)
	for i, row := range s.Layers {
		k := int64(1)
		for _, d := range row.Output {
			k *= int64(d)
		}
		length[row.Name] = k
		total += row.MACs
		in := length[n.Modules[i].In[0]]
		switch kind := n.Modules[i].Kind.(type) {
		case layers.Conv2d:
			if kind.Bias {
				total += k
			}
		case layers.Linear:
			if kind.Bias {
				total += k
			}
		case layers.BatchNorm2d:
			total += 2 * k
		case layers.ReLU, layers.ReLU6:
			total += k
		case layers.MaxPool2d, layers.AvgPool2d, layers.AdaptiveAvgPool2d:
			total += in
		}
	}
	return total
}

// TestTorchPruningResNet18 holds the published check: torchvision's resnet18, half
// of the channels by l2, layer by layer, without the head.
func TestTorchPruningResNet18(t *testing.T) {
	c := drawn(t, layers.Arch{Family: "resnet18", Classes: 1000})
	out, r := cutBy(t, c, Options{Criterion: "l2", Ratio: 0.5, Compat: TorchPruning, Size: 224})
	if r.ParamsBefore != 11689512 || r.ParamsAfter != 3055880 {
		t.Errorf("%d parameters of %d, want 3055880 of 11689512", r.ParamsAfter, r.ParamsBefore)
	}
	if before, after := theirMACs(t, c.Net, 224), theirMACs(t, out.Net, 224); before != 1822177768 || after != 487202536 {
		t.Errorf("%d multiply-adds of %d, want 487202536 of 1822177768", after, before)
	}
}
