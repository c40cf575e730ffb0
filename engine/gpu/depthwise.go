package gpu

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

// What depthwise.cu and depthwise3x3.cu define.
const (
	depthwiseThreads  = 256
	depthwiseChannels = 32 // of a block of depthwise_weight
	depthwiseWarps    = 8  // of it
)

// isDepthwise reports whether each output channel of op sees one input channel
// only, of several: the shapes that the depthwise kernels are for. in holds the
// specs of x and w.
func isDepthwise(op engine.Conv2D, in []engine.Spec) bool {
	c, o := in[0].Shape[3], in[1].Shape[3]
	return max(op.Groups, 1) == c && (c > 1 || o == 1)
}

// A depthwiseShape is the geometry of a depthwise convolution, named as in
// engine.Conv2D; m is the channel multiplier o/c.
type depthwiseShape struct {
	n, h, w, c, oh, ow, o, kh, kw, m int
	stride, dilation                 engine.Pair
	top, left                        int          // padding
	dtype                            engine.DType // of x and y
}

func depthwiseOf(op engine.Conv2D, x, w, y engine.Spec) depthwiseShape {
	op = op.Complete()
	s := depthwiseShape{stride: op.Stride, dilation: op.Dilation, top: op.Pad[0], left: op.Pad[1], dtype: x.DType}
	s.n, s.h, s.w, s.c, _ = x.NHWC()
	s.kh, s.kw, s.o = w.Shape[0], w.Shape[1], w.Shape[3]
	s.oh, s.ow = y.Shape[1], y.Shape[2]
	s.m = s.o / s.c
	return s
}

// lanes returns how many channels a thread of the kernels takes: four lie next
// to each other where nothing breaks them up.
func (s depthwiseShape) lanes() int {
	if s.m == 1 && s.c%4 == 0 {
		return 4
	}
	return 1
}

// defines returns the macros of the variant for this shape.
func (s depthwiseShape) defines(lanes int) []string {
	d := []string{fmt.Sprint("-DLANES=", lanes)}
	if s.dtype == engine.BFloat16 {
		d = append(d, "-DBF16")
	}
	return d
}

// The arguments of depthwise.cu, field for field.
type (
	depthwiseGeometry struct {
		n, h, w, c, oh, ow, o, kh, kw, m        int32
		sh, sw, top, left, dilationH, dilationW int32
		each                                    uint32
		byLanes, byWidth, byM, bySH, bySW       kernels.FastDiv
	}
	depthwiseArgs struct {
		x, residual, w, bias, y cuda.Ptr
		g                       depthwiseGeometry
		act                     int32
	}
	depthwiseDataArgs struct {
		dy, w, dx cuda.Ptr
		g         depthwiseGeometry
	}
	depthwiseWeightArgs struct {
		x, dy, partial, dw, db, finished cuda.Ptr
		g                                depthwiseGeometry
		rows, chunk                      uint32
		taps, tiles, blocks              int32
		byOH, byBlocks, byTiles, byKW    kernels.FastDiv
	}
)

// geometry returns what the kernels are told of s, and the launch of kernels
// that make pictures of h·w pixels with c channels each.
func (s depthwiseShape) geometry(h, w, c, lanes int) (g depthwiseGeometry, grid, block [3]int, err error) {
	each := h * w * c / lanes
	if each > math.MaxInt32 || s.n*s.oh > math.MaxInt32 {
		return g, grid, block, fmt.Errorf("depthwise convolution of %d pictures of %dx%dx%d, beyond 2^31 elements or rows: %w", s.n, h, w, c, engine.ErrUnsupported)
	}
	g = depthwiseGeometry{
		n: int32(s.n), h: int32(s.h), w: int32(s.w), c: int32(s.c), oh: int32(s.oh), ow: int32(s.ow), o: int32(s.o),
		kh: int32(s.kh), kw: int32(s.kw), m: int32(s.m), sh: int32(s.stride[0]), sw: int32(s.stride[1]),
		top: int32(s.top), left: int32(s.left), dilationH: int32(s.dilation[0]), dilationW: int32(s.dilation[1]),
		each:    uint32(each),
		byLanes: kernels.Divisor(c / lanes), byWidth: kernels.Divisor(w),
		byM: kernels.Divisor(s.m), bySH: kernels.Divisor(s.stride[0]), bySW: kernels.Divisor(s.stride[1]),
	}
	threads := min(ceilDiv(each, 32)*32, depthwiseThreads)
	return g, [3]int{ceilDiv(each, threads), min(s.n, math.MaxUint16), 1}, [3]int{threads, 1, 1}, nil
}

