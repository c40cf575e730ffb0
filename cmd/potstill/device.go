package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu"
	"github.com/potstill/potstill/engine/gpu"
)

// deviceFlags choose what computes, and how.
type deviceFlags struct {
	Device        device `default:"auto" env:"POTSTILL_DEVICE" placeholder:"auto|cpu|cuda:N" help:"What to compute on; auto: the first CUDA device if there is one, else the CPU."`
	Threads       int    `default:"0" help:"Threads of the CPU; 0: as many as Go uses (GOMAXPROCS). Results do not depend on it."`
	TF32          bool   `name:"tf32" help:"CUDA: let cuDNN and cuBLASLt round the factors of float32 products to TF32, for speed."`
	Deterministic bool   `help:"CUDA: only implementations that give the same bits at every run. The CPU always does."`
	OwnKernels    bool   `help:"CUDA: only kernels of Potstill's own, without cuDNN and cuBLASLt."`
}

// precisionFlag chooses how activations are stored.
type precisionFlag struct {
	Precision string `enum:"float32,bfloat16" default:"float32" help:"How activations and their gradients are stored. Weights, statistics and losses are float32 always."`
}

// inferPrecisionFlag is precisionFlag where nothing is trained.
type inferPrecisionFlag struct {
	Precision string `enum:"float32,bfloat16" default:"float32" help:"How activations are stored. Weights and logits are float32 always."`
}

// bfloat16 reports whether precision is mixed.
func (p precisionFlag) bfloat16() bool { return p.Precision == "bfloat16" }

// dtype returns how activations are stored.
func (p precisionFlag) dtype() engine.DType {
	if p.bfloat16() {
		return engine.BFloat16
	}
	return engine.Float32
}

// device is auto, cpu, cuda or cuda:N.
type device string

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *device) UnmarshalText(text []byte) error {
	s := string(text)
	n, numbered := strings.CutPrefix(s, "cuda:")
	if _, err := strconv.ParseUint(n, 10, 16); s != "auto" && s != "cpu" && s != "cuda" && (!numbered || err != nil) {
		return fmt.Errorf("unknown device %q: give auto, cpu, or cuda:N with a number N", s)
	}
	*d = device(s)
	return nil
}

// cuda returns the number of the CUDA device that is asked for, or that auto
// tries.
func (d device) cuda() (n int, asked bool) {
	if number, ok := strings.CutPrefix(string(d), "cuda:"); ok {
		n, _ = strconv.Atoi(number) // UnmarshalText has seen it
	}
	return n, strings.HasPrefix(string(d), "cuda")
}

// open returns the backend. Its errors wrap engine.ErrNoDevice where there is
// no such device. Where auto finds no CUDA device that can be used, it takes the
// CPU, and sayCPU may tell why.
func (f deviceFlags) open(a *app) (engine.Backend, error) {
	if f.Threads > 0 {
		runtime.GOMAXPROCS(f.Threads)
	}
	n, asked := f.Device.cuda()
	if asked || f.Device == "auto" && a.ranks.process == nil {
		b, err := f.openGPU(a, n)
		switch {
		case err == nil:
			return b, nil
		case asked && errors.Is(err, engine.ErrNoDevice):
			return nil, fmt.Errorf("%w; potstill devices says more, --device cpu computes on the CPU", err)
		case asked:
			return nil, err
		}
		f.sayCPU(a, err)
	}
	return cpu.New(cpu.Options{Threads: f.Threads})
}

// another opens one more backend of the kind of b; of the CPU it has so many
// threads.
func (f deviceFlags) another(a *app, b engine.Backend, threads int) (engine.Backend, error) {
	if _, ok := b.(*gpu.Backend); ok {
		n, _ := f.Device.cuda()
		return f.openGPU(a, n)
	}
	return cpu.New(cpu.Options{Threads: threads})
}

// openGPU opens a CUDA device.
func (f deviceFlags) openGPU(a *app, n int) (*gpu.Backend, error) {
	if a.ranks.process != nil {
		return f.openCard(a)
	}
	return f.newGPU(a, n)
}

// openCard opens this rank's card, and has it exchange with those of the others.
func (f deviceFlags) openCard(a *app) (*gpu.Backend, error) {
	n, err := visibleCards(a)
	if err == nil {
		n, err = a.ranks.card(n)
	}
	if err != nil {
		return nil, err
	}
	b, err := f.newGPU(a, n)
	if err != nil {
		return nil, err
	}
	if err := a.joinCards(b); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// visibleCards returns how many cards the driver shows to this process.
func visibleCards(a *app) (int, error) {
	d, err := cuda.Load(cuda.Options{Logger: a.log})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", engine.ErrNoDevice, err)
	}
	devices, err := d.Devices()
	return len(devices), err
}

func (f deviceFlags) newGPU(a *app, n int) (*gpu.Backend, error) {
	return gpu.New(gpu.Options{Device: n, TF32: f.TF32, Deterministic: f.Deterministic, NoLibraries: f.OwnKernels, Logger: a.log})
}

// sayCPU tells in one line, and once, why the CPU computes, where something says
// that a GPU was expected: a card in the machine, a folder of CUDA's libraries, a
// flag that is for CUDA alone.
func (f deviceFlags) sayCPU(a *app, err error) {
	card := cardPresent("/")
	if !card && os.Getenv("POTSTILL_CUDA_PATH") == "" && !f.TF32 && !f.Deterministic && !f.OwnKernels {
		return
	}
	if a.saidCPU {
		return
	}
	a.saidCPU = true
	why := oneLine(err.Error())
	if _, after, ok := strings.Cut(why, engine.ErrNoDevice.Error()+": "); ok {
		why = strings.TrimPrefix(after, "cuda: ")
	}
	text := "computing on the CPU: " + why
	if card {
		a.log.Warn(text + "; potstill devices says more")
		return
	}
	a.log.Info(text)
}

// cardPresent reports whether the system below root shows signs of an NVIDIA
// card: its driver, or the card itself on the bus.
func cardPresent(root string) bool {
	for _, path := range []string{"proc/driver/nvidia/version", "dev/nvidiactl"} {
		if _, err := os.Stat(filepath.Join(root, path)); err == nil {
			return true
		}
	}
	devices, err := filepath.Glob(filepath.Join(root, "sys/bus/pci/devices/*"))
	if err != nil {
		return false
	}
	for _, d := range devices {
		if begins(filepath.Join(d, "vendor"), "0x10de") && begins(filepath.Join(d, "class"), "0x03") { // NVIDIA's; a display controller
			return true
		}
	}
	return false
}

// begins reports whether a file's text begins so.
func begins(path, prefix string) bool {
	text, err := os.ReadFile(path)
	return err == nil && strings.HasPrefix(string(text), prefix)
}

// with opens the backend for the time of do.
func (f deviceFlags) with(a *app, do func(b engine.Backend) error) (err error) {
	b, err := f.open(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := do(b); err != nil {
		return err
	}
	if g, ok := b.(*gpu.Backend); ok && f.Deterministic {
		sayCost(a, g)
	}
	return nil
}

// sayCost states what --deterministic cost, from the times of what was chosen
// and of what would have been.
func sayCost(a *app, g *gpu.Backend) {
	var total, cost time.Duration
	for _, c := range g.Choices() {
		total, cost = total+c.Time(), cost+c.Cost()
	}
	if total > 0 {
		a.log.Info(fmt.Sprintf("--deterministic: the operators with a choice are %.1f %% slower by it", 100*float64(cost)/float64(total-cost)))
	}
}
