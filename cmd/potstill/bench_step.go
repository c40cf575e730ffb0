package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// benchStepCmd is potstill bench step: our side of scripts/bench_cpu.sh.
type benchStepCmd struct {
	Name string        `arg:"" optional:"" help:"The case; all are listed if it is left out."`
	Save string        `xor:"file" placeholder:"FILE" help:"Write the case's weights and batch to a safetensors file, and measure nothing."`
	Load string        `xor:"file" placeholder:"FILE" help:"Measure on the weights and the batch of such a file."`
	Time time.Duration `default:"1s" help:"How long the measurement takes at least."`
	precisionFlag
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (benchStepCmd) Help() string {
	return `Measures one step of one case, for a comparison with another tool on the same weights and the same batch: the
file that --save writes holds "image" [N,C,H,W], "target" [N] (classes) and the tensors of the state_dict, named
"net." and "teacher." before PyTorch's own names. The first figures ("check") tell whether both do the same work:
the losses of the first training steps, or the logits of an inference. The file of a case in integers has the net in
float32, and every tool quantizes it itself, with ranges of the batch. Dropout and stochastic depth are switched off.

Example:

    potstill bench step dwpw_train_128 --threads 2 --json`
}

// A stepCase is one case of the comparison.
type stepCase struct {
	arch  layers.Arch
	mode  string // train, infer or distill
	batch int
	size  int
	quant string // how the weights are stored, or quant.Int8: the net computes in integers; empty: in 32 bits
}

// integers reports whether the net is quantized on the batch and computes in integers.
func (sc stepCase) integers() bool { return sc.quant == quant.Int8 }

const stepClasses = 11

// The net that Gorgonia's operators can build too: the study's first block
// without its activation, 3 to 16 channels, then the mean over the image.
const (
	blockNet   = "block"
	blockWidth = 16
)

// model builds a case's net. It has no dropout and no stochastic depth: what
// they draw is not what another tool draws, and the losses are compared.
func (sc stepCase) model() (*layers.Model, error) {
	if sc.arch.Family != blockNet {
		n, err := sc.arch.Net()
		if err != nil {
			return nil, err
		}
		return n.WithoutDropout().Model()
	}
	b := layers.NewNetBuilder(blockNet, layers.Input{Channels: 3})
	conv := layers.Conv(3, blockWidth, 3)
	conv.Padding = layers.Around(1)
	x := b.Add("conv", conv, layers.Image)
	x = b.Add("bn", layers.BatchNorm(blockWidth), x)
	x = b.Add("pool", layers.MaxPool(2, 0, 0), x)
	n, err := b.Net(b.Add("mean", layers.AdaptiveAvgPool2d{}, x))
	if err != nil {
		return nil, err
	}
	return n.Model()
}

// stepCases are the comparisons of scripts/bench_cpu.sh by name.
var stepCases = map[string]stepCase{
	"dwpw_train_128":     {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeTrain, batch: 32, size: 128},
	"dwpw_train_256":     {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeTrain, batch: 32, size: 256},
	"plain_train_128":    {arch: layers.Arch{Family: "cnn-plain"}, mode: modeTrain, batch: 32, size: 128},
	"group_train_128":    {arch: layers.Arch{Family: "cnn-group"}, mode: modeTrain, batch: 32, size: 128},
	"resnet18_infer_128": {arch: layers.Arch{Family: "resnet18"}, mode: modeInfer, batch: 32, size: 128},
	"resnet18_train_128": {arch: layers.Arch{Family: "resnet18"}, mode: modeTrain, batch: 32, size: 128},
	"distill_128":        {arch: layers.Arch{Family: studentFamily}, mode: modeDistill, batch: 32, size: 128},
	"dwpw_predict_1_256": {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeInfer, batch: 1, size: 256},
	"int8_predict_1_256": {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeInfer, batch: 1, size: 256, quant: checkpoint.Affine8PerChannel},

	"mobilenet_v2_train_224":        {arch: layers.Arch{Family: "mobilenet_v2"}, mode: modeTrain, batch: 32, size: 224},
	"mobilenet_v2_infer_32_224":     {arch: layers.Arch{Family: "mobilenet_v2"}, mode: modeInfer, batch: 32, size: 224},
	"mobilenet_v2_predict_1_224":    {arch: layers.Arch{Family: "mobilenet_v2"}, mode: modeInfer, batch: 1, size: 224},
	"efficientnet_b0_train_224":     {arch: layers.Arch{Family: "efficientnet_b0"}, mode: modeTrain, batch: 32, size: 224},
	"efficientnet_b0_infer_32_224":  {arch: layers.Arch{Family: "efficientnet_b0"}, mode: modeInfer, batch: 32, size: 224},
	"efficientnet_b0_predict_1_224": {arch: layers.Arch{Family: "efficientnet_b0"}, mode: modeInfer, batch: 1, size: 224},
	"resnet50_train_224":            {arch: layers.Arch{Family: "resnet50"}, mode: modeTrain, batch: 32, size: 224},
	"resnet50_infer_32_224":         {arch: layers.Arch{Family: "resnet50"}, mode: modeInfer, batch: 32, size: 224},
	"resnet50_predict_1_224":        {arch: layers.Arch{Family: "resnet50"}, mode: modeInfer, batch: 1, size: 224},

	"dwpw_int8_1_256":          {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeInfer, batch: 1, size: 256, quant: quant.Int8},
	"dwpw_int8_32_256":         {arch: layers.Arch{Family: "cnn-dwpw"}, mode: modeInfer, batch: 32, size: 256, quant: quant.Int8},
	"mobilenet_v2_int8_1_224":  {arch: layers.Arch{Family: "mobilenet_v2"}, mode: modeInfer, batch: 1, size: 224, quant: quant.Int8},
	"mobilenet_v2_int8_32_224": {arch: layers.Arch{Family: "mobilenet_v2"}, mode: modeInfer, batch: 32, size: 224, quant: quant.Int8},
	"resnet18_int8_1_224":      {arch: layers.Arch{Family: "resnet18"}, mode: modeInfer, batch: 1, size: 224, quant: quant.Int8},
	"resnet18_int8_32_224":     {arch: layers.Arch{Family: "resnet18"}, mode: modeInfer, batch: 32, size: 224, quant: quant.Int8},

	"resnet18_predict_1_224": {arch: layers.Arch{Family: "resnet18"}, mode: modeInfer, batch: 1, size: 224},
	"resnet18_infer_32_224":  {arch: layers.Arch{Family: "resnet18"}, mode: modeInfer, batch: 32, size: 224},
	"resnet8_predict_1_32":   {arch: layers.Arch{Family: "mlperf_resnet8"}, mode: modeInfer, batch: 1, size: 32},

	"block_train_64": {arch: layers.Arch{Family: blockNet, Classes: blockWidth}, mode: modeTrain, batch: 8, size: 64},
}

// A stepBench is the JSON form.
type stepBench struct {
	Name         string    `json:"name"`
	Device       string    `json:"device"`
	Threads      int       `json:"threads"`
	Milliseconds float64   `json:"ms"`    // a step, the median
	Steps        int       `json:"steps"` // that were timed
	Check        []float32 `json:"check"` // losses of the first steps, or logits
	// Weights says what an inference computes with: float32, dequantized where
	// stored codes are decoded to 32 bits first, or int8 where it is in integers.
	Weights string `json:"weights"`
	// PeakBytes is the largest resident set of this process; 0: not known.
	PeakBytes int64 `json:"peak_bytes"`
}

// Run measures.
func (c *benchStepCmd) Run(a *app) error {
	names := slices.Sorted(maps.Keys(stepCases))
	if c.Name == "" {
		return c.list(a, names)
	}
	sc, ok := stepCases[c.Name]
	if !ok {
		return fmt.Errorf("%s: there is no such case; give one of %s", c.Name, strings.Join(names, ", "))
	}
	if sc.arch.Classes == 0 {
		sc.arch.Classes = stepClasses
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		in, err := c.input(a, b, sc)
		if err != nil {
			return err
		}
		if c.Save != "" {
			return in.save(c.Save, c.Name)
		}
		a.console.begin("measuring "+c.Name, 0)
		r, err := c.measure(a, b, sc, in)
		a.console.end()
		if err != nil {
			return err
		}
		return c.print(a, r)
	})
}

