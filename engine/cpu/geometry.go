package cpu

import (
	"fmt"
	"unsafe"

	"github.com/potstill/potstill/engine"
)

// A geometry holds the extents of a convolution.
type geometry struct {
	n, h, w, c     int // x
	oh, ow, o      int // y
	kh, kw         int
	stride, dil    engine.Pair
	pad            engine.Pads
	groups, cg, og int
	dtype          engine.DType // of x and y
}

func geometryOf(op engine.Conv2D, x, w, y engine.Spec) geometry {
	op = op.Complete()
	g := geometry{stride: op.Stride, dil: op.Dilation, pad: op.Pad, groups: op.Groups, dtype: x.DType}
	g.n, g.h, g.w, g.c, _ = x.NHWC()
	_, g.oh, g.ow, g.o, _ = y.NHWC()
	g.kh, g.kw = w.Shape[0], w.Shape[1]
	g.cg, g.og = g.c/g.groups, g.o/g.groups
	return g
}

// depthwise reports whether each channel has one kernel of its own.
func (g geometry) depthwise() bool { return g.groups > 1 && g.cg == 1 && g.og == 1 }

// rowwise reports whether a row of the kernel is contiguous in a padded x and
// worth being one tap: few channels, as in the first layer.
func (g geometry) rowwise() bool {
	return g.groups == 1 && g.dil[1] == 1 && g.c < 16 && g.kw > 1 && g.kw*g.c <= zerosFloats
}

// widenedDepthwise returns errWidened for bfloat16 where the kernels are in plain
// Go, or take the activation of a result that is rounded.
func (g geometry) widenedDepthwise(act engine.Act) error {
	if _, more := splitAct(act); g.dtype == engine.BFloat16 && (!compiled || more.f != 0) {
		return errWidened
	}
	return nil
}

// check refuses what the kernels cannot read: a tap that may lie outside of a
// picture has no more than zerosFloats zeros to point at.
func (g geometry) check() error {
	inside := g.kh == 1 && g.kw == 1 && g.pad == engine.Pads{} && g.stride == engine.Both(1)
	if !inside && max(g.cg, g.og) > zerosFloats {
		return fmt.Errorf("more than %d channels in a group: %w", zerosFloats, engine.ErrUnsupported)
	}
	if g.dtype == engine.BFloat16 && (!g.rowwise() && g.kh*g.kw > gemmTaps || g.window() > wideFloats) {
		return errWidened // the parts of the first would add up in y, which rounds
	}
	return nil
}

// window bounds the elements of x or dy that one pixel reads, with those between its taps.
func (g geometry) window() int {
	return ((g.kh-1)*g.dil[0] + 1) * ((g.kw-1)*g.dil[1] + 1) * max(g.cg, g.og)
}

// paddedFloats is the size of x with its padding around it, in words of four bytes.
func (g geometry) paddedFloats() int {
	return ceilDiv(g.n*g.pad.Height(g.h)*g.pad.Width(g.w)*g.c*g.dtype.Size(), 4)
}

// padded returns the geometry after padding.
func (g geometry) padded() geometry {
	g.h, g.w, g.pad = g.pad.Height(g.h), g.pad.Width(g.w), engine.Pads{}
	return g
}

// pushPad enqueues the copy of x into its padding.
func (g geometry) pushPad(q *queue, x, dst unsafe.Pointer) { g.pushPadOf(q, kPad.of(g.dtype), x, dst) }

func (g geometry) pushPadOf(q *queue, k kernelID, x, dst unsafe.Pointer) {
	push(q, k, g.n*g.pad.Height(g.h), padArgs{x: x, y: dst, n: int64(g.n), h: int64(g.h), w: int64(g.w), c: int64(g.c),
		top: int64(g.pad[0]), left: int64(g.pad[1]), bottom: int64(g.pad[2]), right: int64(g.pad[3])})
}
