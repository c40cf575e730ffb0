package engine

import "fmt"

// A Pair is a setting of the two axes of a picture: [height, width].
type Pair [2]int

// Both returns the pair that is the same along both axes.
func Both(n int) Pair { return Pair{n, n} }

// ones returns the pair with 1 for each 0.
func (p Pair) ones() Pair { return Pair{max(p[0], 1), max(p[1], 1)} }

// String writes a number where both are equal, as "3", else "1x7".
func (p Pair) String() string {
	if p[0] == p[1] {
		return fmt.Sprint(p[0])
	}
	return fmt.Sprintf("%dx%d", p[0], p[1])
}

// Pads says how many rows and columns are put round a picture: [top, left,
// bottom, right], ONNX's order.
type Pads [4]int

// Around returns the padding that is the same on all four sides.
func Around(n int) Pads { return Pads{n, n, n, n} }

// Height returns the extent of n rows with the padding.
func (p Pads) Height(n int) int { return p[0] + n + p[2] }

// Width returns the extent of n columns with the padding.
func (p Pads) Width(n int) int { return p[1] + n + p[3] }

// negative reports whether any side is.
func (p Pads) negative() bool { return min(p[0], p[1], p[2], p[3]) < 0 }

// String writes a number where all sides are equal, as "1", else "0,0,1,1".
func (p Pads) String() string {
	if p == Around(p[0]) {
		return fmt.Sprint(p[0])
	}
	return fmt.Sprintf("%d,%d,%d,%d", p[0], p[1], p[2], p[3])
}