// list prints the names of all cases.
func (c *benchStepCmd) list(a *app, names []string) error {
	if c.Save != "" || c.Load != "" {
		return errors.New("--save and --load are for one case: name it")
	}
	if c.JSON {
		return json.NewEncoder(a.out).Encode(names)
	}
	_, err := fmt.Fprintln(a.out, strings.Join(names, "\n"))
	return err
}

// input reads the file, or makes what it would hold.
func (c *benchStepCmd) input(a *app, b engine.Backend, sc stepCase) (*stepInput, error) {
	if c.Load != "" {
		return loadStepInput(c.Load, c.Name, sc)
	}
	return newStepInput(a.ctx, b, sc)
}

// measure compiles the case, runs its first steps, and times the following.
func (c *benchStepCmd) measure(a *app, b engine.Backend, sc stepCase, in *stepInput) (r stepBench, err error) {
	r = stepBench{Name: c.Name, Device: b.Name(), Threads: threadsOf(b)}
	s, err := newStepper(a.ctx, b, sc, in, c.bfloat16())
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if r.Check, err = s.check(a.ctx); err != nil {
		return r, err
	}
	t, err := measure(a.ctx, c.Time, func() error { r.Steps++; return s.run(a.ctx) })
	if err != nil {
		return r, err
	}
	r.Steps-- // the first warms up
	r.Milliseconds = float64(t) / float64(time.Millisecond)
	r.Weights = sc.weights()
	r.PeakBytes = peakBytes()
	return r, nil
}

// weights tells what the case computes with; see stepBench.
func (sc stepCase) weights() string {
	switch sc.quant {
	case checkpoint.Float32:
		return "float32"
	case quant.Int8:
		return quant.Int8
	}
	return "dequantized"
}

// peakBytes reads the largest resident set of this process from Linux. It is
// not getrusage's, which begins with that of the process that started this one.
func peakBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmHWM:" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

func (c *benchStepCmd) print(a *app, r stepBench) error {
	if c.JSON {
		return json.NewEncoder(a.out).Encode(r)
	}
	_, err := fmt.Fprintf(a.out, "%s on %s, %d threads, %s weights: %.3f ms a step (median of %d), peak memory %.1f MB\ncheck: %.6g\n",
		r.Name, r.Device, r.Threads, r.Weights, r.Milliseconds, r.Steps, float64(r.PeakBytes)/1e6, r.Check[:min(len(r.Check), 16)])
	return err
}
