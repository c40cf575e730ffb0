package bridge

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A layout is how a tensor of Gorgonia's lies in the engine.
type layout uint8

const (
	plain         layout = iota // the same
	image                       // NCHW here, NHWC there
	filter                      // OIHW here, HWIO there
	transposed                  // [O,I] here, [I,O] there
	channels                    // [1,C,1,1], [1,C] or [C] here, [C] there
	channelFilter               // the same here, [1,1,1,C] there
)

func (l layout) String() string {
	return [...]string{"data", "an image", "the filter of a convolution", "a transposed matrix", "a value a channel", "a factor a channel"}[l]
}

// usual returns the layout of a tensor whose use asks for none.
func usual(s tensor.Shape) layout {
	if len(s) == 4 {
		return image
	}
	return plain
}

// spec returns the spec that a tensor of Gorgonia's shape s has in the engine.
func (l layout) spec(s tensor.Shape) engine.Spec {
	switch l {
	case image:
		return engine.F32(s[0], s[2], s[3], s[1])
	case filter:
		return engine.F32(s[2], s[3], s[1], s[0])
	case transposed:
		return engine.F32(s[1], s[0])
	case channels:
		return engine.F32(s.TotalSize())
	case channelFilter:
		return engine.F32(1, 1, 1, s.TotalSize())
	}
	return engine.F32(append([]int{}, s...)...)
}

// planes returns the tensor as n matrices [rows, cols] that transposing takes to
// the engine's layout; rows is 0 where nothing moves. A filter has no such form.
func (l layout) planes(s tensor.Shape) (n, rows, cols int) {
	switch l {
	case image:
		return s[0], s[1], s[2] * s[3]
	case transposed:
		return 1, s[0], s[1]
	}
	return 1, 0, 0
}

// toEngine copies src, in Gorgonia's order, to dst in the engine's.
func (l layout) toEngine(dst, src []float32, s tensor.Shape) {
	if l == filter {
		eachTap(s, func(here, there int) { dst[there] = src[here] })
		return
	}
	n, rows, cols := l.planes(s)
	transposeAll(dst, src, n, rows, cols)
}

// toGorgonia is the inverse of toEngine.
func (l layout) toGorgonia(dst, src []float32, s tensor.Shape) {
	if l == filter {
		eachTap(s, func(here, there int) { dst[here] = src[there] })
		return
	}
	n, rows, cols := l.planes(s)
	transposeAll(dst, src, n, cols, rows)
}

// eachTap calls f with the places of each weight in OIHW and HWIO.
func eachTap(s tensor.Shape, f func(oihw, hwio int)) {
	o, i, taps := s[0], s[1], s[2]*s[3]
	here := 0
	for a := range o {
		for b := range i {
			for t := range taps {
				f(here, (t*i+b)*o+a)
				here++
			}
		}
	}
}

// transposeAll transposes n matrices [rows, cols]; rows or cols of 0 copies.
func transposeAll(dst, src []float32, n, rows, cols int) {
	if rows == 0 || cols == 0 || rows == 1 || cols == 1 {
		copy(dst, src)
		return
	}
	for k := range n {
		s, d := src[k*rows*cols:][:rows*cols], dst[k*rows*cols:][:rows*cols]
		for r := range rows {
			row := s[r*cols : (r+1)*cols]
			for c, x := range row {
				d[c*rows+r] = x
			}
		}
	}
}

// denseOf checks that v is what the engine can read: a float32 tensor of the
// shape s that lies row by row in memory.
func denseOf(v G.Value, s tensor.Shape) ([]float32, error) {
	d, ok := v.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("its value is %T: bind a *tensor.Dense of shape %v", v, s)
	}
	switch {
	case d.Dtype() != tensor.Float32:
		return nil, fmt.Errorf("its value is %v: bind float32", d.Dtype())
	case !d.Shape().Eq(s):
		return nil, fmt.Errorf("its value is %v, the node %v", d.Shape(), s)
	case d.RequiresIterator() || !d.DataOrder().IsRowMajor() || d.DataOrder().IsTransposed():
		return nil, fmt.Errorf("its value is a view that does not lie row by row: bind its Materialize()")
	}
	data, ok := d.Data().([]float32)
	if !ok || len(data) != s.TotalSize() {
		return nil, fmt.Errorf("its value holds %d elements, the node %d", d.DataSize(), s.TotalSize())
	}
	return data, nil
}
