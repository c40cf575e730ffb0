package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func init() {
	compress.Register(compress.Kind{Name: "prune", New: func() compress.Method { return &Options{} }, Tuned: true})
}

// Options say how much is cut, and by what. They are the method "prune". Mult,
// Keep and Widths are the study's cut by the signed γ; the others belong to the
// cut by a criterion, which takes any net.
type Options struct {
	// Mult, in (0, 1], is what each width that does not stay is multiplied by;
	// the product is rounded down, to at least one unit of the group.
	Mult float64 `yaml:"mult"`
	// Keep reports whether width i of n stays. Nil means [KeepEnds] in the
	// study's depthwise families, and in any other net that the widths stay
	// that meet no batch norm.
	Keep func(i, n int) bool `json:"-"`
	// Widths, if not nil, are the widths to cut to, and Mult and Keep have no
	// effect. A net that is pruned in rounds is cut to [Widths] of the widths
	// it had before the first.
	Widths []int `yaml:"widths"`

	// Criterion tells how much a channel matters: one of Criteria; "" means l2.
	// Reduce puts the scores of a channel's members together ("mean"), Normalize
	// makes those of groups comparable (the criterion's own), Rank says which are
	// compared: local, global or isomorphic ("local").
	Criterion string `yaml:"criterion"`
	Reduce    string `yaml:"reduce"`
	Normalize string `yaml:"normalize"`
	Rank      string `yaml:"rank"`
	// Ratio is the share of channels that goes. In its place a target may be given:
	// what may be left of parameters, multiply-adds of one image, bytes of the
	// written file, each as a number or, below 1, as a share of the net's, or
	// milliseconds for a batch, as they are measured.
	Ratio  float64 `yaml:"ratio"`
	Params float64 `yaml:"params"`
	MACs   float64 `yaml:"macs"`
	Bytes  float64 `yaml:"bytes"`
	MS     float64 `yaml:"ms"`
	// Batch and Size are those of the images by which costs are told: 1, and the
	// checkpoint's own.
	Batch int `yaml:"ms_batch"`
	Size  int `yaml:"size"`
	// RoundTo rounds the channels that stay to the nearest multiple.
	RoundTo int `yaml:"round_to"`
	// MaxRatio is the most that goes of one layer; 0 means all but one unit.
	MaxRatio float64 `yaml:"max_ratio"`
	// Protect names layers that stay whole, and Ratios, as PATTERN=RATIO, the
	// ratios of others, by the patterns of layers.Fits.
	Protect []string `yaml:"protect"`
	Ratios  []string `yaml:"ratios"`
	// Compat is "" or TorchPruning.
	Compat string `yaml:"compat"`
	// Seed is that of the criterion random.
	Seed uint64 `yaml:"criterion_seed"`
	// Images is the number of training images by which taylor, hessian and
	// activation rank; 0 means 256.
	Images int `yaml:"images"`
	// Whole are, of a cut in rounds, the widths that the net had before the first, as
	// WidthsOf gives them: what Ratio, Ratios and MaxRatio are shares of. A target that
	// an earlier round has met is then no error. nil means those of the net.
	Whole []int `yaml:"whole" json:",omitempty"`
	// Recalibrate re-estimates the running statistics of batch norms after the cut,
	// with as many training images as it says: see eval.Recalibrate.
	Recalibrate int `yaml:"recalibrate"`
}

// depthwiseFamilies lists the families that the study prunes.
var depthwiseFamilies = []string{"cnn-dwpw", "hw7-student"}

// KeepEnds is the study's choice: the first three widths and the last stay.
func KeepEnds(i, n int) bool { return i < 3 || i == n-1 }

// WidthsOf returns the widths of a net: the channels of its groups, but for the
// image's and the classes, in the order in which they are made. For a family of
// the study these are its own widths.
func WidthsOf(n *layers.Net) ([]int, error) {
	groups, err := cuttable(n)
	if err != nil {
		return nil, err
	}
	widths := make([]int, len(groups))
	for i, g := range groups {
		widths[i] = g.Size * g.Width
	}
	return widths, nil
}

func cuttable(n *layers.Net) ([]layers.Group, error) {
	groups, err := n.Groups()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(groups, func(g layers.Group) bool { return g.Fixed != "" }), nil
}

