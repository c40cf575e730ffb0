package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// The arguments of gemm.cu, field for field.
type (
	gemmArgs struct {
		x, w, bias, residual, y, part     cuda.Ptr
		m                                 int64
		n, k, tilesM, tilesN, panels, act int32
	}
	gemmWeightArgs struct {
		x, dy, dw, db                cuda.Ptr
		k, stride                    int64
		m, n, tilesM, tilesN, panels int32
	}
)

// loadOf returns the one product that p is.
func (p matmul) loadOf() load {
	l := load{m: p.shape.M, n: p.shape.N, k: p.shape.K, products: 1}
	l.results = l.m * l.n
	return l
}

// four reports whether all of p's operands and its result can be moved four
// elements at a time: the extents that are contiguous in memory allow it.
func (p matmul) four() bool {
	inner := p.shape.K
	if p.gradient {
		inner = p.shape.M
	}
	return inner%4 == 0 && p.shape.N%4 == 0
}

// rank returns the cuts of p, the best by estimate first.
func (p matmul) rank(b *Backend) []ranked {
	tiles := rowTiles
	if p.gradient {
		tiles = weightTiles
	}
	return b.rank(p.loadOf(), tiles)
}

// lowerGemm lowers a product of matrices in the cut that is best by estimate.
func (b *Backend) lowerGemm(p matmul, in, out []engine.Spec) (lowering, error) {
	return b.cutGemm(p, p.rank(b)[0].cut, in, out)
}

// cutGemm lowers a product in a given cut.
func (b *Backend) cutGemm(p matmul, c cut, in, out []engine.Spec) (lowering, error) {
	if p.gradient {
		return b.cutGemmWeight(p, c, in, out)
	}
	name := "gemm"
	if p.shape.TransB {
		name = "gemm_transposed"
	}
	d := in[0].DType
	f, err := b.function("gemm", name, actDefines(p.epilogue.act, c.defines(p.four(), d)...)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block, err := c.launch()
	if err != nil {
		return lowering{}, err
	}
	results := p.shape.M * p.shape.N
	a := gemmArgs{m: int64(p.shape.M), n: int32(p.shape.N), k: int32(p.shape.K), tilesM: int32(c.tilesM), tilesN: int32(c.tilesN),
		panels: int32(c.panels), act: int32(p.epilogue.act.Fn)}
	if c.splits == 1 {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			a.x, a.w, a.bias, a.residual, a.y = in[0], in[1], place(in, p.epilogue.bias), place(in, p.epilogue.residual), out[0]
			return launch(b, f, grid, block, 0, &a)
		}}, nil
	}
	sum, err := b.newSplitSum(c.splits, results, results, 0, p.shape.N, d, p.epilogue.act)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: 4 * results * c.splits, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.w, a.part = in[0], in[1], ws
		if err := launch(b, f, grid, block, 0, &a); err != nil {
			return err
		}
		return sum.enqueue(ws, place(in, p.epilogue.bias), place(in, p.epilogue.residual), out[0], 0)
	}}, nil
}

// cutGemmWeight lowers the gradient of a weight, and of a bias if there is a
// second output.
func (b *Backend) cutGemmWeight(p matmul, c cut, in, out []engine.Spec) (lowering, error) {
	f, err := b.function("gemm", "gemm_weight", c.defines(p.four(), in[0].DType)...)
	if err != nil {
		return lowering{}, err
	}
	a := gemmWeightArgs{k: int64(p.shape.K), m: int32(p.shape.M), n: int32(p.shape.N),
		tilesM: int32(c.tilesM), tilesN: int32(c.tilesN), panels: int32(c.panels)}
	grid, block, err := c.launch()
	if err != nil {
		return lowering{}, err
	}
	return b.weightLowering(c, out, func(x, dy, dw, db cuda.Ptr, stride int) error {
		a.x, a.dy, a.dw, a.db, a.stride = x, dy, dw, db, int64(stride)
		return launch(b, f, grid, block, 0, &a)
	})
}

// weightLowering makes the lowering of a gradient of weights from its first
// stage, which leaves the partial results of one split stride floats behind
// those of the one before: dw, and db behind it if there is a second output.
// With one split it writes to the outputs.
func (b *Backend) weightLowering(c cut, out []engine.Spec, first func(x, dy, dw, db cuda.Ptr, stride int) error) (lowering, error) {
	count, more := out[0].Len(), 0
	if len(out) > 1 {
		more = out[1].Len()
	}
	tail := func(out []cuda.Ptr) cuda.Ptr {
		if more == 0 {
			return 0
		}
		return out[1]
	}
	if c.splits == 1 {
		return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
			return first(in[0], in[1], out[0], tail(out), 0)
		}}, nil
	}
	stride := (count + more + 3) &^ 3
	sum, err := b.newSplitSum(c.splits, stride, count, more, 1, engine.Float32, engine.Identity)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: 4 * stride * c.splits, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		db := cuda.Ptr(0)
		if more > 0 {
			db = ws + cuda.Ptr(4*count)
		}
		if err := first(in[0], in[1], ws, db, stride); err != nil {
			return err
		}
		return sum.enqueue(ws, 0, 0, out[0], tail(out))
	}}, nil
}
