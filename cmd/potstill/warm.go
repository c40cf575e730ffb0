package main

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/layers"
)

// warmCmd is potstill warm.
type warmCmd struct {
	Arch            []string `default:"cnn-dwpw,cnn-plain,cnn-group,resnet18" help:"Families of nets, or YAML files of nets."`
	Size            []int    `default:"128" help:"Heights and widths of the images."`
	Batch           []int    `default:"32" help:"Images a step; kernels depend on it little."`
	Classes         int      `default:"11" help:"Classes."`
	Device          device   `default:"cuda:0" placeholder:"cuda:N" help:"The card, if it is in this machine."`
	SM              int      `name:"sm" placeholder:"NN" help:"For a card that is not here: its compute capability, as 90 of an H100."`
	Multiprocessors int      `default:"132" placeholder:"N" help:"With --sm: how many it has."`
	Cache           string   `placeholder:"DIR" help:"Where the kernels are kept; else the user's cache folder."`
	Sources         string   `placeholder:"DIR" help:"Compile nothing; write the kernels' sources there, a file a variant, its macros in the first line."`
	precisionFlag
	jsonFlag
}

// Help is printed below the flags' summary.
func (warmCmd) Help() string {
	return `Compiles the CUDA kernels that training, distillation and inference of the nets need, as many at a time as there are
processors, so that a first run does not wait for them. With --sm no card and no driver is needed, only NVRTC: the
folder can be carried to a machine with the card and the same version of NVRTC, as the folder potstill of the user's cache there.

Example:

    potstill warm --arch cnn-dwpw,resnet18 --size 128 --batch 256 --precision bfloat16
    potstill warm --sm 90 --cache out/kernels`
}

// A warmResult is the JSON form.
type warmResult struct {
	SM       int `json:"sm"`
	Compiled int `json:"compiled"`
	Kept     int `json:"kept"` // that were there already
}

// Run compiles.
func (c *warmCmd) Run(a *app) error {
	if len(c.Size) == 0 || len(c.Batch) == 0 || slices.Min(c.Size) < 1 {
		return errors.New("--size and --batch: give one of each at least, of one pixel or more")
	}
	for _, n := range c.Batch {
		if err := checkBatch(n); err != nil {
			return err
		}
	}
	d := cuda.Device{Name: "a card that is not here", Major: c.SM / 10, Minor: c.SM % 10, Multiprocessors: c.Multiprocessors}
	if c.SM == 0 {
		var err error
		if d, err = c.card(a); err != nil {
			return err
		}
	}
	if c.Sources != "" {
		return c.write(a, d)
	}
	a.console.begin("compiling kernels", 0)
	compiled, kept, err := gpu.Warm(a.ctx, gpu.Options{CacheDir: c.Cache, Logger: a.log}, d, c.plan)
	a.console.end()
	if err != nil {
		return err
	}
	r := warmResult{SM: d.Major*10 + d.Minor, Compiled: compiled, Kept: kept}
	if c.JSON {
		return printJSON(a.out, r)
	}
	_, err = fmt.Fprintf(a.out, "%d kernels compiled for sm_%d, %d were there already\n", r.Compiled, r.SM, r.Kept)
	return err
}

// write writes the sources.
func (c *warmCmd) write(a *app, d cuda.Device) error {
	sources, err := gpu.Sources(gpu.Options{Logger: a.log}, d, c.plan)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Sources, 0o755); err != nil {
		return err
	}
	for _, s := range sources {
		macros := strings.Join(s.Options, " ")
		h := fnv.New64a()
		h.Write([]byte(macros))
		name := filepath.Join(c.Sources, fmt.Sprintf("%s-%016x.cu", s.Name, h.Sum64()))
		if err := os.WriteFile(name, []byte("// "+macros+"\n"+s.Text), 0o644); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, "%d sources in %s\n", len(sources), c.Sources)
	return err
}

// card describes the device that --device names.
func (c *warmCmd) card(a *app) (cuda.Device, error) {
	n, asked := c.Device.cuda()
	if !asked {
		return cuda.Device{}, fmt.Errorf("--device %s has no CUDA kernels: give cuda:N, or --sm", c.Device)
	}
	driver, err := cuda.Load(cuda.Options{Logger: a.log})
	if err != nil {
		return cuda.Device{}, fmt.Errorf("%w; --sm NN compiles for a card that is not here", err)
	}
	all, err := driver.Devices()
	if err != nil {
		return cuda.Device{}, err
	}
	if n >= len(all) {
		return cuda.Device{}, fmt.Errorf("--device %s: there are %d", c.Device, len(all))
	}
	return all[n], nil
}

// plan has the backend compile all programs of the nets, and distillation.
func (c *warmCmd) plan(b engine.Backend) error {
	f := benchFlags{Classes: c.Classes}
	var teacher *layers.Model
	if m, err := f.net(teacherFamily); err != nil {
		return err
	} else if slices.Contains(c.Arch, teacherFamily) {
		teacher = m
	}
	for _, arch := range c.Arch {
		m, err := f.net(arch)
		if err != nil {
			return err
		}
		for _, size := range c.Size {
			for _, batch := range c.Batch {
				s := programSpec{net: m, batch: batch, height: size, width: size, bfloat16: c.bfloat16()}
				if err := explainAll(b, s, teacher); err != nil {
					return fmt.Errorf("%s at %d pixels: %w", arch, size, err)
				}
			}
		}
	}
	return nil
}

// explainAll plans inference, a training step, the same with images on the
// device, and distillation where there is a teacher.
func explainAll(b engine.Backend, s programSpec, teacher *layers.Model) error {
	specs := []programSpec{s}
	s.train = true
	specs = append(specs, s)
	s.resident = true
	specs = append(specs, s)
	if s.teacher = teacher; teacher != nil && teacher != s.net {
		specs = append(specs, s)
	}
	for _, s := range specs {
		if _, err := s.explain(b); err != nil {
			return err
		}
	}
	return nil
}
