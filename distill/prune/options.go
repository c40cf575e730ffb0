package prune

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/layers"
)

// Ranked reports whether the options ask for a cut by a criterion, and not for
// the study's.
func (o *Options) Ranked() bool {
	return o.Criterion != "" || o.Ratio != 0 || len(o.Ratios) > 0 || o.target() != "" || o.Compat != ""
}

// Timed reports whether the target is a time, which is measured.
func (o *Options) Timed() bool { return o.MS > 0 }

// target names the target that is set, "" for none.
func (o *Options) target() string {
	for _, t := range o.targets() {
		if t.value != 0 {
			return t.name
		}
	}
	return ""
}

type target struct {
	name  string
	value float64
}

func (o *Options) targets() []target {
	return []target{{"params", o.Params}, {"macs", o.MACs}, {"bytes", o.Bytes}, {"ms", o.MS}}
}

// withDefaults fills in what is left out.
func (o Options) withDefaults() Options {
	or := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	or(&o.Criterion, "l2")
	or(&o.Rank, "local")
	or(&o.Reduce, "mean")
	if c, err := criterionOf(o.Criterion); err == nil {
		or(&o.Normalize, c.normalize)
	}
	if o.MaxRatio == 0 {
		o.MaxRatio = 1
	}
	return o
}

// validateRanked is Validate for a cut by a criterion.
func (o Options) validateRanked() error {
	if o.Mult != 0 || o.Widths != nil {
		return errors.New("prune: mult and widths are the study's cut by γ; with a criterion give a ratio or a target")
	}
	set := 0
	for _, t := range o.targets() {
		if t.value == 0 {
			continue
		}
		set++
		if !(t.value > 0) || math.IsInf(t.value, 0) {
			return fmt.Errorf("prune: %s %v; give a positive number, or a share of the net's below 1", t.name, t.value)
		}
	}
	switch {
	case set > 1:
		return errors.New("prune: several targets are given; choose one of params, macs, bytes and ms")
	case set == 1 && o.Ratio != 0:
		return fmt.Errorf("prune: both a ratio and %s are given; a target finds the ratio itself", o.target())
	case set == 0 && o.Ratio == 0 && len(o.Ratios) == 0:
		return errors.New("prune: how much is to go? Give a ratio, or a target: params, macs, bytes or ms")
	case o.Whole != nil && o.Compat != "":
		return errors.New("prune: Torch-Pruning's choice is made in one cut; leave out compat, or the rounds")
	case o.MS != 0 && o.Compat != "":
		return errors.New("prune: milliseconds are no target of Torch-Pruning's; leave out compat")
	case o.Compat != "" && o.Compat != TorchPruning:
		return fmt.Errorf("prune: there is no program %q to be compatible with; choose %s", o.Compat, TorchPruning)
	case o.Recalibrate < 0 || o.Images < 0:
		return fmt.Errorf("prune: %d images to rank by and %d to recalibrate with; give no negative numbers", o.Images, o.Recalibrate)
	case o.RoundTo < 0:
		return fmt.Errorf("prune: channels cannot be rounded to multiples of %d", o.RoundTo)
	}
	if err := checkRatio("ratio", o.Ratio); err != nil {
		return err
	}
	d := o.withDefaults()
	if !(d.MaxRatio > 0 && d.MaxRatio <= 1) {
		return fmt.Errorf("prune: the largest ratio of a layer must lie in (0, 1], not be %v", d.MaxRatio)
	}
	if _, err := criterionOf(d.Criterion); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	for _, err := range []error{oneOf("ranking", d.Rank, rankings...), oneOf("reduction", d.Reduce, reductions...), oneOf("normalization", d.Normalize, normalizations...)} {
		if err != nil {
			return fmt.Errorf("prune: %w", err)
		}
	}
	_, err := o.layerRatios()
	return err
}

func checkRatio(what string, r float64) error {
	switch {
	case r == 1:
		return fmt.Errorf("prune: a %s of 1 leaves nothing; give a number from 0 up to but without 1", what)
	case !(r >= 0 && r < 1):
		return fmt.Errorf("prune: the %s must lie from 0 up to but without 1, not be %v", what, r)
	}
	return nil
}

// A layerRatio is the ratio of the layers that a pattern names.
type layerRatio struct {
	pattern string
	ratio   float64
}

// layerRatios reads Ratios.
func (o *Options) layerRatios() ([]layerRatio, error) {
	var list []layerRatio
	for _, text := range o.Ratios {
		pattern, number, ok := strings.Cut(text, "=")
		ratio, err := strconv.ParseFloat(number, 64)
		if !ok || pattern == "" || err != nil {
			return nil, fmt.Errorf("prune: %q is no PATTERN=RATIO, as in layer4.*=0.7", text)
		}
		if err := checkRatio("ratio of "+pattern, ratio); err != nil {
			return nil, err
		}
		list = append(list, layerRatio{pattern, ratio})
	}
	return list, nil
}

// makers returns the modules that make or pass on the channels of a group: those
// by whose names a pattern means it.
func makers(n *layers.Net, g *layers.Group) []string {
	var names []string
	for _, u := range g.Uses {
		if u.Axis == 0 && !slices.Contains(names, u.Module) {
			names = append(names, u.Module)
		}
	}
	return names
}

// named reports whether a pattern names a group by one of its makers.
func named(n *layers.Net, g *layers.Group, pattern string) bool {
	return slices.ContainsFunc(makers(n, g), func(m string) bool { return layers.Fits(pattern, m) })
}

// byPattern returns the groups that a pattern names; a pattern that names none is
// an error.
func byPattern(n *layers.Net, groups []layers.Group, pattern string) ([]int, error) {
	var at []int
	for i := range groups {
		if named(n, &groups[i], pattern) {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("no layer with channels fits the pattern %q; potstill summary lists the modules", pattern)
	}
	return at, nil
}
