package onnxnet

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// axesOf returns the axes of an operator, an attribute in old sets of operators
// and the second input in new ones, counted from the front of a tensor of so
// many axes; given is false where they are left out.
func axesOf(n *onnxread.Node, in []*array, rank int) (axes []int, given bool, err error) {
	axes = n.Ints("axes")
	if len(in) > 1 && in[1] != nil {
		axes = in[1].list()
	}
	if axes == nil {
		return nil, false, nil
	}
	axes = slices.Clone(axes)
	for i := range axes {
		if axes[i], err = axisOf(axes[i], rank); err != nil {
			return nil, true, err
		}
	}
	slices.Sort(axes)
	if len(slices.Compact(slices.Clone(axes))) != len(axes) {
		return nil, true, fmt.Errorf("an axis twice in %v", axes)
	}
	return axes, true, nil
}

// squeezed returns which axes Squeeze leaves.
func squeezed(n *onnxread.Node, in []*array, shape []int) (kept []int, err error) {
	axes, given, err := axesOf(n, in, len(shape))
	if err != nil {
		return nil, err
	}
	for i, d := range shape {
		drop := slices.Contains(axes, i) || !given && d == 1
		if drop && d != 1 {
			return nil, fmt.Errorf("axis %d of %v is not 1", i, shape)
		}
		if !drop {
			kept = append(kept, i)
		}
	}
	return kept, nil
}

func foldSqueeze(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	kept, err := squeezed(n, in, in[0].shape)
	if err != nil {
		return nil, err
	}
	shape := make([]int, len(kept))
	for i, k := range kept {
		shape[i] = in[0].shape[k]
	}
	return in[0].view(shape), nil
}

// unsqueezed returns where the axes of a tensor of so many go, -1 for new ones.
func unsqueezed(n *onnxread.Node, in []*array, rank int) ([]int, error) {
	count := len(n.Ints("axes"))
	if len(in) > 1 && in[1] != nil {
		count = in[1].len()
	}
	if count > 64 {
		return nil, fmt.Errorf("%d new axes", count)
	}
	axes, given, err := axesOf(n, in, rank+count)
	if err != nil {
		return nil, err
	}
	if !given {
		return nil, fmt.Errorf("it has no axes")
	}
	out := make([]int, rank+count)
	at := 0
	for i := range out {
		if slices.Contains(axes, i) {
			out[i] = -1
			continue
		}
		out[i] = at
		at++
	}
	return out, nil
}

func foldUnsqueeze(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	from, err := unsqueezed(n, in, len(in[0].shape))
	if err != nil {
		return nil, err
	}
	shape := make([]int, len(from))
	for i, k := range from {
		shape[i] = 1
		if k >= 0 {
			shape[i] = in[0].shape[k]
		}
	}
	return in[0].view(shape), nil
}

// permOf returns the permutation of a Transpose, the reverse if left out.
func permOf(n *onnxread.Node, rank int) ([]int, error) {
	perm := n.Ints("perm")
	if perm == nil {
		for i := range rank {
			perm = append(perm, rank-1-i)
		}
	}
	sorted := slices.Sorted(slices.Values(perm))
	for i, p := range sorted {
		if p != i || len(perm) != rank {
			return nil, fmt.Errorf("the permutation %v of %d axes", perm, rank)
		}
	}
	if len(perm) != rank {
		return nil, fmt.Errorf("the permutation %v of %d axes", perm, rank)
	}
	return perm, nil
}

func foldTranspose(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	perm, err := permOf(n, len(in[0].shape))
	if err != nil {
		return nil, err
	}
	return f.transpose(in[0], perm)
}
