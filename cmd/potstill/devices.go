package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine/cpu"
)

// devicesCmd is potstill devices.
type devicesCmd struct{ jsonFlag }

// Help is printed below the flags' summary.
func (devicesCmd) Help() string {
	return `Names of devices are what --device takes. Of CUDA's libraries it says which were found and where, and for a
missing one what to install. POTSTILL_CUDA_PATH names folders to look in before all others.

Example:

    potstill devices --json`
}

// devices is the JSON form.
type devices struct {
	Devices []any    `json:"devices"` // of cpuInfo and cudaDevice
	CUDA    cudaInfo `json:"cuda"`
}

// A cpuInfo describes the processor.
type cpuInfo struct {
	Name     string   `json:"name"`            // "cpu"
	Backend  string   `json:"backend"`         // the backend's name, as in "cpu/avx512"
	Model    string   `json:"model,omitempty"` // what the maker calls it, where the system tells
	Cores    int      `json:"cores"`           // logical processors
	Threads  int      `json:"threads"`         // used if --threads is not given
	Variants []string `json:"variants"`        // instruction sets, the best first; POTSTILL_CPU forces one
}

// A cudaDevice describes a CUDA device.
type cudaDevice struct {
	Name              string `json:"name"` // "cuda:0"
	Model             string `json:"model"`
	UUID              string `json:"uuid"`
	MemoryBytes       int    `json:"memory_bytes"`
	ComputeCapability string `json:"compute_capability"`
	Multiprocessors   int    `json:"multiprocessors"`
	L2Bytes           int    `json:"l2_bytes"`
	Driver            string `json:"driver"` // the newest CUDA that it supports, as in "13.0"
}

// cudaInfo says what there is of CUDA.
type cudaInfo struct {
	Available bool          `json:"available"` // a device, and what is needed to use it
	Reason    string        `json:"reason"`    // why not
	Libraries []cudaLibrary `json:"libraries"`
}

// A cudaLibrary is one of CUDA's libraries.
type cudaLibrary struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Version string `json:"version"`
	Error   string `json:"error"` // why it cannot be used
	Fix     string `json:"fix"`   // what to do about it
}

// Run lists the devices.
func (c *devicesCmd) Run(a *app) error {
	p, err := describeCPU()
	if err != nil {
		return err
	}
	d := devices{Devices: []any{p}}
	cards, info := describeCUDA(a)
	for _, card := range cards {
		d.Devices = append(d.Devices, card)
	}
	d.CUDA = info
	if c.JSON {
		return printJSON(a.out, d)
	}
	return table(a.out, deviceRows(p, cards, info))
}

func describeCPU() (cpuInfo, error) {
	b, err := cpu.New(cpu.Options{})
	if err != nil {
		return cpuInfo{}, err
	}
	p := cpuInfo{Name: "cpu", Backend: b.Name(), Model: cpu.Processor(), Cores: runtime.NumCPU(), Threads: b.Threads(), Variants: cpu.Variants()}
	return p, b.Close()
}

// describeCUDA asks the driver. What is missing is no failure here: it is what
// the user wants to know.
func describeCUDA(a *app) (cards []cudaDevice, info cudaInfo) {
	o := cuda.Options{Logger: a.log}
	var libraries []cuda.Library
	var found []cuda.Device
	d, err := cuda.Load(o)
	if err == nil {
		libraries = d.Libraries()
		found, err = d.Devices()
	} else {
		libraries = cuda.Libraries(o)
	}
	needed := ""
	for _, l := range libraries {
		info.Libraries = append(info.Libraries, cudaLibrary{Name: l.Name, Path: l.Path, Version: l.Version, Error: errorText(l.Err), Fix: l.Fix})
		if l.Err != nil && (l.Name == "libcuda" || l.Name == "libnvrtc") {
			needed = cmp.Or(needed, fmt.Sprintf("%s: %s", l.Name, oneLine(l.Err.Error())))
		}
	}
	for _, f := range found {
		cards = append(cards, cudaDevice{Name: fmt.Sprintf("cuda:%d", f.Index), Model: f.Name, UUID: f.UUID, MemoryBytes: f.Memory,
			ComputeCapability: fmt.Sprintf("%d.%d", f.Major, f.Minor), Multiprocessors: f.Multiprocessors, L2Bytes: f.L2,
			Driver: fmt.Sprintf("%d.%d", f.Driver/1000, f.Driver%1000/10)})
	}
	switch {
	case err != nil:
		info.Reason = oneLine(err.Error())
	case len(cards) == 0:
		info.Reason = "the driver sees no device"
	default:
		info.Reason = needed
	}
	info.Available = info.Reason == ""
	return cards, info
}

func errorText(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, cuda.ErrNotFound):
		return "not found"
	}
	return oneLine(err.Error())
}

// deviceRows is the table: a device a paragraph, then CUDA's libraries.
func deviceRows(p cpuInfo, cards []cudaDevice, info cudaInfo) [][]string {
	rows := [][]string{{p.Name, p.Model}, {"", fmt.Sprintf("%d logical processors, %d threads used", p.Cores, p.Threads)},
		{"", fmt.Sprintf("kernels %s; here are %s (%s forces one)", p.Backend, strings.Join(p.Variants, ", "), cpu.VariantEnv)}}
	for _, d := range cards {
		rows = append(rows, []string{d.Name, d.Model},
			[]string{"", fmt.Sprintf("%.1f GB, compute capability %s, %d multiprocessors", float64(d.MemoryBytes)/1e9, d.ComputeCapability, d.Multiprocessors)},
			[]string{"", fmt.Sprintf("the driver supports CUDA %s; %s", d.Driver, d.UUID)})
	}
	switch {
	case info.Available:
	case len(cards) > 0:
		rows = append(rows, []string{"cuda", "cannot be used: " + info.Reason})
	default:
		rows = append(rows, []string{"cuda", "not there: " + info.Reason})
	}
	for _, l := range info.Libraries {
		if l.Error == "" {
			rows = append(rows, []string{"", strings.TrimSpace(fmt.Sprintf("%s %s  %s", l.Name, l.Version, l.Path))})
			continue
		}
		rows = append(rows, []string{"", fmt.Sprintf("%s: %s; %s", l.Name, l.Error, l.Fix)})
	}
	return rows
}
