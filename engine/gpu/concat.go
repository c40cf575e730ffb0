package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerConcat, engine.Concat{}, engine.Slice{}, engine.SliceBackward{})
}

// stripArgs are the arguments of concat.cu, field for field.
type stripArgs struct {
	x, y                                    cuda.Ptr
	items                                   uint32
	xRow, xFirst, yRow, yFirst, count, from int32
	byRow                                   kernels.FastDiv
}

// A strip moves channels from the rows of one tensor to those of another.
type strip struct {
	f    *cuda.Function
	args stripArgs
	unit int // bytes that a thread moves
	rows int
	each int // units of a row that are written
}

// lowerConcat lowers the ops that move channels as they are.
func (b *Backend) lowerConcat(op engine.Op, in, out []engine.Spec) (lowering, error) {
	var strips []*strip // of each input
	add := func(x engine.Spec, xFirst, yFirst int, fill bool) error {
		s, err := b.newStrip(x, out[0], xFirst, yFirst, fill)
		strips = append(strips, s)
		return err
	}
	var err error
	switch op := op.(type) {
	case engine.Concat:
		first := 0
		for _, x := range in {
			if err = add(x, 0, first, false); err != nil {
				break
			}
			first += x.Shape[len(x.Shape)-1]
		}
	case engine.Slice:
		err = add(in[0], op.Start, 0, false)
	case engine.SliceBackward:
		err = add(in[0], 0, op.Start, true)
	default:
		err = unsupported(op)
	}
	if err != nil {
		return lowering{}, err
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		for k, s := range strips {
			if err := s.run(b, in[k], out[0]); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

// newStrip moves as many channels as x and y both have behind the given ones;
// with fill the other channels of y become zero.
func (b *Backend) newStrip(x, y engine.Spec, xFirst, yFirst int, fill bool) (*strip, error) {
	xRow, yRow := x.Shape[len(x.Shape)-1], y.Shape[len(y.Shape)-1]
	count, size := min(xRow-xFirst, yRow-yFirst), x.DType.Size()
	s := &strip{rows: x.Len() / xRow, unit: 16}
	for (xRow|xFirst|yRow|yFirst|count)*size%s.unit != 0 {
		s.unit /= 2
	}
	units := func(channels int) int32 { return int32(channels * size / s.unit) }
	s.args = stripArgs{xRow: units(xRow), xFirst: units(xFirst), yRow: units(yRow), yFirst: units(yFirst), count: units(count), from: units(yFirst)}
	s.each = int(s.args.count)
	if fill {
		s.args.from, s.each = 0, int(s.args.yRow)
	}
	if s.each > maxItems {
		return nil, fmt.Errorf("moving channels of %v: %w: more than %d", x, engine.ErrUnsupported, maxItems)
	}
	s.args.byRow = kernels.Divisor(s.each)
	var err error
	s.f, err = b.function("concat", "strip", fmt.Sprintf("-DUNIT=%d", s.unit))
	return s, err
}

// run launches the strip.
func (s *strip) run(b *Backend, x, y cuda.Ptr) error {
	return inParts(s.rows, s.each, func(first, rows int) error {
		a := &s.args
		a.x, a.y = x+cuda.Ptr(first*int(a.xRow)*s.unit), y+cuda.Ptr(first*int(a.yRow)*s.unit)
		a.items = uint32(rows * s.each)
		return launch(b, s.f, b.items(rows*s.each), [3]int{elementThreads, 1, 1}, 0, a)
	})
}
