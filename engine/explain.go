package engine

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// A Plan describes a program: what `potstill explain` prints.
type Plan struct {
	Backend    string     `json:"backend"`
	Steps      []PlanStep `json:"steps"`
	Prepared   []PlanStep `json:"prepared"`      // run only when weights change
	ArenaBytes int        `json:"arena_bytes"`   // what is allocated for tensors and scratch
	NaiveBytes int        `json:"naive_bytes"`   // what it would be without sharing
	PeakBytes  int        `json:"peak_bytes"`    // the largest sum of bytes alive at one step: a lower bound for the arena
	KeptBytes  int        `json:"kept_bytes"`    // of the arena: what weights become ahead of all runs, folded or packed
	StateBytes int        `json:"state_bytes"`   // variables
	FLOPs      int64      `json:"flops"`         // of the convolutions and linear layers, a multiply-add being two
	Traffic    int64      `json:"traffic_bytes"` // what the steps read and write
}

// A PlanStep is one operator of a Plan.
type PlanStep struct {
	Op        string   `json:"op"`
	Scope     string   `json:"scope"` // the layer it belongs to
	In        []string `json:"in"`
	Out       []string `json:"out"`
	Fused     []string `json:"fused,omitempty"`
	FLOPs     int64    `json:"flops"`
	Bytes     int64    `json:"bytes"`     // read and written
	Workspace int      `json:"workspace"` // bytes of scratch
	// Key names the op with its settings and its specs: steps with the same key do the
	// same work. The values that codes stand for are left out (see Codes).
	Key string `json:"-"`
}

func describe(p *plan, l *layout, a aliases) *Plan {
	d := &Plan{Backend: p.backend.Name(), ArenaBytes: l.size}
	alive := make([]int, len(p.steps)+2)
	for _, b := range l.blocks {
		d.NaiveBytes += alignUp(b.bytes)
		for i := b.first; i <= b.last; i++ {
			alive[i+1] += b.bytes
		}
	}
	for _, n := range alive {
		d.PeakBytes = max(d.PeakBytes, n)
	}
	d.KeptBytes = p.keptBytes(l)
	seen := make(map[*Variable]bool)
	for _, s := range p.all() {
		for _, v := range s.in {
			if r := a.root(v).variable; r != nil && !seen[r] {
				seen[r] = true
				d.StateBytes += r.Bytes()
			}
		}
	}
	for _, s := range p.prepare {
		d.Prepared = append(d.Prepared, describeStep(s))
	}
	for _, s := range p.steps {
		ps := describeStep(s)
		d.Steps = append(d.Steps, ps)
		d.FLOPs += ps.FLOPs
		d.Traffic += ps.Bytes
	}
	return d
}

// keptBytes sums up what hoisted steps and kernels' preparations leave in the arena.
func (p *plan) keptBytes(l *layout) (n int) {
	for _, s := range p.prepare {
		for _, o := range s.out {
			if b := l.values[o]; b != nil {
				n += alignUp(b.bytes)
			}
		}
	}
	for _, s := range p.steps {
		if s.kept != nil {
			n += alignUp(s.kept.bytes)
		}
	}
	return n
}

func describeStep(s *step) PlanStep {
	ps := PlanStep{Op: OpName(s.op), Scope: s.scope, Fused: s.fused, Workspace: s.kernel.Workspace()}
	ps.Key = stepKey(s.op, specsOf(s.in), specsOf(s.out))
	for _, v := range s.in {
		ps.In = append(ps.In, v.Spec.String())
		ps.Bytes += int64(v.Bytes())
	}
	for _, v := range s.out {
		ps.Out = append(ps.Out, v.Spec.String())
		ps.Bytes += int64(v.Bytes())
	}
	if c, ok := s.op.(Coster); ok {
		ps.FLOPs = c.Cost(specsOf(s.in), specsOf(s.out))
	}
	return ps
}

// WriteTo prints the plan as a table, a line a step, and its totals.
func (d *Plan) WriteTo(w io.Writer) (int64, error) {
	cw := &countWriter{w: w}
	tw := tabwriter.NewWriter(cw, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "step\toperator\tlayer\toutput\tMFLOP\tMB moved\tfused from")
	line := func(label string, s PlanStep) {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%.2f\t%.2f\t%s\n", label, s.Op, s.Scope, strings.Join(s.Out[:min(1, len(s.Out))], " "),
			float64(s.FLOPs)/1e6, float64(s.Bytes)/1e6, strings.Join(s.Fused, " + "))
	}
	for _, s := range d.Prepared {
		line("once", s)
	}
	for i, s := range d.Steps {
		line(fmt.Sprint(i), s)
	}
	tw.Flush()
	fmt.Fprintf(cw, "\n%d steps on %s: %.1f MFLOP, %.1f MB moved; arena %.2f MB (at least %.2f needed, %.2f without sharing), variables %.2f MB\n",
		len(d.Steps), d.Backend, float64(d.FLOPs)/1e6, float64(d.Traffic)/1e6,
		float64(d.ArenaBytes)/1e6, float64(d.PeakBytes)/1e6, float64(d.NaiveBytes)/1e6, float64(d.StateBytes)/1e6)
	return cw.n, cw.err
}

// A countWriter counts what goes through it and keeps the first error.
type countWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.err = err
	return n, err
}
