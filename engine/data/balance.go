package data

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/engine/random"
)

// BalancedWeights returns a weight for each class with which every class counts
// as much as any other: n/(k·n_c) of n images in k classes, n_c of them in this
// one, as scikit-learn's "balanced". A class without images, which no weight
// makes count, has 1.
func (s *Split) BalancedWeights(classes int) []float32 {
	of := make([]int, classes)
	for i := range s.Len() {
		of[s.Label(i)]++
	}
	k := 0
	for _, n := range of {
		if n > 0 {
			k++
		}
	}
	w := make([]float32, classes)
	for c, n := range of {
		w[c] = 1
		if n > 0 {
			w[c] = float32(float64(s.Len()) / (float64(k) * float64(n)))
		}
	}
	return w
}

// checkWeights refuses weights that do not fit the classes.
func checkWeights(w []float32, classes int) error {
	if w == nil {
		return nil
	}
	if len(w) != classes {
		return fmt.Errorf("data: %d class weights for %d classes: give one for each, in their order", len(w), classes)
	}
	positive := false
	for _, v := range w {
		if !(v >= 0) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("data: a class weight is %g: want 0 or a positive number", v)
		}
		positive = positive || v > 0
	}
	if !positive {
		return fmt.Errorf("data: all class weights are 0")
	}
	return nil
}

// balance fills order with the images of an epoch in which every class that has
// images is as likely at every place: a class is drawn, then one of its images,
// with replacement, as PyTorch's WeightedRandomSampler with the reciprocals of
// the classes' sizes. An epoch has as many images as the split.
func (s *Split) balance(order []int, by [][]int, r *random.Rand) {
	for k := range order {
		of := by[r.IntN(len(by))]
		order[k] = of[r.IntN(len(of))]
	}
}

// byClass lists the images of each class that has any.
func (s *Split) byClass(classes int) (by [][]int) {
	all := make([][]int, classes)
	for i := range s.Len() {
		all[s.Label(i)] = append(all[s.Label(i)], i)
	}
	for _, of := range all {
		if len(of) > 0 {
			by = append(by, of)
		}
	}
	return by
}
