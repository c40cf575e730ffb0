package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/gpu"
	"github.com/potstill/potstill/engine/train"
)

// benchKernelsCmd is potstill bench kernels.
type benchKernelsCmd struct {
	benchFlags
	Filter  string `placeholder:"TEXT" help:"Only operators whose name holds TEXT."`
	Passes  string `enum:"train,infer,all" default:"all" help:"Operators of training steps, of inference, or of both."`
	Against device `placeholder:"cpu|cuda:N" help:"Measure this device too, side by side."`
	Check   bool   `help:"Also run each operator on two images, and say how far it is from the float64 reference."`
}

// Help is printed below the flags' summary.
func (benchKernelsCmd) Help() string {
	return `Compiles the nets' programs, collects every operator that their plans run, fused ones as they are, and times
each on its own. Limits are measured in the same run: a large matrix product and a large copy. Percent is of the
nearer one: the least time that arithmetic and memory would need, over the time taken; where the tensors fit the
caches it can exceed 100. On a CUDA device "won" is the implementation that was chosen for the shape. The error of
--check is the largest difference over the largest result, of two images of the same size.

Example:

    potstill bench kernels --arch cnn-dwpw --size 128 --filter Conv2D
    potstill bench kernels --device cuda:0 --against cpu --check`
}

// A kernelBench is the JSON form.
type kernelBench struct {
	Device  string         `json:"device"`
	Threads int            `json:"threads"`
	Limits  limits         `json:"limits"`
	Against *againstDevice `json:"against,omitempty"`
	Rows    []kernelRow    `json:"rows"`
}

// An againstDevice is the device that --against names.
type againstDevice struct {
	Device  string `json:"device"`
	Threads int    `json:"threads"`
	Limits  limits `json:"limits"`
}

// A kernelRow is one operator on one set of shapes.
type kernelRow struct {
	Op       string   `json:"op"`
	Settings string   `json:"settings"` // of the operator, as Go prints them
	In       []string `json:"in"`
	Out      []string `json:"out"`
	Nets     []string `json:"nets"`  // that run it
	Count    int      `json:"count"` // how often, in all of their programs
	kernelFigures
	Against *kernelFigures `json:"against,omitempty"` // left out where that device does not have the operator

	kernelCase
	small kernelCase // the same on two images
}

// kernelFigures are what is measured of an operator on a device.
type kernelFigures struct {
	Microseconds   float64  `json:"us"`
	GFLOPS         float64  `json:"gflops"` // 0 where arithmetic is not counted
	GBs            float64  `json:"gbs"`    // of memory read and written
	Percent        float64  `json:"percent"`
	Bound          string   `json:"bound"`                    // the limit that Percent is of: matrix or copy
	Implementation string   `json:"implementation,omitempty"` // that won, where there was a choice
	Error          *float64 `json:"error,omitempty"`          // with --check
}

// Run measures.
func (c *benchKernelsCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		possible := *c // beyond it no machine has the memory, and checkMemory says so
		possible.Batch = min(c.Batch, programSpec{height: max(c.Size, 1), width: max(c.Size, 1)}.mostImages())
		rows, err := possible.collect(b)
		if err != nil {
			return err
		}
		if err := c.checkMemory(b, rows); err != nil {
			return err
		}
		if len(rows) == 0 {
			return fmt.Errorf("--filter %s: no operator's name holds that; potstill explain lists them", c.Filter)
		}
		r := kernelBench{Device: b.Name(), Threads: threadsOf(b)}
		r.Limits, err = c.measure(a, b, rows, func(row *kernelRow) *kernelFigures { return &row.kernelFigures })
		if err != nil {
			return err
		}
		if c.Against != "" {
			if r.Against, err = c.against(a, rows); err != nil {
				return err
			}
		}
		for _, row := range rows {
			r.Rows = append(r.Rows, *row)
		}
		return c.print(a, r)
	})
}