// Widths returns what becomes of a net's widths: those that stay, by keep (nil
// means [KeepEnds]), and int(width·mult), at least 1, of the others.
func Widths(full []int, mult float64, keep func(i, n int) bool) ([]int, error) {
	if err := checkMult(mult); err != nil {
		return nil, err
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

func checkMult(mult float64) error {
	if !(mult > 0 && mult <= 1) {
		return fmt.Errorf("prune: the multiplier must be in (0, 1], not %v", mult)
	}
	return nil
}

// Validate implements compress.Method.
func (o *Options) Validate() error {
	switch {
	case o.Ranked():
		return o.validateRanked()
	case o.Widths != nil && o.Mult != 0:
		return errors.New("prune: give either mult or widths")
	case o.Widths != nil:
		return nil
	}
	return checkMult(o.Mult)
}

// Apply implements compress.Method. The study's cut uses nothing of the
// environment; taylor, hessian and activation need a backend and data, and a
// target in milliseconds a backend.
func (o *Options) Apply(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, compress.Report, error) {
	cut := func() (*checkpoint.Checkpoint, *Report, error) { return Slim(c, *o) }
	if o.Ranked() {
		cut = func() (*checkpoint.Checkpoint, *Report, error) { return Cut(ctx, env, c, *o) }
	}
	out, r, err := cut()
	if err != nil {
		return nil, nil, err
	}
	return out, r, nil
}

// A Report tells what was cut.
type Report struct {
	Before       layers.Arch `json:"before"`
	After        layers.Arch `json:"after"`
	WidthsBefore []int       `json:"widths_before"`
	WidthsAfter  []int       `json:"widths_after"`
	ParamsBefore int         `json:"params_before"`
	ParamsAfter  int         `json:"params_after"`
	// Kept are, for each width, the old numbers of the units that are left, in
	// their new order; nil where all are, in their old places.
	Kept [][]int `json:"kept"`

	// What follows is told of a cut by a criterion.

	Criterion string `json:"criterion,omitempty"`
	Rank      string `json:"rank,omitempty"`
	// Ratio is the share of channels that a target has come to.
	Ratio  float64    `json:"ratio,omitempty"`
	Costs  *Costs     `json:"costs,omitempty"`
	Layers []LayerCut `json:"layers,omitempty"`
	// Protected are the layers that stay whole, with the reason.
	Protected []Protected `json:"protected,omitempty"`
	// Notes are what a person should know besides, a line each.
	Notes []string `json:"notes,omitempty"`
}

// Lines implements compress.Report.
func (r *Report) Lines() [][]string {
	if r.Costs != nil {
		return r.Costs.lines()
	}
	return [][]string{
		{"widths", fmt.Sprintf("%d (before: %d)", r.WidthsAfter, r.WidthsBefore)},
		{"parameters", fmt.Sprintf("%s (before: %s)", metrics.Thousands(r.ParamsAfter), metrics.Thousands(r.ParamsBefore))},
	}
}

// Slim returns a narrower copy of a checkpoint's model, and what was cut. The
// copy has no metrics and no state of a training run, and is stored in 32 bits.
func Slim(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if err := c.CheckFinite(); err != nil {
		return nil, nil, fmt.Errorf("prune: %w", err)
	}
	out, r, err := slim(c, o)
	if err != nil {
		return nil, nil, compress.Failed("prune", c, err)
	}
	return out, r, nil
}

func slim(c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, nil, err
	}
	groups, err := cuttable(c.Net)
	if err != nil {
		return nil, nil, err
	}
	from, err := WidthsOf(c.Net)
	if err != nil {
		return nil, nil, err
	}
	to := o.Widths
	if to == nil {
		keep := o.Keep
		if keep == nil && !slices.Contains(depthwiseFamilies, c.Net.Family) {
			keep = func(i, _ int) bool { return lastNorm(c.Net, &groups[i]) == nil }
		}
		if to, err = Widths(from, o.Mult, keep); err != nil {
			return nil, nil, err
		}
		for i, g := range groups {
			to[i] = max(to[i]/g.Width, 1) * g.Width
		}
		if o.Mult < 1 && slices.Equal(to, from) {
			return nil, nil, fmt.Errorf("a multiplier of %v cuts none of the widths %s; give widths to cut to", o.Mult, list(groups))
		}
	}
	kept, err := choose(c, groups, from, to)
	if err != nil {
		return nil, nil, err
	}
	keep := make(map[string][]int)
	for i, units := range kept {
		if units != nil {
			keep[groups[i].Name] = units
		}
	}
	out := &checkpoint.Checkpoint{Classes: c.Classes, Preprocess: c.Preprocess}
	if out.Net, out.State, err = layers.Select(keep)(c.Net, c.State); err != nil {
		return nil, nil, err
	}
	for i := range out.State {
		e := &out.State[i]
		e.Data, e.Int, e.Codes = slices.Clone(e.Data), slices.Clone(e.Int), nil
	}
	r := &Report{Before: c.Net.Arch(), After: out.Net.Arch(), WidthsBefore: from, WidthsAfter: to, Kept: kept}
	if r.ParamsBefore, err = params(c.Net); err != nil {
		return nil, nil, err
	}
	if r.ParamsAfter, err = params(out.Net); err != nil {
		return nil, nil, err
	}
	return out, r, compress.Derive(out, c, "prune", fmt.Sprintf("widths %v of %v, ranked by γ", to, from))
}

func params(n *layers.Net) (int, error) {
	m, err := n.Model()
	if err != nil {
		return 0, err
	}
	return m.Params(), nil
}

// choose ranks the units of each group that is to be cut and returns the best
// of them.
func choose(c *checkpoint.Checkpoint, groups []layers.Group, from, to []int) ([][]int, error) {
	if len(to) != len(from) {
		return nil, fmt.Errorf("%d widths given for a net of %d: %s", len(to), len(from), list(groups))
	}
	kept := make([][]int, len(from))
	for i, n := range to {
		g := &groups[i]
		switch {
		case n == from[i]:
			continue
		case n < 1 || n > from[i]:
			return nil, fmt.Errorf("width %d (%s) cannot be cut from %d to %d channels; give a number from %d to %d", i, g.Name, from[i], n, g.Width, from[i])
		case n%g.Width != 0:
			return nil, fmt.Errorf("width %d (%s) cannot be cut from %d to %d channels, for it goes %d by %d; give a multiple of %d", i, g.Name, from[i], n, g.Width, g.Width, g.Width)
		}
		score, err := rank(c, g)
		if err != nil {
			return nil, err
		}
		order := make([]int, g.Size)
		for k := range order {
			order[k] = k
		}
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(score[b], score[a]) })
		n /= g.Width
		kept[i] = order[:n:n]
	}
	return kept, nil
}

