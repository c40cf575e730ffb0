package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/engine"
)

// benchKernelsCmd is potstill bench kernels.
type benchKernelsCmd struct {
	benchFlags
	Filter string `placeholder:"TEXT" help:"Only operators whose name holds TEXT."`
	Passes string `enum:"train,infer,all" default:"all" help:"Operators of training steps, of inference, or of both."`
}

// Help is printed below the flags' summary.
func (benchKernelsCmd) Help() string {
	return `Compiles the nets' programs, collects every operator that their plans run, fused ones as they are, and times
each on its own. Limits are measured in the same run: a large matrix product and a large copy. Percent is of the
nearer one: the least time that arithmetic and memory would need, over the time taken; where the tensors fit the
caches it can exceed 100.

Example:

    potstill bench kernels --arch cnn-dwpw --size 128 --filter Conv2D`
}

// A kernelBench is the JSON form.
type kernelBench struct {
	Device  string      `json:"device"`
	Threads int         `json:"threads"`
	Limits  limits      `json:"limits"`
	Rows    []kernelRow `json:"rows"`
}

// A kernelRow is one operator on one set of shapes.
type kernelRow struct {
	Op           string   `json:"op"`
	Settings     string   `json:"settings"` // of the operator, as Go prints them
	In           []string `json:"in"`
	Out          []string `json:"out"`
	Nets         []string `json:"nets"`  // that run it
	Count        int      `json:"count"` // how often, in all of their programs
	Microseconds float64  `json:"us"`
	GFLOPS       float64  `json:"gflops"` // 0 where arithmetic is not counted
	GBs          float64  `json:"gbs"`    // of memory read and written
	Percent      float64  `json:"percent"`
	Bound        string   `json:"bound"` // the limit that Percent is of: matrix or copy

	op      engine.Op
	inSpec  []engine.Spec
	outSpec []engine.Spec
}

// A collector is a backend that notes what it compiles.
type collector struct {
	engine.Backend
	net  string
	rows map[string]*kernelRow
}

// Fuses implements engine.Fuser as the backend does.
func (c *collector) Fuses(op engine.Op) bool {
	f, ok := c.Backend.(engine.Fuser)
	return ok && f.Fuses(op)
}

// Compile implements engine.Backend.
func (c *collector) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	k, err := c.Backend.Compile(op, in, out)
	if err != nil {
		return nil, err
	}
	settings := fmt.Sprintf("%+v", op)
	key := fmt.Sprint(engine.OpName(op), settings, in, out)
	r := c.rows[key]
	if r == nil {
		r = &kernelRow{Op: engine.OpName(op), Settings: settings, In: names(in), Out: names(out), op: op, inSpec: in, outSpec: out}
		c.rows[key] = r
	}
	r.Count++
	if !slices.Contains(r.Nets, c.net) {
		r.Nets = append(r.Nets, c.net)
	}
	return k, nil
}

func names(specs []engine.Spec) []string {
	out := make([]string, len(specs))
	for i, s := range specs {
		out[i] = s.String()
	}
	return out
}

// Run measures.
func (c *benchKernelsCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	return c.deviceFlags.with(func(b engine.Backend) error {
		rows, err := c.collect(b)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("--filter %s: no operator's name holds that; potstill explain lists them", c.Filter)
		}
		r := kernelBench{Device: b.Name(), Threads: threadsOf(b)}
		a.console.begin("measuring the limits", 0)
		if r.Limits, err = measureLimits(a, b, c.Time); err != nil {
			return err
		}
		a.console.begin("measuring kernels", len(rows))
		for i, row := range rows {
			if err := c.time(a, b, row, r.Limits); err != nil {
				return fmt.Errorf("%s%v: %w", row.Op, row.In, err)
			}
			a.console.advance(i+1, len(rows), row.Op)
			r.Rows = append(r.Rows, *row)
		}
		a.console.end()
		return c.print(a, r)
	})
}

// collect returns the operators of all programs, sorted by name.
func (c *benchKernelsCmd) collect(b engine.Backend) ([]*kernelRow, error) {
	all := make(map[string]*kernelRow)
	for _, arch := range c.Arch {
		for _, train := range []bool{true, false} {
			if c.Passes == modeTrain && !train || c.Passes == modeInfer && train {
				continue
			}
			net, err := c.net(arch)
			if err != nil {
				return nil, err
			}
			s := programSpec{net: net, batch: c.Batch, height: c.Size, width: c.Size, train: train}
			p, err := s.compile(&collector{Backend: b, net: arch, rows: all})
			if err != nil {
				return nil, err
			}
			if err := p.Close(); err != nil {
				return nil, err
			}
		}
	}
	var rows []*kernelRow
	for _, r := range all {
		if strings.Contains(strings.ToLower(r.Op), strings.ToLower(c.Filter)) {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(x, y *kernelRow) int {
		return cmp.Or(cmp.Compare(x.Op, y.Op), cmp.Compare(bytesOf(y), bytesOf(x)),
			cmp.Compare(strings.Join(x.In, " "), strings.Join(y.In, " ")), cmp.Compare(x.Settings, y.Settings))
	})
	return rows, nil
}

// bytesOf returns what an operator reads and writes.
func bytesOf(r *kernelRow) int {
	n := 0
	for _, specs := range [2][]engine.Spec{r.inSpec, r.outSpec} {
		for _, s := range specs {
			n += s.Bytes()
		}
	}
	return n
}

// time fills in a row's figures.
func (c *benchKernelsCmd) time(a *app, b engine.Backend, r *kernelRow, l limits) (err error) {
	k, err := newKernelRun(b, r.op, r.inSpec, r.outSpec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	t, err := measure(a.ctx, c.Time/10, k.run)
	if err != nil {
		return err
	}
	bytes, flops := float64(bytesOf(r)), 0.0
	if cost, ok := r.op.(engine.Coster); ok {
		flops = float64(cost.Cost(r.inSpec, r.outSpec))
	}
	r.Microseconds = float64(t) / float64(time.Microsecond)
	r.GFLOPS, r.GBs = flops/t.Seconds()/1e9, bytes/t.Seconds()/1e9
	matrix, memory := r.GFLOPS/l.MatrixGFLOPS, r.GBs/l.CopyGBs
	r.Percent, r.Bound = 100*memory, "copy"
	if matrix > memory {
		r.Percent, r.Bound = 100*matrix, "matrix"
	}
	return nil
}

func (c *benchKernelsCmd) print(a *app, r kernelBench) error {
	if c.JSON {
		return printJSON(a.out, r)
	}
	fmt.Fprintf(a.out, "%s, %d threads; a matrix product reaches %.0f GFLOP/s, a copy %.1f GB/s\n\n",
		r.Device, r.Threads, r.Limits.MatrixGFLOPS, r.Limits.CopyGBs)
	rows := [][]string{{"operator", "input", "output", "µs", "GFLOP/s", "GB/s", "%", "of"}}
	for _, x := range r.Rows {
		in, out := "", ""
		if len(x.In) > 0 {
			in = strings.Join(x.In[:min(2, len(x.In))], " ")
		}
		if len(x.Out) > 0 {
			out = x.Out[0]
		}
		rows = append(rows, []string{x.Op, in, out, fmt.Sprintf("%.1f", x.Microseconds), fmt.Sprintf("%.1f", x.GFLOPS),
			fmt.Sprintf("%.1f", x.GBs), fmt.Sprintf("%.0f", x.Percent), x.Bound})
	}
	return table(a.out, rows)
}
