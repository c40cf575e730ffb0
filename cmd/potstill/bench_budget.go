package main

import (
	"context"
	"fmt"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A modelBudget says what of a budget a model's file meets.
type modelBudget struct {
	budget.Limits
	Cost budget.Cost `json:"cost"` // its time is the median
	// StepsMS is the time as the sum over the program's steps, and Error how far that
	// is from the median, as a share of it; both only with a limit of time.
	StepsMS float64 `json:"steps_ms,omitempty"`
	Error   float64 `json:"steps_error,omitempty"`
	Met     bool    `json:"met"`
}

// checkBudget holds a model's file, and its median milliseconds, to limits.
func checkBudget(ctx context.Context, b engine.Backend, c *checkpoint.Checkpoint, l budget.Limits, o eval.LatencyOptions, ms float64) (*modelBudget, error) {
	m := budget.Meter{Backend: b, Limits: l, Height: o.Height, Width: o.Width}
	cost, err := m.Cost(ctx, c)
	if err != nil {
		return nil, err
	}
	u := &modelBudget{Limits: l, Cost: cost}
	if c.Bytes > 0 {
		u.Cost.Bytes = c.Bytes // as it lies there
	}
	if l.MS > 0 {
		u.StepsMS, u.Error, u.Cost.MS = cost.MS, cost.MS/ms-1, ms
	}
	u.Met = l.Met(u.Cost)
	return u, nil
}

// rows tell a person.
func (u *modelBudget) rows() (rows [][]string) {
	add := func(name string, limit, got float64, text string) {
		if limit == 0 {
			return
		}
		verdict := "met"
		if got > limit {
			verdict = "not met"
		}
		rows = append(rows, []string{"under " + name, verdict + ": " + text})
	}
	of := func(limit int64, unit string, got int64) {
		add(fmt.Sprintf("%s %s", thousands(limit), unit), float64(limit), float64(got), thousands(got))
	}
	of(u.Limits.Bytes, "bytes", u.Cost.Bytes)
	of(u.Limits.Params, "parameters", u.Cost.Params)
	of(u.Limits.MACs, "multiply-adds", u.Cost.MACs)
	of(u.Limits.RAM, "bytes of memory", u.Cost.RAM)
	add(fmt.Sprintf("%g ms for %d", u.Limits.MS, u.Limits.Batch), u.Limits.MS, u.Cost.MS,
		fmt.Sprintf("%.4g ms at the median; the sum of its steps is %.4g ms (%+.1f %%)", u.Cost.MS, u.StepsMS, 100*u.Error))
	return rows
}
