package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/potstill/potstill/engine/cpu"
)

// devicesCmd is potstill devices.
type devicesCmd struct{ jsonFlag }

// Help is printed below the flags' summary.
func (devicesCmd) Help() string {
	return `Names of devices are what --device takes.

Example:

    potstill devices --json`
}

// devices is the JSON form.
type devices struct {
	Devices []deviceInfo `json:"devices"`
	CUDA    cudaInfo     `json:"cuda"`
}

// A deviceInfo describes a device that can be used.
type deviceInfo struct {
	Name     string   `json:"name"`
	Backend  string   `json:"backend"`         // the backend's name, as in "cpu/avx512"
	Model    string   `json:"model,omitempty"` // what the maker calls it, where the system tells
	Cores    int      `json:"cores"`           // logical processors
	Threads  int      `json:"threads"`         // used if --threads is not given
	Variants []string `json:"variants"`        // instruction sets, the best first; POTSTILL_CPU forces one
}

// cudaInfo says what there is of CUDA.
type cudaInfo struct {
	Available bool   `json:"available"`
	Reason    string `json:"reason"`
}

// Run lists the devices.
func (c *devicesCmd) Run(a *app) error {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	d := devices{
		Devices: []deviceInfo{{
			Name: "cpu", Backend: b.Name(), Model: cpuModel(), Cores: runtime.NumCPU(), Threads: b.Threads(), Variants: cpu.Variants(),
		}},
		CUDA: cudaInfo{Reason: "this version has no CUDA backend"},
	}
	if err := b.Close(); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.out, d)
	}
	p := d.Devices[0]
	rows := [][]string{{p.Name, p.Model}, {"", fmt.Sprintf("%d logical processors, %d threads used", p.Cores, p.Threads)},
		{"", fmt.Sprintf("kernels %s; here are %s (%s forces one)", p.Backend, strings.Join(p.Variants, ", "), cpu.VariantEnv)},
		{"cuda", "not there: " + d.CUDA.Reason}}
	return table(a.out, rows)
}

// cpuModel returns the processor's name where Linux tells it.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