// list names groups with their widths, the first ones where there are many.
func list(groups []layers.Group) string {
	const most = 16
	var w strings.Builder
	for i, g := range groups {
		if i == most {
			fmt.Fprintf(&w, ", … (%d more)", len(groups)-most)
			break
		}
		if i > 0 {
			w.WriteString(", ")
		}
		fmt.Fprintf(&w, "%s %d", g.Name, g.Size*g.Width)
	}
	return w.String()
}

// lastNorm returns the γ of the last batch norm that a group meets, nil if it
// meets none.
func lastNorm(n *layers.Net, g *layers.Group) (last *layers.Use) {
	for i := range g.Uses {
		u := &g.Uses[i]
		if _, ok := n.Module(u.Module).Kind.(layers.BatchNorm2d); ok && u.Role == "weight" {
			last = u
		}
	}
	return last
}

// rank returns the score of each unit of a group: the sum of its channels' γ,
// signed, in the last batch norm that the group meets.
func rank(c *checkpoint.Checkpoint, g *layers.Group) ([]float64, error) {
	last := lastNorm(c.Net, g)
	if last == nil {
		return nil, fmt.Errorf("the width of %s meets no BatchNorm by which its channels could be ranked; give widths, with %d for it", g.Name, g.Size*g.Width)
	}
	score := make([]float64, g.Size)
	for i, gamma := range c.State.Find(last.Tensor).Data {
		if math.IsNaN(float64(gamma)) {
			return nil, fmt.Errorf("%s holds a NaN; train the net again", last.Tensor)
		}
		if unit := last.At[i]; unit >= 0 {
			score[unit] += float64(gamma)
		}
	}
	return score, nil
}
