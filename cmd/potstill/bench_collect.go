package main

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A kernelCase is an operator with its specs.
type kernelCase struct {
	op      engine.Op
	inSpec  []engine.Spec
	outSpec []engine.Spec
}

// A collector is a backend that notes what it compiles.
type collector struct {
	engine.Backend
	net   string
	rows  map[string]*kernelRow
	calls []*kernelRow // the row of each operator in the order of compiling; nil for a pass without rows
	cases []kernelCase // likewise
}

// Fuses implements engine.Fuser as the backend does.
func (c *collector) Fuses(op engine.Op, in, out []engine.Spec) bool {
	f, ok := c.Backend.(engine.Fuser)
	return ok && f.Fuses(op, in, out)
}

// Compile implements engine.Backend.
func (c *collector) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	k, err := c.Backend.Compile(op, in, out)
	if err != nil {
		return nil, err
	}
	c.cases = append(c.cases, kernelCase{op, in, out})
	if c.rows == nil {
		return k, nil
	}
	settings := fmt.Sprintf("%+v", op)
	key := fmt.Sprint(engine.OpName(op), settings, in, out)
	r := c.rows[key]
	if r == nil {
		r = &kernelRow{Op: engine.OpName(op), Settings: settings, In: names(in), Out: names(out), kernelCase: kernelCase{op, in, out}}
		c.rows[key] = r
	}
	c.calls = append(c.calls, r)
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
