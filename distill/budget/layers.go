package budget

import (
	"context"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// A Layer is a module's part in what a net costs.
type Layer struct {
	Name string
	Kind string
	// Before and After are the output channels in the net that was begun with and in
	// this one; 0 where there is none of that name.
	Before, After int
	Bits          int   // of a number of its weight in the file; 0 without a weight
	Bytes         int64 // of its tensors in the file
	MACs          int64 // of one image
	// MS is the time of the step of the plan that begins with the layer, where the
	// limits have one of time: what a step takes in behind it, as an activation or
	// the next layers of a chain, has none of its own.
	MS float64
}

// Layers returns the modules with weights of a checkpoint, in the order of execution,
// and behind them those of the net that was begun with that are gone.
func (m *Meter) Layers(ctx context.Context, start *layers.Net, c *checkpoint.Checkpoint) ([]Layer, error) {
	h, w, err := m.size(c)
	if err != nil {
		return nil, err
	}
	model, err := c.Net.Model()
	if err != nil {
		return nil, err
	}
	s, err := model.Summary(h, w)
	if err != nil {
		return nil, err
	}
	took := make(map[string]float64)
	if m.MS > 0 {
		plan, keys, err := m.timed(ctx, c, h, w)
		if err != nil {
			return nil, err
		}
		for i, step := range plan.Steps {
			ms, err := m.Times.sum(keys[i : i+1])
			if err != nil {
				return nil, err
			}
			took[step.Scope] += ms
		}
	}
	before, have := channels(start), channels(c.Net)
	var out []Layer
	for _, row := range s.Layers {
		if have[row.Name] == 0 {
			continue
		}
		l := Layer{Name: row.Name, Kind: row.Type, Before: before[row.Name], After: have[row.Name], MACs: row.MACs, MS: took[row.Name]}
		mod := c.Net.Module(row.Name)
		for _, p := range mod.Params() {
			e := c.State.Find(mod.Tensor(p.Role))
			if e == nil {
				continue
			}
			bits, bytes := stored(e)
			l.Bytes += bytes
			if p.Role == "weight" {
				l.Bits = bits
			}
		}
		out = append(out, l)
	}
	for i := range start.Modules {
		if mod := &start.Modules[i]; before[mod.Name] > 0 && have[mod.Name] == 0 {
			out = append(out, Layer{Name: mod.Name, Kind: layers.KindName(mod.Kind), Before: before[mod.Name]})
		}
	}
	return out, nil
}

// channels returns the output channels of a net's convolutions and linear layers.
func channels(n *layers.Net) map[string]int {
	out := make(map[string]int)
	for i := range n.Modules {
		for _, p := range n.Modules[i].Kind.Params() {
			if p.Layout == layers.OIHW || p.Layout == layers.OI {
				out[n.Modules[i].Name] = p.Spec.Shape[len(p.Spec.Shape)-1]
			}
		}
	}
	return out
}

// stored returns how a tensor lies in the file: the bits of a number, and all bytes.
func stored(e *layers.Entry) (bits int, bytes int64) {
	switch {
	case e.Codes != nil:
		return e.Codes.Encoding.Bits, int64(len(e.Codes.Bytes))
	case e.Integer():
		return 64, 8 * int64(len(e.Int))
	}
	return 32, 4 * int64(len(e.Data))
}
