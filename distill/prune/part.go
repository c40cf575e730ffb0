package prune

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Part returns the options of a round after which a share of the cut is made: of the
// channels that go, or of the way from what the whole net costs to the target. The
// options are valid.
func (o Options) Part(whole Cost, share float64) Options {
	toward := func(target *float64, dense float64) {
		if *target == 0 {
			return
		}
		if *target < 1 {
			*target *= dense
		}
		if share < 1 {
			*target = math.Floor(dense - (dense-*target)*share)
		}
	}
	toward(&o.Params, float64(whole.Params))
	toward(&o.MACs, float64(whole.MACs))
	toward(&o.Bytes, float64(whole.Bytes))
	if o.MS > 0 && share < 1 {
		o.MS = whole.MS - (whole.MS-o.MS)*share
	}
	o.Ratio *= share
	ratios := o.Ratios
	o.Ratios = nil
	for _, text := range ratios { // Validate has read them
		pattern, number, _ := strings.Cut(text, "=")
		r, _ := strconv.ParseFloat(number, 64)
		o.Ratios = append(o.Ratios, fmt.Sprintf("%s=%v", pattern, r*share))
	}
	return o
}
