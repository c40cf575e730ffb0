package main

import (
	"fmt"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint"
)

// A coverage counts pictures of which a center crop shows little, or that do not fill
// it.
type coverage struct {
	size, n      int
	large, small int
	most         [2]int // height and width of the largest
}

// newCoverage returns what counts the pictures of a model. Where they are scaled
// first, or not cropped, there is nothing to count.
func newCoverage(p checkpoint.Preprocess) *coverage {
	if p.Resize > 0 || p.Width > 0 {
		return &coverage{}
	}
	return &coverage{size: p.Size}
}

// add takes a picture of h×w pixels.
func (f *coverage) add(h, w int) {
	f.n++
	const share = 10 // one part of the area in so many
	switch {
	case f.size == 0:
	case min(h, w) < f.size:
		f.small++
	case h*w > share*f.size*f.size:
		if f.large++; h*w > f.most[0]*f.most[1] {
			f.most = [2]int{h, w}
		}
	}
}

// line reports them; it is "" if there are none.
func (f *coverage) line() string {
	var parts []string
	if f.large > 0 {
		parts = append(parts, fmt.Sprintf("shows less than a tenth of %d of %d pictures (the largest is %dx%d)", f.large, f.n, f.most[0], f.most[1]))
	}
	if f.small > 0 {
		parts = append(parts, fmt.Sprintf("puts a black frame round %d of %d pictures, which are smaller", f.small, f.n))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf("the center crop to %d %s: the model's file says to crop pictures as they are; if it was made for scaled ones, potstill convert --resize says so",
		f.size, strings.Join(parts, " and "))
}
