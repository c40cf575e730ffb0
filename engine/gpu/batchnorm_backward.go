package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

// bnGradArgs are bn_grad_args of batchnorm_backward.cu, field for field.
type bnGradArgs struct {
	x, dy, dx, gamma, beta, mean, second, part, coef cuda.Ptr
	m, rows                                          uint64
	chunk                                            uint32
	width, tile, lines, copies, channels, eval, act  int32
	eps                                              float32
}

// bnGradFinishArgs are bn_grad_finish_args, field for field.
type bnGradFinishArgs struct {
	in                  bnGradArgs
	dgamma, dbeta, coef cuda.Ptr
	blocks, row, tail   int32
}

// bnInputs says which inputs of a gradient are γ, β, the mean and r or, with
// frozen statistics, the variance; and, unless it is 0, what won a pool's windows.
type bnInputs struct {
	gamma, beta, mean, second int
	kept                      int
	eval                      bool
	eps                       float32
}

// lowerNormalizeBackward lowers the gradients: a pass that sums, a small launch
// that ends the sums, and a pass that writes dx. With frozen statistics the
// first pass writes dx.
func (b *Backend) lowerNormalizeBackward(x engine.Spec, f engine.Act, w *engine.Window, at bnInputs) (lowering, error) {
	pool, err := bnPool(w)
	if err != nil {
		return lowering{}, err
	}
	g, err := b.bnGradient(x, f, pool, at)
	if err != nil {
		return lowering{}, err
	}
	return lowering{ws: g.ws, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		if err := g.sums(in, out[0], out[1], out[2], ws); err != nil || at.eval {
			return err
		}
		return g.dx()
	}}, nil
}

// A bnGradient is the launches of a gradient.
type bnGradient struct {
	// sums computes dγ, dβ and, behind the partial sums in ws, the coefficients that dx needs
	// (args.coef). With frozen statistics it writes dx, too.
	sums func(in []cuda.Ptr, dx, dgamma, dbeta, ws cuda.Ptr) error
	dx   func() error // of what sums was given
	args *bnGradFinishArgs
	ws   int // bytes of scratch memory
}

// bnGradient prepares the launches for x.
func (b *Backend) bnGradient(x engine.Spec, f engine.Act, pool *engine.Window, at bnInputs) (*bnGradient, error) {
	finish, err := b.function("batchnorm_backward", "bn_grad_finish", actDefines(f, bnDefines(x)...)...)
	if err != nil {
		return nil, err
	}
	c := x.Shape[3]
	fa := &bnGradFinishArgs{in: bnGradArgs{m: uint64(x.Len() / c), channels: int32(c), act: int32(f.Fn), eps: at.eps}}
	if at.eval {
		fa.in.eval = 1
	}
	var passes bnPasses
	if pool != nil {
		passes, err = b.bnPoolPasses(x, f, *pool, fa, at.kept > 0)
	} else {
		passes, err = b.bnPasses(x, f, fa)
	}
	if err != nil {
		return nil, err
	}
	part := (passes.part + 63) &^ 63
	g := &bnGradient{args: fa, ws: part + 4*2*c, dx: func() error { return passes.dx(&fa.in) }}
	g.sums = func(in []cuda.Ptr, dx, dgamma, dbeta, ws cuda.Ptr) error {
		a := &fa.in
		a.x, a.dy, a.dx, a.part, a.coef = in[0], in[1], dx, ws, ws+cuda.Ptr(part)
		a.gamma, a.beta, a.mean, a.second = in[at.gamma], in[at.beta], in[at.mean], in[at.second]
		fa.dgamma, fa.dbeta, fa.coef = dgamma, dbeta, a.coef
		kept := cuda.Ptr(0)
		if at.kept > 0 {
			kept = in[at.kept]
		}
		if err := passes.sums(a, kept); err != nil {
			return err
		}
		return launch(b, finish, bnFinishGrid(c), [3]int{bnThreads, 1, 1}, 0, fa)
	}
	return g, nil
}

// bnPasses are the two passes over x and dy, the first with what won a pool's
// windows, and the bytes of its partial sums.
type bnPasses struct {
	sums func(a *bnGradArgs, kept cuda.Ptr) error
	dx   func(a *bnGradArgs) error
	part int
}

// bnPasses prepares the passes without a pool, and what fa says of the grid.
func (b *Backend) bnPasses(x engine.Spec, f engine.Act, fa *bnGradFinishArgs) (bnPasses, error) {
	sums, err := b.function("batchnorm_backward", "bn_grad", actDefines(f, bnDefines(x)...)...)
	if err != nil {
		return bnPasses{}, err
	}
	dx, err := b.function("batchnorm_backward", "bn_dx", actDefines(f, bnDefines(x)...)...)
	if err != nil {
		return bnPasses{}, err
	}
	g, w := b.bnGridOf(x, bnSums), b.bnGridOf(x, bnGradOfX)
	da := new(bnGradArgs) // of dx, whose blocks are smaller
	a := &fa.in
	a.rows, a.chunk, a.width, a.tile, a.lines, a.copies = g.rows, g.chunk, g.width, g.tile, g.lines, g.copies
	fa.blocks, fa.row = int32(g.blocks), int32(g.row())
	fa.tail = int32(a.m - g.rows*uint64(g.copies))
	return bnPasses{part: g.partBytes(),
		sums: func(a *bnGradArgs, _ cuda.Ptr) error { return launch(b, sums, g.grid(), g.block(), 0, a) },
		dx: func(a *bnGradArgs) error {
			*da = *a
			da.chunk, da.tile, da.lines = w.chunk, w.tile, w.lines
			return launch(b, dx, w.grid(), w.block(), 0, da)
		},
	}, nil
}

// bnPoolPasses prepares the passes through a pool, whose winners may have been kept.
func (b *Backend) bnPoolPasses(x engine.Spec, f engine.Act, w engine.Window, fa *bnGradFinishArgs, kept bool) (bnPasses, error) {
	name := "bn_pool_grad"
	if kept {
		name = "bn_pool_grad_kept"
	}
	sums, err := b.bnPooling(x, w, f, name, false)
	if err != nil {
		return bnPasses{}, err
	}
	dx, err := b.bnPooling(x, w, f, "bn_pool_dx", true)
	if err != nil {
		return bnPasses{}, err
	}
	fa.in.copies = 1
	fa.blocks, fa.row = int32(sums.grid.blocks), int32(sums.grid.row())
	run := func(p *bnPooling, a *bnGradArgs, kept cuda.Ptr) error {
		t := &p.args
		t.act = int32(f.Fn)
		t.x, t.dy, t.out, t.kept, t.part, t.coef = a.x, a.dy, a.dx, kept, a.part, a.coef
		t.gamma, t.beta, t.mean, t.second = a.gamma, a.beta, a.mean, a.second
		return launch(b, p.function, p.grid.grid(), p.grid.block(), 0, t)
	}
	return bnPasses{part: sums.grid.partBytes(),
		sums: func(a *bnGradArgs, kept cuda.Ptr) error { return run(sums, a, kept) },
		dx:   func(a *bnGradArgs) error { return run(dx, a, 0) }}, nil
}
