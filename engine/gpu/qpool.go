package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerQMaxPool, engine.QMaxPool2D{})
	lowers((*Backend).lowerQAvgPool, engine.QAvgPool2D{})
	lowers((*Backend).lowerQGlobalAvgPool, engine.QGlobalAvgPool{})
}

// qpoolArgs are the arguments of qpool.cu, field for field.
type qpoolArgs struct {
	x, y                                                              cuda.Ptr
	n                                                                 int64
	h, w, c, oh, ow, kh, kw, sh, sw, dh, dw, top, left, bottom, right int32
	exclude, zero                                                     int32
	m                                                                 float32
	out                                                               codes
}

// newQPool returns the arguments for windows over x.
func newQPool(win engine.Window, x, y engine.Spec) *qpoolArgs {
	win = win.Complete()
	i := func(n int) int32 { return int32(n) }
	_, h, w, c, _ := x.NHWC()
	a := &qpoolArgs{n: int64(y.Len()), h: i(h), w: i(w), c: i(c), oh: 1, ow: 1,
		kh: i(win.Kernel[0]), kw: i(win.Kernel[1]), sh: i(win.Stride[0]), sw: i(win.Stride[1]), dh: i(win.Dilation[0]), dw: i(win.Dilation[1]),
		top: i(win.Pad[0]), left: i(win.Pad[1]), bottom: i(win.Pad[2]), right: i(win.Pad[3])}
	if _, oh, ow, _, ok := y.NHWC(); ok {
		a.oh, a.ow = i(oh), i(ow)
	}
	return a
}

// mean sets what a mean of codes has.
func (a *qpoolArgs) mean(x, y engine.Codes) *qpoolArgs {
	a.zero, a.m, a.out = x.Zero, x.Scale/y.Scale, codesOf(y)
	return a
}

func (b *Backend) qpool(name string, a *qpoolArgs) (lowering, error) {
	return over(b, "qpool", name, int(a.n), a, func(in, out []cuda.Ptr) { a.x, a.y = in[0], out[0] })
}

func (b *Backend) lowerQMaxPool(op engine.Op, in, out []engine.Spec) (lowering, error) {
	return b.qpool("qmaxpool", newQPool(op.(engine.QMaxPool2D).Window, in[0], out[0]))
}

func (b *Backend) lowerQAvgPool(o engine.Op, in, out []engine.Spec) (lowering, error) {
	op := o.(engine.QAvgPool2D)
	a := newQPool(op.Pool.Window, in[0], out[0]).mean(op.X, op.Y)
	if op.Pool.ExcludePad {
		a.exclude = 1
	}
	return b.qpool("qavgpool", a)
}

func (b *Backend) lowerQGlobalAvgPool(o engine.Op, in, out []engine.Spec) (lowering, error) {
	op := o.(engine.QGlobalAvgPool)
	whole := engine.Window{Kernel: engine.Pair{in[0].Shape[1], in[0].Shape[2]}}
	return b.qpool("qavgpool", newQPool(whole, in[0], out[0]).mean(op.X, op.Y))
}
