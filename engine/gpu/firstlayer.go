package gpu

import (
	"fmt"
	"math"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// What firstlayer.cu defines.
const (
	firstWidth   = 32  // output pixels of a tile in a row
	firstThreads = 256 // forwards
)

// The arguments of firstlayer.cu, field for field.
type (
	firstLayerArgs struct {
		x, w, bias, residual, y                           cuda.Ptr
		n, h                                              int32
		width                                             int32 `c:"w_"`
		oh, ow, o, pad, tilesH, tilesW, tilesO, act, four int32
	}
	firstLayerWeightArgs struct {
		x, dy, dw, db                                               cuda.Ptr
		stride                                                      int64
		n, h                                                        int32
		width                                                       int32 `c:"w_"`
		oh, ow, o, pad, tilesH, tilesW, tilesO, tiles, blocks, four int32
	}
)

// A firstLayer is a variant of firstlayer.cu; columns are the output channels of
// a block.
type firstLayer struct{ channels, taps, stride, columns int }

// first returns the variant for g, if g is what the first layer of a net is: few
// input channels, a square kernel of 3, 5 or 7, the same steps and padding along
// both axes, no groups.
func (g convolution) first() (firstLayer, bool) {
	v := firstLayer{channels: g.c, taps: g.kh, stride: g.stride[0], columns: 32}
	if g.o <= 16 {
		v.columns = 16
	}
	fits := g.groups == 1 && g.dilation == engine.Both(1) && g.c <= 3 && g.o >= 8 && g.top == g.left &&
		g.kh == g.kw && (g.kh == 3 || g.kh == 5 || g.kh == 7) && g.stride == engine.Both(v.stride) && v.stride <= 2
	return v, fits && g.w*g.c <= 1<<30
}

func (v firstLayer) defines(d engine.DType) []string {
	return append([]string{fmt.Sprint("CHANNELS=", v.channels), fmt.Sprint("TAPS=", v.taps), fmt.Sprint("STRIDE=", v.stride),
		fmt.Sprint("COLUMNS=", v.columns)}, typeDefines(d)...)
}

// lowerFirstLayer lowers the convolution to one launch.
func (b *Backend) lowerFirstLayer(g convolution, v firstLayer, e epilogue) (lowering, error) {
	f, err := b.function("firstlayer", "first_layer", actDefines(e.act, v.defines(g.dtype)...)...)
	if err != nil {
		return lowering{}, err
	}
	rows := firstThreads / (v.columns / 8) / (firstWidth / 4)
	a := firstLayerArgs{n: int32(g.n), h: int32(g.h), width: int32(g.w), oh: int32(g.oh), ow: int32(g.ow), o: int32(g.o), pad: int32(g.top),
		tilesH: int32(ceilDiv(g.oh, rows)), tilesW: int32(ceilDiv(g.ow, firstWidth)), tilesO: int32(ceilDiv(g.o, v.columns)),
		act: int32(e.act.Fn), four: flag(g.o%4 == 0)}
	grid, err := oneGrid(int(a.tilesH)*int(a.tilesW)*int(a.tilesO), g.n)
	if err != nil {
		return lowering{}, err
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.w, a.bias, a.residual, a.y = in[0], in[1], place(in, e.bias), place(in, e.residual), out[0]
		return launch(b, f, grid, [3]int{firstThreads, 1, 1}, 0, &a)
	}}, nil
}

// lowerFirstLayerWeight lowers the gradients of weights and bias, with as many
// blocks as the card has room for.
func (b *Backend) lowerFirstLayerWeight(g convolution, v firstLayer, out []engine.Spec) (lowering, error) {
	resident := 4
	if v.taps == 7 {
		resident = 2
	}
	return b.cutFirstLayerWeight(g, v, ceilDiv(resident*b.multiprocessors(), ceilDiv(g.o, v.columns)), out)
}

// cutFirstLayerWeight lowers them to a launch in which at most so many blocks
// leave a partial result each, and one that adds these.
func (b *Backend) cutFirstLayerWeight(g convolution, v firstLayer, most int, out []engine.Spec) (lowering, error) {
	f, err := b.function("firstlayer", "first_layer_weight", v.defines(g.dtype)...)
	if err != nil {
		return lowering{}, err
	}
	rows := 128 / v.columns
	a := firstLayerWeightArgs{n: int32(g.n), h: int32(g.h), width: int32(g.w), oh: int32(g.oh), ow: int32(g.ow), o: int32(g.o), pad: int32(g.top),
		tilesH: int32(ceilDiv(g.oh, rows)), tilesW: int32(ceilDiv(g.ow, firstWidth)), tilesO: int32(ceilDiv(g.o, v.columns)),
		four: flag(g.o%4 == 0)}
	tiles := int(a.tilesH) * int(a.tilesW)
	if _, err := oneGrid(tiles, g.n); err != nil {
		return lowering{}, err
	}
	tiles *= g.n
	blocks := max(min(most, tiles), 1)
	a.tiles, a.blocks = int32(tiles), int32(blocks)
	grid, block := [3]int{blocks * int(a.tilesO), 1, 1}, [3]int{rows * v.taps * v.columns / 4, 1, 1}
	return b.weightLowering(cut{splits: blocks}, out, func(x, dy, dw, db cuda.Ptr, stride int) error {
		a.x, a.dy, a.dw, a.db, a.stride = x, dy, dw, db, int64(stride)
		return launch(b, f, grid, block, 0, &a)
	})
}

// oneGrid returns a grid that counts tiles of n pictures in one dimension.
func oneGrid(tiles, n int) ([3]int, error) {
	if tiles > math.MaxInt32/max(n, 1) {
		return [3]int{}, fmt.Errorf("%d tiles of %d pictures are beyond a grid: %w", tiles, n, engine.ErrUnsupported)
	}
	return [3]int{tiles * n, 1, 1}, nil
}

func flag(on bool) int32 {
	if on {
		return 1
	}
	return 0
}
