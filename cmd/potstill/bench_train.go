package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
)

// benchTrainCmd is potstill bench train.
type benchTrainCmd struct {
	benchFlags
	Data  string `placeholder:"PATH" help:"Also measure the input pipeline on these images (a folder, a tar, builtin:fashion), alone and while it feeds the training."`
	Cache string `placeholder:"DIR" env:"POTSTILL_CACHE" help:"Where decoded images are kept; else the user's cache folder."`
}

// Help is printed below the flags' summary.
func (benchTrainCmd) Help() string {
	return `Measures whole programs without the reading of images: for every family a training step (forward, backward,
AdamW) and inference, and for cnn-dwpw a distillation step under resnet18. Figures are medians; on a CUDA device, where
steps overlap and the batch is made on the card from images in bytes, they are means. With --data it also
measures the input pipeline (shuffle, random crop, flip, rotation, from the cache of decoded images), alone ("load") and
while it feeds the training of each net ("fed"); these figures are means, since batches are made ahead.

Example:

    potstill bench train --arch cnn-dwpw --size 128 --batch 32 --json
    potstill bench train --arch cnn-dwpw --data builtin:fashion`
}

// A trainBench is the JSON form.
type trainBench struct {
	Device    string     `json:"device"`
	Threads   int        `json:"threads"`
	Precision string     `json:"precision"`
	Size      int        `json:"size"`
	Batch     int        `json:"batch"`
	Rows      []trainRow `json:"rows"`
}

// A trainRow is one measured program.
type trainRow struct {
	Arch            string  `json:"arch"`
	Mode            string  `json:"mode"` // train, infer, distill, load or fed
	Teacher         string  `json:"teacher,omitempty"`
	Milliseconds    float64 `json:"ms"` // a step
	ImagesPerSecond float64 `json:"images_per_second"`
	GFLOPS          float64 `json:"gflops"` // of convolutions and linear layers, a second
	ArenaBytes      int     `json:"arena_bytes"`
}

// The modes of a trainRow.
const (
	modeTrain   = "train"
	modeInfer   = "infer"
	modeDistill = "distill"
	modeLoad    = "load" // the input pipeline alone
	modeFed     = "fed"  // training that it feeds
)

// The nets of the distillation step.
const (
	studentFamily = "cnn-dwpw"
	teacherFamily = "resnet18"
)

// Run measures.
func (c *benchTrainCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		r := trainBench{Device: b.Name(), Threads: threadsOf(b), Precision: c.Precision, Size: c.Size, Batch: c.Batch}
		for _, arch := range c.Arch {
			modes := []string{modeTrain, modeInfer}
			if arch == studentFamily && slices.Contains(c.Arch, teacherFamily) {
				modes = append(modes, modeDistill)
			}
			for _, mode := range modes {
				a.console.begin("measuring "+arch+" "+mode, 0)
				row, err := c.row(a, b, arch, mode)
				a.console.end()
				if err != nil {
					return err
				}
				r.Rows = append(r.Rows, row)
			}
		}
		if c.Data != "" {
			if err := c.pipeline(a, b, &r); err != nil {
				return err
			}
		}
		return c.print(a, r)
	})
}

// net builds a net of the family, or of a YAML file.
func (c *benchFlags) net(family string) (*layers.Model, error) {
	var n *layers.Net
	var err error
	if family == operatorsNet {
		n, err = newOperatorsNet(c.Classes, cmp.Or(c.Base, 16))
	} else {
		n, err = layers.Open(layers.Arch{Family: family, Classes: c.Classes, Base: c.Base})
	}
	if err != nil {
		return nil, err
	}
	return n.Model()
}

func (c *benchTrainCmd) row(a *app, b engine.Backend, arch, mode string) (r trainRow, err error) {
	r = trainRow{Arch: arch, Mode: mode}
	s := programSpec{batch: c.Batch, height: c.Size, width: c.Size, train: mode != modeInfer, bfloat16: c.bfloat16()}
	if s.net, err = c.net(arch); err != nil {
		return r, err
	}
	if mode == modeDistill {
		r.Teacher = teacherFamily
		if s.teacher, err = c.net(teacherFamily); err != nil {
			return r, err
		}
	}
	_, s.resident = b.(engine.Metered) // as the trainer decides it
	p, err := s.compile(b)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var t time.Duration
	if p.Overlaps() {
		t, err = measureMean(a.ctx, c.Time, func() error { return p.launch(a.ctx) })
		err = errors.Join(err, p.land())
	} else {
		t, err = measure(a.ctx, c.Time, func() error { return p.run(a.ctx) })
	}
	if err != nil {
		return r, err
	}
	r.timed(t, c.Batch, p.Plan())
	return r, nil
}

// timed fills in the figures of a step; plan is nil where nothing computes.
func (r *trainRow) timed(t time.Duration, batch int, plan *engine.Plan) {
	r.Milliseconds = float64(t) / float64(time.Millisecond)
	r.ImagesPerSecond = float64(batch) / t.Seconds()
	if plan != nil {
		r.GFLOPS = float64(plan.FLOPs) / t.Seconds() / 1e9
		r.ArenaBytes = plan.ArenaBytes
	}
}

func (c *benchTrainCmd) print(a *app, r trainBench) error {
	if c.JSON {
		return printJSON(a.out, r)
	}
	fmt.Fprintf(a.out, "%s, %d threads, %s, batch %d at %d px\n\n", r.Device, r.Threads, r.Precision, r.Batch, r.Size)
	rows := [][]string{{"net", "mode", "ms", "images/s", "GFLOP/s", "arena MB"}}
	for _, x := range r.Rows {
		mode := x.Mode
		if x.Teacher != "" {
			mode += " from " + x.Teacher
		}
		rows = append(rows, []string{x.Arch, mode, fmt.Sprintf("%.2f", x.Milliseconds), fmt.Sprintf("%.0f", x.ImagesPerSecond),
			fmt.Sprintf("%.0f", x.GFLOPS), fmt.Sprintf("%.1f", float64(x.ArenaBytes)/1e6)})
	}
	return table(a.out, rows)
}

// threadsOf returns how many threads a backend computes with.
func threadsOf(b engine.Backend) int {
	if t, ok := b.(interface{ Threads() int }); ok {
		return t.Threads()
	}
	return runtime.GOMAXPROCS(0)
}