// lowerDepthwise lowers the convolution with its epilogue to one launch.
func (b *Backend) lowerDepthwise(op engine.Conv2D, in, out []engine.Spec) (lowering, error) {
	s := depthwiseOf(op, in[0], in[1], out[0])
	e := op.Epilogue
	// The bias and the residual, zero where there is none.
	rest := func(p []cuda.Ptr) (bias, residual cuda.Ptr) {
		p = p[2:]
		if e.Residual {
			residual, p = p[len(p)-1], p[:len(p)-1]
		}
		if len(p) == 1 {
			bias = p[0]
		}
		return bias, residual
	}
	if m, ok := b.planMarch(s, b.costForward(s)); ok {
		return b.lowerDepthwise3x3(s, m, e.Act, rest)
	}
	lanes := s.lanes()
	g, grid, block, err := s.geometry(s.oh, s.ow, s.o, lanes)
	if err != nil {
		return lowering{}, err
	}
	f, err := b.function("depthwise", "depthwise", actDefines(e.Act, s.defines(lanes)...)...)
	if err != nil {
		return lowering{}, err
	}
	a := depthwiseArgs{g: g, act: int32(e.Act.Fn)}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.w, a.y = in[0], in[1], out[0]
		a.bias, a.residual = rest(in)
		return launch(b, f, grid, block, 0, &a)
	}}, nil
}

// lowerDepthwiseBackwardData lowers the gradient for x to one launch.
func (b *Backend) lowerDepthwiseBackwardData(op engine.Conv2DBackwardData, in, out []engine.Spec) (lowering, error) {
	s := depthwiseOf(op.Conv2D, op.X, in[1], in[0])
	s.dtype = in[0].DType
	if m, ok := b.planMarch(s, b.costForward(s)); ok {
		return b.lowerDepthwise3x3Data(s, m)
	}
	lanes := s.lanes()
	g, grid, block, err := s.geometry(s.h, s.w, s.c, lanes)
	if err != nil {
		return lowering{}, err
	}
	f, err := b.function("depthwise", "depthwise_data", s.defines(lanes)...)
	if err != nil {
		return lowering{}, err
	}
	a := depthwiseDataArgs{g: g}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.dy, a.w, a.dx = in[0], in[1], out[0]
		return launch(b, f, grid, block, 0, &a)
	}}, nil
}

// lowerDepthwiseBackwardWeight lowers the gradients for w and the bias to one
// launch, whose last blocks end the sums in a fixed order.
func (b *Backend) lowerDepthwiseBackwardWeight(op engine.Conv2DBackwardWeight, in, out []engine.Spec) (lowering, error) {
	s := depthwiseOf(op.Conv2D, in[0], op.W, in[1])
	if m, ok := b.planMarch(s, b.costWeight(s)); ok {
		return b.lowerDepthwise3x3Weight(s, m)
	}
	g, _, _, err := s.geometry(s.oh, s.ow, s.o, 1)
	if err != nil {
		return lowering{}, err
	}
	f, err := b.function("depthwise", "depthwise_weight", s.defines(1)...)
	if err != nil {
		return lowering{}, err
	}
	taps, tiles, rows := s.kh*s.kw, ceilDiv(s.o, depthwiseChannels), s.n*s.oh
	if op.Bias {
		taps++
	}
	// Blocks for every multiprocessor eight times, but no less than a row a warp.
	blocks := min(ceilDiv(8*b.device.Multiprocessors, taps*tiles), ceilDiv(rows, depthwiseWarps))
	chunk := max(ceilDiv(rows, max(blocks, 1)), 1)
	blocks = max(ceilDiv(rows, chunk), 1)
	a := depthwiseWeightArgs{g: g, rows: uint32(rows), chunk: uint32(chunk), taps: int32(taps), tiles: int32(tiles), blocks: int32(blocks),
		byOH: kernels.Divisor(s.oh), byBlocks: kernels.Divisor(blocks), byTiles: kernels.Divisor(tiles), byKW: kernels.Divisor(s.kw)}
	ws := 0
	if blocks > 1 {
		ws = 4 * taps * tiles * blocks * depthwiseChannels
		if a.finished, err = b.counters(taps * tiles); err != nil {
			return lowering{}, err
		}
	}
	grid := [3]int{taps * tiles * blocks, 1, 1}
	return lowering{ws: ws, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.dy, a.partial, a.dw = in[0], in[1], ws, out[0]
		if op.Bias {
			a.db = out[1]
		}
		return launch(b, f, grid, [3]int{depthwiseThreads, 1, 1}, 0, &a)
	}}, nil
}
