// Package lowrank takes the weights of a trained net apart: a linear or pointwise
// layer into two (its singular value decomposition), a convolution into a column
// and a row of kernels (spatial), into a convolution of fewer outputs and a
// pointwise one (channel), or into three (Tucker-2). docs/pruning.md has the
// formulas and sources. Each is a rewrite of one module into a chain
// (layers.InPlaceOf); what comes out is a net as any other, which is trained again
// with fit.Run.
package lowrank

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

func init() {
	compress.Register(compress.Kind{Name: "factorize", Aliases: []string{"factorise"}, New: func() compress.Method { return &Options{} }, Tuned: true})
}

// Options say which layers are taken apart, and how far. They are the method
// "factorize".
type Options struct {
	// Form is auto, svd, spatial, channel or tucker; "" means auto: of those that a
	// layer can take, the one of fewest multiply-adds.
	Form string `yaml:"form"`
	// Ranks says how ranks are chosen: energy, by the share of the squared weights
	// that is kept; evbmf, by the noise in the weights; accuracy, by what a layer's
	// split alone costs in accuracy on the data. "" means energy.
	Ranks string `yaml:"ranks"`
	// Of MACs and Params one may be given: what may be left, as a number, or below 1
	// as a share of the net's.
	MACs   float64 `yaml:"macs"`
	Params float64 `yaml:"params"`
	// Without a target, Energy is the share that is kept, with evbmf Weaken the share
	// of the way from the full rank to the one that is found, and with accuracy Drop
	// what each layer alone may lose of it.
	Energy float64 `yaml:"energy"`
	Weaken float64 `yaml:"weaken"`
	Drop   float64 `yaml:"drop"`
	// Protect names layers that stay, by the patterns of layers.Fits.
	Protect []string `yaml:"protect"`
	// Untimed keeps splits that are not faster than their layer when both are timed,
	// or that cannot be timed for want of a backend. Batch and Size are those of the
	// images by which they are timed: 1, and the checkpoint's own.
	Untimed bool `yaml:"untimed"`
	Batch   int  `yaml:"ms_batch"`
	Size    int  `yaml:"size"`
	// Images is the number of images by which accuracy is judged; 0 means 512.
	Images int `yaml:"images"`
	// Recalibrate re-estimates the running statistics of batch norms afterwards,
	// with as many training images as it says: see eval.Recalibrate.
	Recalibrate int `yaml:"recalibrate"`
}

// Validate implements compress.Method.
func (o *Options) Validate() error {
	oneOf := func(what, word string, words ...string) error {
		if word == "" || slices.Contains(words, word) {
			return nil
		}
		return fmt.Errorf("factorize: there is no %s %q; choose one of %v", what, word, words)
	}
	if err := oneOf("form", o.Form, forms...); err != nil {
		return err
	}
	if err := oneOf("way to choose ranks", o.Ranks, "energy", "evbmf", "accuracy"); err != nil {
		return err
	}
	given := 0
	for _, v := range []float64{o.MACs, o.Params, o.Energy, o.Weaken, o.Drop} {
		if v != 0 {
			given++
		}
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("factorize: %v is no share and no number that could be left", v)
		}
	}
	switch {
	case given != 1:
		return errors.New("factorize: how far? Give one of macs, params, energy (as 0.95), weaken (as 0.8, with evbmf) and drop (as 0.005, with accuracy)")
	case o.Energy != 0 && (o.Energy >= 1 || o.Ranks != "" && o.Ranks != "energy"):
		return fmt.Errorf("factorize: energy %v; give a share below 1, and no other way to choose ranks", o.Energy)
	case o.Weaken != 0 && (o.Weaken > 1 || o.Ranks != "evbmf"):
		return fmt.Errorf("factorize: weaken %v; give a share of at most 1, with ranks evbmf", o.Weaken)
	case o.Drop != 0 && (o.Drop >= 1 || o.Ranks != "accuracy"):
		return fmt.Errorf("factorize: drop %v; give a share below 1, with ranks accuracy", o.Drop)
	}
	return nil
}

// Timed reports whether splits are timed, by which some are refused.
func (o *Options) Timed() bool { return !o.Untimed }

// Apply implements compress.Method. It needs a backend, unless Untimed is set, and
// data where ranks go by accuracy.
func (o *Options) Apply(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, compress.Report, error) {
	out, r, err := Factorize(ctx, env, c, *o)
	if err != nil {
		return nil, nil, err
	}
	return out, r, nil
}

