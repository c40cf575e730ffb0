package prune

import (
	"fmt"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
)

// A Cost is what a net costs.
type Cost struct {
	Params int     `json:"params"`
	MACs   int64   `json:"macs"`  // of one image
	Bytes  int64   `json:"bytes"` // of the written file
	MS     float64 `json:"ms,omitempty"`
}

// Costs are those of a net before and after a cut.
type Costs struct {
	Before Cost `json:"before"`
	After  Cost `json:"after"`
	// Batch, Height and Width are those of the images by which they are told.
	Batch  int `json:"batch"`
	Height int `json:"height"`
	Width  int `json:"width"`
}

func (c *Costs) lines() [][]string {
	lines := [][]string{
		compress.Share("parameters", int64(c.After.Params), int64(c.Before.Params)),
		compress.Share("multiply-adds", c.After.MACs, c.Before.MACs),
		compress.Share("bytes", c.After.Bytes, c.Before.Bytes),
	}
	if c.Before.MS > 0 {
		lines = append(lines, []string{"ms", fmt.Sprintf("%.4g of %.4g, batch %d of %dx%d", c.After.MS, c.Before.MS, c.Batch, c.Height, c.Width)})
	}
	return lines
}

// A LayerCut is what became of a layer with weights.
type LayerCut struct {
	Layer  string `json:"layer"`
	Kind   string `json:"kind"`
	Group  string `json:"group"`
	Before Sizes  `json:"before"`
	After  Sizes  `json:"after"`
	// Why says why its channels stayed.
	Why string `json:"why,omitempty"`
}

// Sizes are those of a layer.
type Sizes struct {
	Channels int     `json:"channels"` // that it makes
	Params   int     `json:"params"`
	MACs     int64   `json:"macs"`
	Bytes    int64   `json:"bytes"`
	MS       float64 `json:"ms,omitempty"`
}

// A Protected group stays whole.
type Protected struct {
	Group string `json:"group"`
	Why   string `json:"why"`
}

// layerCuts compares the layers that have channels of their own.
func layerCuts(n *layers.Net, before, after layers.Summary, groups []layers.Group, why map[string]string) []LayerCut {
	of := make(map[string]string) // the group of a layer's outputs
	for _, g := range groups {
		for _, u := range g.Uses {
			if u.Axis == 0 && of[u.Module] == "" {
				of[u.Module] = g.Name
			}
		}
	}
	var list []LayerCut
	for i, row := range before.Layers {
		switch n.Modules[i].Kind.(type) {
		case layers.Conv2d, layers.Linear:
		default:
			continue
		}
		list = append(list, LayerCut{
			Layer: row.Name, Kind: row.Type, Group: of[row.Name], Why: why[of[row.Name]],
			Before: sizesOf(row), After: sizesOf(after.Layers[i]),
		})
	}
	return list
}

func sizesOf(r layers.LayerSummary) Sizes {
	return Sizes{Channels: r.Output[0], Params: r.Params, MACs: r.MACs, Bytes: r.Bytes}
}

// Table returns the report's table for people: a header, and a row a layer.
func (r *Report) Table() [][]string {
	timed := false
	for _, l := range r.Layers {
		timed = timed || l.Before.MS > 0
	}
	header := []string{"layer", "channels", "criterion", "parameters", "multiply-adds", "bytes"}
	if timed {
		header = append(header, "ms")
	}
	rows := [][]string{header}
	for _, l := range r.Layers {
		criterion := r.Criterion
		if l.Why != "" {
			criterion = "stays: " + l.Why
		}
		row := []string{
			l.Layer, compress.Change(int64(l.Before.Channels), int64(l.After.Channels)), criterion,
			compress.Change(int64(l.Before.Params), int64(l.After.Params)), compress.Change(l.Before.MACs, l.After.MACs), compress.Change(l.Before.Bytes, l.After.Bytes),
		}
		if timed {
			row = append(row, fmt.Sprintf("%.3g → %.3g", l.Before.MS, l.After.MS))
		}
		rows = append(rows, row)
	}
	return rows
}

// detail is the cut in a few words, for the model's history.
func (o *Options) detail(ratio float64) string {
	var w strings.Builder
	fmt.Fprintf(&w, "%s, %s", o.Criterion, o.Rank)
	if t := o.target(); t != "" {
		for _, x := range o.targets() {
			if x.value != 0 {
				fmt.Fprintf(&w, ", %s %v", x.name, x.value)
			}
		}
	}
	fmt.Fprintf(&w, ", ratio %.4g", ratio)
	if o.Compat != "" {
		fmt.Fprintf(&w, ", as %s", o.Compat)
	}
	return w.String()
}
