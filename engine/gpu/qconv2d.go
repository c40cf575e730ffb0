package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerQConv2D, engine.QConv2D{})
	lowers((*Backend).lowerQLinear, engine.QLinear{})
}

// The arguments of qconv2d.cu, field for field.
type (
	qconv2DArgs struct {
		x, w, packed, bias, m, y                                                     cuda.Ptr
		n                                                                            int64
		h, wd, c, oh, ow, o, kh, kw, sh, sw, dh, dw, top, left, cg, og, zero, floats int32
		out                                                                          codes
	}
	qpackArgs struct {
		w, packed   cuda.Ptr
		o, taps, cg int32
	}
)

func (b *Backend) lowerQConv2D(o engine.Op, in, out []engine.Spec) (lowering, error) {
	op := o.(engine.QConv2D)
	if op.Sum.Given() {
		return lowering{}, fmt.Errorf("a sum behind a convolution of codes: %w", engine.ErrUnsupported)
	}
	c := op.Conv2D.Complete()
	i := func(n int) int32 { return int32(n) }
	x, w, y := in[0].Shape, in[1].Shape, out[0].Shape
	a := &qconv2DArgs{n: int64(out[0].Len()), h: i(x[1]), wd: i(x[2]), c: i(x[3]), oh: i(y[1]), ow: i(y[2]), o: i(y[3]), kh: i(w[0]), kw: i(w[1]),
		sh: i(c.Stride[0]), sw: i(c.Stride[1]), dh: i(c.Dilation[0]), dw: i(c.Dilation[1]), top: i(c.Pad[0]), left: i(c.Pad[1]),
		cg: i(w[2]), og: i(y[3] / c.Groups), zero: op.X.Zero, out: codesOf(op.Y)}
	if op.Float {
		a.floats = 1
	}
	return b.qproduct(a)
}

func (b *Backend) lowerQLinear(o engine.Op, in, out []engine.Spec) (lowering, error) {
	op := o.(engine.QLinear)
	c, outs := int32(in[1].Shape[0]), int32(in[1].Shape[1])
	a := &qconv2DArgs{n: int64(out[0].Len()), h: 1, wd: 1, c: c, oh: 1, ow: 1, o: outs, kh: 1, kw: 1, sh: 1, sw: 1, dh: 1, dw: 1,
		cg: c, og: outs, zero: op.X.Zero, out: codesOf(op.Y)}
	if op.Float {
		a.floats = 1
	}
	return b.qproduct(a)
}

// qproduct makes the launches of a convolution of codes: with the packing of weights,
// where channels come in fours.
func (b *Backend) qproduct(a *qconv2DArgs) (lowering, error) {
	taps := a.kh * a.kw
	four := a.cg%4 == 0
	var defines []string
	if four {
		defines = []string{"-DFOUR"}
	}
	f, err := b.function("qconv2d", "qconv2d", defines...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.items(int(a.n)), [3]int{elementThreads, 1, 1}
	enqueue := func(in, out []cuda.Ptr, _, packed cuda.Ptr) error {
		a.x, a.w, a.bias, a.m, a.y, a.packed = in[0], in[1], in[2], in[3], out[0], packed
		return launch(b, f, grid, block, 0, a)
	}
	if !four {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error { return enqueue(in, out, 0, 0) }}, nil
	}
	pack, err := b.function("qconv2d", "qpack", defines...)
	p := &qpackArgs{o: a.o, taps: taps, cg: a.cg}
	once := &preparation{inputs: []int{1}, bytes: 4 * int(a.o) * int(taps) * int(a.cg/4+1), enqueue: enqueue}
	once.prepare = func(in []cuda.Ptr, kept cuda.Ptr) error {
		p.w, p.packed = in[1], kept
		return launch(b, pack, b.items(int(a.o*taps)), block, 0, p)
	}
	return lowering{ws: once.bytes, once: once, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := once.prepare(in, ws); err != nil {
			return err
		}
		return enqueue(in, out, 0, ws)
	}}, err
}
