package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A Meter finds out what networks cost.
type Meter struct {
	Backend engine.Backend
	// Limits say what is measured beside bytes, parameters and multiply-adds.
	Limits
	// Height and Width are those of the images; 0 means what a network's input or
	// its preprocessing says.
	Height, Width int
	// Times are the times of steps, nil for a table that is kept nowhere. What they
	// lack is measured and added, and Save is left to the caller.
	Times *Table
	Log   *slog.Logger // nil for none
}

// Cost returns the cost of a checkpoint as it will be written, whose weights and
// ranges need not be the last ones. Memory and time are those of the program that
// evaluation runs: in integers where the net has quantizers of activations. The time
// is the sum over the steps of that program by the table.
func (m *Meter) Cost(ctx context.Context, c *checkpoint.Checkpoint) (Cost, error) {
	var cost Cost
	model, err := c.Net.Model()
	if err != nil {
		return cost, err
	}
	h, w, err := m.size(c)
	if err != nil {
		return cost, err
	}
	s, err := model.Summary(h, w)
	if err != nil {
		return cost, err
	}
	cost.Params, cost.MACs = int64(model.Params()), s.MACs
	if cost.Bytes, err = checkpoint.Size(c); err != nil {
		return cost, err
	}
	if m.RAM > 0 {
		if cost.RAM, err = m.memory(c, h, w); err != nil {
			return cost, err
		}
	}
	if m.MS > 0 {
		cost.MS, err = m.time(ctx, c, h, w)
	}
	return cost, err
}

// size returns the height and width of a net's images.
func (m *Meter) size(c *checkpoint.Checkpoint) (h, w int, err error) {
	switch in := c.Net.Input; {
	case in.Height > 0:
		return in.Height, in.Width, nil
	case m.Height > 0:
		return m.Height, m.Width, nil
	case c.Preprocess.Size > 0:
		h, w = c.Preprocess.Transform().OutSize(0, 0)
		return h, w, nil
	}
	return 0, 0, fmt.Errorf("%s does not say how large its images are; set the size", c.Net)
}

// forward writes a model's evaluation down.
func forward(m *layers.Model, n, h, w int) (g *engine.Graph, x, logits *engine.Value, err error) {
	b := engine.NewBuilder(engine.NewGraph())
	x = b.Input("images", engine.F32(n, h, w, m.Net().Input.Channels))
	logits = m.Forward(b, x, false)
	return b.Graph(), x, logits, b.Err()
}

// memory returns Cost.RAM.
func (m *Meter) memory(c *checkpoint.Checkpoint, h, w int) (int64, error) {
	if m.Backend == nil {
		return 0, errors.New("a limit of memory is that of a plan, and there is no device to plan for")
	}
	n, _, err := layers.Integers(c.Net, c.State)
	if err != nil {
		return 0, err
	}
	model, err := n.Model()
	if err != nil {
		return 0, err
	}
	g, _, logits, err := forward(model, 1, h, w)
	if err != nil {
		return 0, err
	}
	plan, err := g.Explain(m.Backend, engine.Options{Outputs: []*engine.Value{logits}})
	if err != nil {
		return 0, err
	}
	return int64(plan.ArenaBytes - plan.KeptBytes), nil
}

// time returns the time of a batch by the table, in milliseconds.
func (m *Meter) time(ctx context.Context, c *checkpoint.Checkpoint, h, w int) (float64, error) {
	_, keys, err := m.timed(ctx, c, h, w)
	if err != nil {
		return 0, err
	}
	return m.Times.sum(keys)
}

// timed returns the plan of a checkpoint's program for a batch, and the keys of its
// times, of which the table lacks none: what it had lacked has been measured.
func (m *Meter) timed(ctx context.Context, c *checkpoint.Checkpoint, h, w int) (plan *engine.Plan, keys []string, err error) {
	if m.Backend == nil {
		return nil, nil, errors.New("a limit of time is measured, and there is no device to measure on")
	}
	if m.Times == nil {
		m.Times = new(Table)
	}
	store := engine.NewStore(m.Backend)
	defer func() { err = errors.Join(err, store.Close()) }()
	model, err := c.Infer(store)
	if err != nil {
		return nil, nil, err
	}
	g, x, logits, err := forward(model, max(m.Batch, 1), h, w)
	if err != nil {
		return nil, nil, err
	}
	o := engine.Options{Store: store, Outputs: []*engine.Value{logits}}
	if plan, err = g.Explain(m.Backend, o); err != nil {
		return nil, nil, err
	}
	keys = keysOf(m.Backend, plan, x, logits)
	if m.Times.lacks(keys) == 0 {
		return plan, keys, nil
	}
	p, err := g.Compile(m.Backend, o)
	if err != nil {
		return nil, nil, err
	}
	took, err := measure(ctx, p, x, logits)
	if err = errors.Join(err, p.Close()); err != nil {
		return nil, nil, fmt.Errorf("timing %s: %w", c.Net, err)
	}
	n := m.Times.add(keys, took)
	if m.Log != nil {
		m.Log.Debug("timed", "net", c.Net.String(), "steps", len(keys), "new", n)
	}
	return plan, keys, nil
}
