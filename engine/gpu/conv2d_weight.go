package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// conv2DWeightArgs are the arguments of conv2d_weight.cu, field for field.
type conv2DWeightArgs struct {
	x, dy, dw, db                                   cuda.Ptr
	strideDW, pixels                                int64
	h, w, c, oh, ow, o                              int32
	kh, kw, cg, og                                  int32
	sh, sw, top, left, dilationH, dilationW, groups int32
	tilesM, tilesN, panels                          int32
}

// weightLoad returns the products that make the gradient of the weights.
func (g convolution) weightLoad() load {
	l := load{m: g.kh * g.kw * g.cg, n: g.og, k: g.n * g.oh * g.ow, products: g.groups}
	l.results = l.m*g.o + g.o
	return l
}

// rankWeight returns the cuts of the gradient of the weights, the best by
// estimate first.
func (g convolution) rankWeight(b *Backend) []ranked {
	tiles := weightTiles
	if g.groups > 1 && g.og <= 16 {
		tiles = append(tiles[:len(tiles):len(tiles)], groupWeightTiles...)
	}
	return b.rank(g.weightLoad(), tiles)
}

// lowerWeight lowers the gradient of the weights in a given cut.
func (g convolution) lowerWeight(b *Backend, c cut, out []engine.Spec) (lowering, error) {
	f, err := b.function("conv2d_weight", "conv2d_backward_weight", c.defines(g.four(), g.dtype)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block, err := c.launch()
	if err != nil {
		return lowering{}, err
	}
	a := conv2DWeightArgs{
		pixels: int64(g.n) * int64(g.oh) * int64(g.ow),
		h:      int32(g.h), w: int32(g.w), c: int32(g.c), oh: int32(g.oh), ow: int32(g.ow), o: int32(g.o),
		kh: int32(g.kh), kw: int32(g.kw), cg: int32(g.cg), og: int32(g.og),
		sh: int32(g.stride[0]), sw: int32(g.stride[1]), top: int32(g.top), left: int32(g.left),
		dilationH: int32(g.dilation[0]), dilationW: int32(g.dilation[1]), groups: int32(g.groups),
		tilesM: int32(c.tilesM), tilesN: int32(c.tilesN), panels: int32(c.panels),
	}
	return b.weightLowering(c, out, func(x, dy, dw, db cuda.Ptr, stride int) error {
		a.x, a.dy, a.dw, a.db, a.strideDW = x, dy, dw, db, int64(stride)
		return launch(b, f, grid, block, 0, &a)
	})
}

// lowerConv2DBackwardWeight lowers the gradients of a convolution's weights and,
// if there is a second output, of its bias.
func (b *Backend) lowerConv2DBackwardWeight(op engine.Conv2DBackwardWeight, in, out []engine.Spec) (lowering, error) {
	if p, ok := matmulOf(op, in); ok {
		return b.lowerGemm(p, in, out)
	}
	g, err := convolutionOf(op.Conv2D, in[0], op.W, in[1])
	if err != nil {
		return lowering{}, err
	}
	if v, ok := g.first(); ok {
		return b.lowerFirstLayerWeight(g, v, out)
	}
	return g.lowerWeight(b, g.rankWeight(b)[0].cut, out)
}