// against measures the second device, as far as it has the operators.
func (c *benchKernelsCmd) against(a *app, rows []*kernelRow) (r *againstDevice, err error) {
	f := c.deviceFlags
	f.Device = c.Against
	err = f.with(a, func(b engine.Backend) error {
		r = &againstDevice{Device: b.Name(), Threads: threadsOf(b)}
		r.Limits, err = c.measure(a, b, rows, func(row *kernelRow) *kernelFigures {
			row.Against = &kernelFigures{}
			return row.Against
		})
		return err
	})
	for _, row := range rows {
		if row.Against != nil && row.Against.Microseconds == 0 {
			row.Against = nil
		}
	}
	return r, err
}

// measure fills in the figures of every row on one device. An operator that the
// device does not have keeps none.
func (c *benchKernelsCmd) measure(a *app, b engine.Backend, rows []*kernelRow, of func(*kernelRow) *kernelFigures) (l limits, err error) {
	a.console.begin("measuring the limits of "+b.Name(), 0)
	defer a.console.end()
	if l, err = measureLimits(a, b, c.dtype(), c.Time); err != nil {
		return l, err
	}
	a.console.begin("measuring kernels on "+b.Name(), len(rows))
	for i, row := range rows {
		f := of(row)
		if err := c.time(a, b, row, l, f); err != nil && !errors.Is(err, engine.ErrUnsupported) {
			return l, fmt.Errorf("%s%v on %s: %w", row.Op, row.In, b.Name(), err)
		}
		if c.Check && f.Microseconds > 0 {
			e, err := row.small.distance(b)
			if err != nil {
				return l, fmt.Errorf("checking %s%v on %s: %w", row.Op, row.In, b.Name(), err)
			}
			f.Error = &e
		}
		a.console.advance(i+1, len(rows), row.Op)
	}
	return l, nil
}

