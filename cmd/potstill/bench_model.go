package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
)

// benchModelCmd is potstill bench model.
type benchModelCmd struct {
	Model string `arg:"" help:"The model's file."`
	foreignFlags
	Size   *pixels       `placeholder:"N|HxW" help:"Height and width of the images, if not the model's own."`
	Batch  int           `default:"1" help:"Images at a time."`
	WarmUp int           `default:"10" help:"Runs before the first that counts."`
	Runs   int           `default:"100" help:"Runs that count, at least."`
	Time   time.Duration `default:"1s" help:"How long they take together, at least."`
	Under  []string      `placeholder:"BUDGET" help:"Check the file against a budget, as 98496B, 0.5ms@1, 2M params, 20M macs or 96KB ram, several separated by commas: what is not met is an error."`
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (benchModelCmd) Help() string {
	return `Measures how long the model takes for a batch of images that are prepared and in memory, until their logits are,
one run after the other. The percentiles are those of single runs; p50 is the median, which --under holds to a limit of
time, for the batch that it names. Beside it stands the sum over the program's steps, each timed on its own, by which
potstill plans under a budget. What other programs do on the machine shows in them.

Example:

    potstill bench model out/small.safetensors
    potstill bench model out/small.safetensors --under 98496B,0.5ms@1
    potstill bench model out/small.safetensors --batch 32 --size 96x128 --threads 1 --json`
}

// pixels are a height and a width.
type pixels struct{ h, w int }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *pixels) UnmarshalText(text []byte) error {
	h, w, two := strings.Cut(string(text), "x")
	if !two {
		w = h
	}
	for _, n := range []struct {
		text string
		to   *int
	}{{h, &p.h}, {w, &p.w}} {
		v, err := strconv.Atoi(n.text)
		if err != nil || v < 1 || v > 1<<13 {
			return fmt.Errorf("%q is no size: give the pixels a side, as in 128, or height and width, as in 96x128", text)
		}
		*n.to = v
	}
	return nil
}

// String returns the size as it is given.
func (p pixels) String() string {
	if p.h == p.w {
		return strconv.Itoa(p.h)
	}
	return fmt.Sprintf("%dx%d", p.h, p.w)
}

// A modelBench is the JSON form. Times are in milliseconds.
type modelBench struct {
	Model   string `json:"model"`
	Device  string `json:"device"`
	Threads int    `json:"threads"`
	eval.Latency
	P50             float64 `json:"p50_ms"`
	P90             float64 `json:"p90_ms"`
	P99             float64 `json:"p99_ms"`
	Min             float64 `json:"min_ms"`
	Mean            float64 `json:"mean_ms"`
	ImagesPerSecond float64 `json:"images_per_second"` // by the mean
	MultAdds        int64   `json:"mult_adds"`         // of one image
	MemoryBytes     int64   `json:"memory_bytes"`      // that the planner gives the batch
	// With --under.
	Under *modelBudget `json:"under,omitempty"`
}

// Run measures.
func (c *benchModelCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	if c.Runs < 1 || c.WarmUp < 1 {
		return fmt.Errorf("--runs %d, --warm-up %d: give at least 1", c.Runs, c.WarmUp)
	}
	m, err := loadModel(a, c.Model, c.foreignFlags, imageSize{})
	if err != nil {
		return err
	}
	limits, err := budget.Parse(c.Under...)
	if err != nil {
		return err
	}
	if limits.MS > 0 {
		c.Batch = limits.Batch
	}
	o := eval.LatencyOptions{Batch: c.Batch, Warm: c.WarmUp, Runs: c.Runs, Time: c.Time}
	in := m.Net.Input
	switch {
	case c.Size != nil:
		o.Height, o.Width = c.Size.h, c.Size.w
	case m.Preprocess.Size == 0 && in.Height == 0:
		return fmt.Errorf("%s does not say how large its images are; give --size", c.Model)
	case in.Height > 0:
		o.Height, o.Width = in.Height, in.Width
	default:
		o.Height, o.Width = m.Preprocess.Transform().OutSize(0, 0)
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		net, err := m.Net.Model()
		if err != nil {
			return err
		}
		s, err := net.Summary(o.Height, o.Width)
		if err != nil {
			return err
		}
		memory, err := eval.PlannedMemory(b, net, o.Batch, o.Height, o.Width)
		if err != nil {
			return err
		}
		l, err := eval.MeasureLatency(a.ctx, b, m, o)
		if err != nil {
			return err
		}
		r := modelBench{Model: c.Model, Device: b.Name(), Threads: threadsOf(b), Latency: *l, MultAdds: s.MultAdds, MemoryBytes: memory}
		sum := 0.0
		for _, t := range l.Seconds {
			sum += t
		}
		mean := sum / float64(l.Runs)
		r.P50, r.P90, r.P99 = 1000*l.Percentile(0.5), 1000*l.Percentile(0.9), 1000*l.Percentile(0.99)
		r.Min, r.Mean, r.ImagesPerSecond = 1000*l.Percentile(0), 1000*mean, float64(o.Batch)/mean
		if limits.Any() {
			if r.Under, err = checkBudget(a.ctx, b, m, limits, o, r.P50); err != nil {
				return err
			}
		}
		if err := r.print(a, c.JSON); err != nil || r.Under == nil || r.Under.Met {
			return err
		}
		return fmt.Errorf("%s: it is not under %s", c.Model, limits)
	})
}

func (r modelBench) print(a *app, asJSON bool) error {
	if asJSON {
		return printJSON(a.out, r)
	}
	ms := func(v float64) string { return fmt.Sprintf("%.4g ms", v) }
	rows := [][]string{
		{"device", fmt.Sprintf("%s, %d threads", r.Device, r.Threads)},
		{"batch", fmt.Sprintf("%d of %s pixels", r.Batch, pixels{r.Height, r.Width})},
		{"runs", fmt.Sprintf("%s after %d to warm up", thousands(r.Runs), r.Warm)},
		{"p50", ms(r.P50)}, {"p90", ms(r.P90)}, {"p99", ms(r.P99)}, {"fastest", ms(r.Min)}, {"mean", ms(r.Mean)},
		{"images/s", fmt.Sprintf("%.0f", r.ImagesPerSecond)},
		{"multiply-adds", thousands(r.MultAdds)},
		{"memory", fmt.Sprintf("%s bytes (planned)", thousands(r.MemoryBytes))},
	}
	if r.Under != nil {
		rows = append(rows, r.Under.rows()...)
	}
	return table(a.out, rows)
}
