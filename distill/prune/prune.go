package prune

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Options say how much is cut.
type Options struct {
	// Mult, in (0, 1], is what each width that does not stay is multiplied by;
	// the product is rounded down, to at least 1.
	Mult float64
	// Keep reports whether width i of n stays; nil means [KeepEnds].
	Keep func(i, n int) bool
	// Widths, if not nil, are the widths to cut to, and Mult and Keep have no
	// effect. A net that is pruned in rounds is cut to [Widths] of the widths
	// it had before the first.
	Widths []int
}

// KeepEnds is the study's choice: the first three widths and the last stay.
func KeepEnds(i, n int) bool { return i < 3 || i == n-1 }

// Widths returns what becomes of a net's widths: those that stay, by keep (nil
// means [KeepEnds]), and int(width·mult), at least 1, of the others.
func Widths(full []int, mult float64, keep func(i, n int) bool) ([]int, error) {
	if !(mult > 0 && mult <= 1) {
		return nil, fmt.Errorf("prune: the multiplier must be in (0, 1], not %v", mult)
	}
	if keep == nil {
		keep = KeepEnds
	}
	out := slices.Clone(full)
	for i, w := range full {
		if !keep(i, len(full)) {
			out[i] = max(1, int(float64(w)*mult))
		}
	}
	return out, nil
}

// A Report tells what was cut.
type Report struct {
	Before       layers.Arch `json:"before"`
	After        layers.Arch `json:"after"`
	ParamsBefore int         `json:"params_before"`
	ParamsAfter  int         `json:"params_after"`
	// Kept are, for each width, the old numbers of the channels that are left,
	// in their new order; nil where all are, in their old places.
	Kept [][]int `json:"kept"`
}

// Slim returns a narrower copy of a checkpoint's model, and what was cut. The
// copy has no metrics and no state of a training run, and is stored in 32 bits.
// A family that has no rule for cutting is refused.
func Slim(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	out, r, err := slim(c, o)
	if err != nil && c.Path != "" {
		err = fmt.Errorf("%s: %w", c.Path, err)
	}
	return out, r, err
}

func slim(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if !slices.Contains(families, c.Arch.Family) {
		return nil, nil, fmt.Errorf("prune: there is no rule for the family %s; it can be done to %s", c.Arch.Family, strings.Join(families, ", "))
	}
	old, err := layers.New(c.Arch)
	if err == nil {
		err = old.Check(c.State)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("prune: %w", err)
	}
	widths := o.Widths
	if widths == nil {
		if widths, err = Widths(old.Arch().Widths, o.Mult, o.Keep); err != nil {
			return nil, nil, err
		}
	}
	kept, err := choose(c.State, old.Arch().Widths, widths)
	if err != nil {
		return nil, nil, err
	}
	a := old.Arch()
	a.Widths, a.Base = widths, 0
	narrow, err := layers.New(a)
	if err != nil {
		return nil, nil, fmt.Errorf("prune: %w", err)
	}
	r := &Report{Before: old.Arch(), After: narrow.Arch(), ParamsBefore: old.Params(), ParamsAfter: narrow.Params(), Kept: kept}
	out := &checkpoint.Checkpoint{Arch: narrow.Arch(), Classes: c.Classes, Preprocess: c.Preprocess}
	for _, e := range c.State {
		out.State = append(out.State, cut(e, kept))
	}
	if err := narrow.Check(out.State); err != nil {
		return nil, nil, fmt.Errorf("prune: %w", err)
	}
	event := checkpoint.Event{Kind: "prune", Detail: fmt.Sprintf("widths %v of %v, ranked by γ", widths, r.Before.Widths)}
	if c.Path != "" {
		if event.Parent, err = checkpoint.Fingerprint(c.Path); err != nil {
			return nil, nil, err
		}
	}
	out.History = append(slices.Clone(c.History), event)
	return out, r, nil
}

// families are those with depthwise blocks.
var families = []string{"cnn-dwpw", "hw7-student"}

// choose ranks the channels of each width that is to be cut and returns the
// best of them.
func choose(s layers.StateDict, from, to []int) ([][]int, error) {
	if len(to) != len(from) {
		return nil, fmt.Errorf("prune: %d widths given for a net of %d", len(to), len(from))
	}
	kept := make([][]int, len(from))
	for i, n := range to {
		switch {
		case n == from[i]:
			continue
		case n < 1 || n > from[i]:
			return nil, fmt.Errorf("prune: width %d cannot be cut from %d to %d channels", i, from[i], n)
		case i == len(from)-1:
			return nil, fmt.Errorf("prune: the last width meets no BatchNorm by which its channels could be ranked; it must stay at %d", from[i])
		}
		name := fmt.Sprintf("cnn.%d.1.weight", i+1)
		gamma := s.Find(name).Data
		order := make([]int, len(gamma))
		for k, g := range gamma {
			if math.IsNaN(float64(g)) {
				return nil, fmt.Errorf("prune: %s holds a NaN; train the net again", name)
			}
			order[k] = k
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(gamma[b], gamma[a]) })
		kept[i] = order[:n:n]
	}
	return kept, nil
}

// cut returns the part of a tensor that belongs to the kept channels.
func cut(e layers.Entry, kept [][]int) layers.Entry {
	var block, layer int
	var rows, cols []int
	if _, err := fmt.Sscanf(e.Name, "cnn.%d.%d.", &block, &layer); err == nil && len(e.Shape) > 0 {
		switch {
		case block == 0:
			rows = kept[0]
		case layer < 3: // depthwise, BN
			rows = kept[block-1]
		default: // pointwise
			rows = kept[block]
			if len(e.Shape) > 1 {
				cols = kept[block-1]
			}
		}
	}
	e.Shape, e.Data = slices.Clone(e.Shape), slices.Clone(e.Data)
	if rows != nil {
		e.Data = take(e.Data, len(e.Data)/e.Shape[0], rows)
		e.Shape[0] = len(rows)
	}
	if cols != nil {
		inner, wide := e.Shape[2]*e.Shape[3], e.Shape[1]
		var data []float32
		for o := range e.Shape[0] {
			data = append(data, take(e.Data[o*wide*inner:(o+1)*wide*inner], inner, cols)...)
		}
		e.Data, e.Shape[1] = data, len(cols)
	}
	return e
}

// take returns the chunks of n elements with the given numbers.
func take(data []float32, n int, numbers []int) []float32 {
	out := make([]float32, 0, n*len(numbers))
	for _, k := range numbers {
		out = append(out, data[k*n:(k+1)*n]...)
	}
	return out
}