// collect returns the operators of all programs, sorted by name.
func (c *benchKernelsCmd) collect(b engine.Backend) ([]*kernelRow, error) {
	all := make(map[string]*kernelRow)
	for _, arch := range c.Arch {
		for _, train := range []bool{true, false} {
			if c.Passes == modeTrain && !train || c.Passes == modeInfer && train {
				continue
			}
			if err := c.collectNet(b, arch, train, all); err != nil {
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

// checkImages is the batch of --check: the reference is in plain Go.
const checkImages = 2

// collectNet adds the operators of one program, and with --check finds each of
// them in the program of the same net for two images.
func (c *benchKernelsCmd) collectNet(b engine.Backend, arch string, train bool, all map[string]*kernelRow) error {
	big := &collector{Backend: b, net: arch, rows: all}
	if err := c.planNet(big, arch, train, c.Batch); err != nil || !c.Check {
		return err
	}
	small := &collector{Backend: b, net: arch}
	if err := c.planNet(small, arch, train, checkImages); err != nil {
		return err
	}
	if len(small.cases) != len(big.calls) {
		return fmt.Errorf("%s has %d operators for %d images and %d for %d: they cannot be paired", arch,
			len(big.calls), c.Batch, len(small.cases), checkImages)
	}
	for i, r := range big.calls {
		r.small = small.cases[i]
	}
	return nil
}

// planNet has the backend compile the kernels of a net's program.
func (c *benchKernelsCmd) planNet(b *collector, arch string, train bool, batch int) error {
	net, err := c.net(arch)
	if err != nil {
		return err
	}
	_, err = programSpec{net: net, batch: batch, height: c.Size, width: c.Size, train: train, bfloat16: c.bfloat16()}.explain(b)
	return err
}

// checkMemory refuses operators that the memory that is left is too small for.
func (c *benchKernelsCmd) checkMemory(b engine.Backend, rows []*kernelRow) error {
	most := func(rows []*kernelRow) (n int) {
		for _, r := range rows {
			n = max(n, 2*bytesOf(r)) // the inputs' values are made before they are sent
		}
		return n
	}
	e := &train.MemoryError{What: "measuring operators", Images: c.Batch, H: c.Size, W: c.Size, Device: b.Name(),
		Needed: most(rows), Free: engine.FreeMemory(b), Err: engine.ErrOutOfMemory}
	if e.Free < 0 || e.Needed <= e.Free {
		return nil
	}
	e.Batch = train.LargestBatch(c.Batch, e.Free-e.Free/64, func(n int) (int, error) {
		less := *c
		less.Batch = n
		rows, err := less.collect(b)
		return most(rows), err
	})
	return e
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
func (c *benchKernelsCmd) time(a *app, b engine.Backend, r *kernelRow, l limits, f *kernelFigures) (err error) {
	k, err := newKernelRun(b, r.op, r.inSpec, r.outSpec)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	if g, ok := b.(*gpu.Backend); ok {
		if err := k.rotate(cacheTimes*g.Device().L2, engine.FreeMemory(b)/2); err != nil {
			return err
		}
	}
	t, err := k.time(a.ctx, c.Time/10)
	if err != nil {
		return err
	}
	bytes, flops := float64(bytesOf(r)), 0.0
	if cost, ok := r.op.(engine.Coster); ok {
		flops = float64(cost.Cost(r.inSpec, r.outSpec))
	}
	f.Microseconds = float64(t) / float64(time.Microsecond)
	f.GFLOPS, f.GBs = flops/t.Seconds()/1e9, bytes/t.Seconds()/1e9
	matrix, memory := f.GFLOPS/l.MatrixGFLOPS, f.GBs/l.CopyGBs
	f.Percent, f.Bound = 100*memory, "copy"
	if matrix > memory {
		f.Percent, f.Bound = 100*matrix, "matrix"
	}
	if g, ok := b.(*gpu.Backend); ok {
		choice, _ := g.ChoiceFor(r.op, r.inSpec, r.outSpec)
		f.Implementation = choice.Winner
	}
	return nil
}

func (c *benchKernelsCmd) print(a *app, r kernelBench) error {
	if c.JSON {
		return printJSON(a.out, r)
	}
	fmt.Fprintln(a.out, limitsLine(r.Device, r.Threads, r.Limits))
	if r.Against != nil {
		fmt.Fprintln(a.out, limitsLine(r.Against.Device, r.Against.Threads, r.Against.Limits))
	}
	fmt.Fprintln(a.out)
	head := []string{"operator", "input", "output", "µs", "GFLOP/s", "GB/s", "%", "of"}
	won := slices.ContainsFunc(r.Rows, func(x kernelRow) bool { return x.Implementation != "" })
	if won {
		head = append(head, "won")
	}
	if c.Check {
		head = append(head, "error")
	}
	if r.Against != nil {
		head = append(head, r.Against.Device+" µs", "%", "times")
	}
	rows := [][]string{head}
	for _, x := range r.Rows {
		rows = append(rows, x.cells(won, c.Check, r.Against != nil))
	}
	return table(a.out, rows)
}

func limitsLine(device string, threads int, l limits) string {
	if !strings.HasPrefix(device, "cuda") {
		device += fmt.Sprintf(", %d threads", threads)
	}
	return fmt.Sprintf("%s; a matrix product reaches %.0f GFLOP/s, a copy %.1f GB/s", device, l.MatrixGFLOPS, l.CopyGBs)
}

// cells are a row of the table.
func (x kernelRow) cells(won, check, against bool) []string {
	in, out := "", ""
	if len(x.In) > 0 {
		in = strings.Join(x.In[:min(2, len(x.In))], " ")
	}
	if len(x.Out) > 0 {
		out = x.Out[0]
	}
	row := []string{x.Op, in, out, fmt.Sprintf("%.1f", x.Microseconds), fmt.Sprintf("%.1f", x.GFLOPS),
		fmt.Sprintf("%.1f", x.GBs), fmt.Sprintf("%.0f", x.Percent), x.Bound}
	if won {
		name, _, _ := strings.Cut(x.Implementation, " ") // JSON has the whole of it
		row = append(row, name)
	}
	if check {
		text := ""
		if x.Error != nil {
			text = fmt.Sprintf("%.0e", *x.Error)
		}
		row = append(row, text)
	}
	switch {
	case !against:
	case x.Against == nil:
		row = append(row, "", "", "")
	default:
		row = append(row, fmt.Sprintf("%.1f", x.Against.Microseconds), fmt.Sprintf("%.0f", x.Against.Percent),
			fmt.Sprintf("%.1f", x.Against.Microseconds/x.Microseconds))
	}
	return row
}