// A Report tells what was taken apart.
type Report struct {
	MACsBefore   int64   `json:"macs_before"`
	MACsAfter    int64   `json:"macs_after"`
	ParamsBefore int     `json:"params_before"`
	ParamsAfter  int     `json:"params_after"`
	Layers       []Split `json:"layers"`
}

// A Split is what became of a layer.
type Split struct {
	Layer string `json:"layer"`
	// Form and Ranks are empty where the layer stays, and Why says why.
	Form         string  `json:"form,omitempty"`
	Ranks        []int   `json:"ranks,omitempty"`
	Energy       float64 `json:"energy,omitempty"` // kept
	MACsBefore   int64   `json:"macs_before"`
	MACsAfter    int64   `json:"macs_after"`
	ParamsBefore int     `json:"params_before"`
	ParamsAfter  int     `json:"params_after"`
	// The milliseconds of the layer and of its chain, where they were timed.
	MSBefore float64 `json:"ms_before,omitempty"`
	MSAfter  float64 `json:"ms_after,omitempty"`
	Why      string  `json:"why,omitempty"`
}

// Lines implements compress.Report.
func (r *Report) Lines() [][]string {
	return [][]string{
		compress.Share("parameters", int64(r.ParamsAfter), int64(r.ParamsBefore)),
		compress.Share("multiply-adds", r.MACsAfter, r.MACsBefore),
	}
}

// Table returns the report's table for people: a header, and a row a layer.
func (r *Report) Table() [][]string {
	rows := [][]string{{"layer", "form", "ranks", "energy", "multiply-adds", "parameters", "ms"}}
	for _, s := range r.Layers {
		form, ranks, energy, ms := s.Form, fmt.Sprint(s.Ranks), fmt.Sprintf("%.4f", s.Energy), ""
		if s.Why != "" {
			form, ranks, energy = "stays: "+s.Why, "", ""
		}
		if s.MSBefore > 0 {
			ms = fmt.Sprintf("%.3g → %.3g", s.MSBefore, s.MSAfter)
		}
		rows = append(rows, []string{s.Layer, form, ranks, energy, compress.Change(s.MACsBefore, s.MACsAfter), compress.Change(int64(s.ParamsBefore), int64(s.ParamsAfter)), ms})
	}
	return rows
}

// Factorize returns a copy of a checkpoint's model with layers taken apart, and
// what was done. The copy has no metrics and no state of a training run, and is
// stored in 32 bits.
func Factorize(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint, o Options) (*checkpoint.Checkpoint, *Report, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if err := c.CheckFinite(); err != nil {
		return nil, nil, fmt.Errorf("factorize: %w", err) // it names the file
	}
	out, r, err := factorize(ctx, env, c, o)
	if err == nil && o.Recalibrate > 0 {
		out, err = eval.Recalibrate(ctx, env.Backend, out, env.Train(), o.Recalibrate)
	}
	if err != nil {
		return nil, nil, compress.Failed("factorize", c, err)
	}
	return out, r, nil
}

// layersOf returns the layers that can be taken apart, for images of h×w.
func layersOf(c *checkpoint.Checkpoint, h, w int) ([]*layer, error) {
	m, err := c.Net.Model()
	if err != nil {
		return nil, err
	}
	s, err := m.Summary(h, w)
	if err != nil {
		return nil, err
	}
	pixels := map[string][2]int{layers.Image: {h, w}}
	var list []*layer
	for i, row := range s.Layers {
		mod := &c.Net.Modules[i]
		size := [2]int{1, 1}
		if len(row.Output) == 3 {
			size = [2]int(row.Output[1:])
		}
		pixels[mod.Name] = size
		if len(mod.In) != 1 {
			continue
		}
		in := pixels[mod.In[0]]
		l := &layer{name: mod.Name, hi: in[0], wi: in[1], ho: size[0], wo: size[1]}
		switch k := mod.Kind.(type) {
		case layers.Conv2d:
			if k.Groups != 1 {
				continue
			}
			l.conv = k
		case layers.Linear:
			l.linear, l.hi, l.wi, l.ho, l.wo = true, 1, 1, 1, 1
			l.conv = layers.Conv(k.InFeatures, k.OutFeatures, 1)
			l.conv.Bias = k.Bias
		default:
			continue
		}
		l.weight = c.State.Find(mod.Tensor("weight")).Data
		if l.conv.Bias {
			l.bias = c.State.Find(mod.Tensor("bias")).Data
		}
		list = append(list, l)
	}
	return list, nil
}
