package data

import "github.com/potstill/potstill/engine/random"

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
