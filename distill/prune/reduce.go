package prune

import (
	"math"
	"slices"
)

// reductions are the ways to put the members' scores of a channel together.
var reductions = []string{"mean", "sum", "max", "prod", "first", "last"}

// reduce puts the parts together, channel by channel. The mean is over the parts,
// of which there are as many for every channel.
func reduce(parts [][]float64, how string) []float64 {
	switch how {
	case "first":
		return slices.Clone(parts[0])
	case "last":
		return slices.Clone(parts[len(parts)-1])
	}
	all := slices.Clone(parts[0])
	for _, part := range parts[1:] {
		for i, v := range part {
			switch how {
			case "max":
				all[i] = max(all[i], v)
			case "prod":
				all[i] *= v
			default:
				all[i] += v
			}
		}
	}
	if how == "mean" {
		for i := range all {
			all[i] /= float64(len(parts))
		}
	}
	return all
}

// normalizations are the ways to make the scores of groups comparable.
var normalizations = []string{"mean", "none", "sum", "max", "standardization", "gaussian", "median", "lamp"}

// normalize makes the scores x of a group comparable with those of others:
//
//	mean, sum, max   x over the mean, the sum, the largest
//	standardization  (x-min)/(max-min+1e-8)
//	gaussian         (x-mean)/(σ+1e-8), σ unbiased
//	median           x over the value of rank ⌊n/2⌋, +1e-8
//	lamp             x over the sum of all that are not smaller
//
// Where all are zero they stay so.
func normalize(x []float64, how string) []float64 {
	sum, largest := 0.0, math.Inf(-1)
	for _, v := range x {
		sum += v
		largest = max(largest, v)
	}
	mean := sum / float64(len(x))
	shift, factor := 0.0, 1.0
	switch how {
	case "mean":
		factor = mean
	case "sum":
		factor = sum
	case "max":
		factor = largest
	case "standardization":
		shift = slices.Min(x)
		factor = largest - shift + 1e-8
	case "gaussian":
		squares := 0.0
		for _, v := range x {
			squares += (v - mean) * (v - mean)
		}
		shift, factor = mean, math.Sqrt(squares/float64(max(len(x)-1, 1)))+1e-8
	case "median":
		sorted := slices.Sorted(slices.Values(x))
		factor = sorted[len(x)/2] + 1e-8
	case "lamp":
		return lamp(x)
	}
	if factor == 0 {
		return x
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = (v - shift) / factor
	}
	return out
}

// lamp divides each score by the sum of those that are not smaller, itself among
// them (Lee et al., "Layer-adaptive sparsity for the magnitude-based pruning",
// arXiv:2010.07611), of equal ones in their order.
func lamp(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] < x[b]:
			return -1
		case x[a] > x[b]:
			return 1
		}
		return 0
	})
	// From the top down the sums are exact where subtraction would cancel.
	out := make([]float64, len(x))
	rest := 0.0
	for k := len(order) - 1; k >= 0; k-- {
		i := order[k]
		if rest += x[i]; rest != 0 {
			out[i] = x[i] / rest
		}
	}
	return out
}
