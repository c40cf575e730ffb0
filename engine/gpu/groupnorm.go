package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers(func(b *Backend, op engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerGroupNorm(op.(engine.GroupNorm), in[0])
	}, engine.GroupNorm{})
	lowers(func(b *Backend, _ engine.Op, in, _ []engine.Spec) (lowering, error) {
		return b.lowerGroupNormBackward(in)
	}, engine.GroupNormBackward{})
}

// The arguments of groupnorm.cu, field for field.
type (
	groupNormArgs struct {
		x, dy, gamma, beta, mu, r, y, part, coef cuda.Ptr
		pixels, rows                             int64
		chunks, groups, each                     int32
		c                                        normColumns
	}
	groupNormFinishArgs struct {
		part, gamma, r, mu, out cuda.Ptr
		pixels, rows, parts     int64
		chunks, groups, each    int32
		eps                     float32
	}
)

// A groupNorm is what the kernels of an op have in common: passes over all
// pixels, and one over the groups of all images in between.
type groupNorm struct {
	b       *Backend
	defines []string
	args    groupNormArgs
	finish  groupNormFinishArgs
	grid    bnGrid // of one image
	all     [3]int // blocks of a pass
	groups  int    // of all images
	parts   int    // of all images
	partLen int    // floats of two results a part and channel
}

func (b *Backend) newGroupNorm(x engine.Spec, groups int, eps float32) (*groupNorm, error) {
	n, h, w, c, _ := x.NHWC()
	g, width := normGrid(x, h*w, 4*b.multiprocessors()/n)
	if n*max(g.blocks, groups) > maxItems || g.blocks*c > maxItems {
		return nil, fmt.Errorf("normalizing %v: %w: more than %d parts", x, engine.ErrUnsupported, maxItems)
	}
	p := &groupNorm{b: b, defines: widthDefines(x, width), grid: g, all: g.grid(), groups: n * groups, parts: n * g.blocks}
	p.all[0] = p.parts
	p.partLen = 2 * p.parts * c
	p.args = groupNormArgs{pixels: int64(h * w), rows: int64(g.chunk), chunks: int32(g.blocks), groups: int32(groups), each: int32(c / groups), c: g.columns()}
	p.finish = groupNormFinishArgs{pixels: int64(h * w), rows: int64(g.chunk), parts: int64(p.parts), chunks: int32(g.blocks),
		groups: int32(groups), each: int32(c / groups), eps: eps}
	return p, nil
}

// pass prepares a kernel over all pixels.
func (p *groupNorm) pass(name string) (func() error, error) {
	f, err := p.b.function("groupnorm", name, p.defines...)
	return func() error { return launch(p.b, f, p.all, p.grid.block(), 0, &p.args) }, err
}

// ofGroups prepares a kernel with a block for each group of an image, which has a
// thread for each partial result or the most threads.
func (p *groupNorm) ofGroups(name string) (func() error, error) {
	f, err := p.b.function("groupnorm", name, p.defines...)
	threads := 32
	for threads < normThreads && threads < int(p.finish.chunks*p.finish.each) {
		threads *= 2
	}
	return func() error {
		return launch(p.b, f, [3]int{p.groups, 1, 1}, [3]int{threads, 1, 1}, 0, &p.finish)
	}, err
}

// prepare makes three launches: passes over all pixels and, in between, one over
// the groups.
func (p *groupNorm) prepare(first, between, last string) (func() error, error) {
	one, err := p.pass(first)
	if err != nil {
		return nil, err
	}
	two, err := p.ofGroups(between)
	if err != nil {
		return nil, err
	}
	three, err := p.pass(last)
	return func() error {
		if err := one(); err != nil {
			return err
		}
		if err := two(); err != nil {
			return err
		}
		return three()
	}, err
}

func (b *Backend) lowerGroupNorm(op engine.GroupNorm, x engine.Spec) (lowering, error) {
	p, err := b.newGroupNorm(x, op.Groups, op.Eps)
	if err != nil {
		return lowering{}, err
	}
	run, err := p.prepare("group_norm_stats", "group_norm_finish", "group_norm")
	if err != nil {
		return lowering{}, err
	}
	a, f := &p.args, &p.finish
	return lowering{ws: 4 * p.partLen, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.gamma, a.beta, a.part = in[0], in[1], in[2], ws
		a.y, a.mu, a.r = out[0], out[1], out[2]
		f.part, f.mu, f.out = ws, out[1], out[2]
		return run()
	}}, nil
}

func (b *Backend) lowerGroupNormBackward(in []engine.Spec) (lowering, error) {
	x, c := in[0], in[0].Shape[3]
	p, err := b.newGroupNorm(x, in[3].Shape[1], 0)
	if err != nil {
		return lowering{}, err
	}
	run, err := p.prepare("group_norm_grad", "group_norm_coef", "group_norm_dx")
	if err != nil {
		return lowering{}, err
	}
	total, err := b.normTotal(c, p.parts)
	if err != nil {
		return lowering{}, err
	}
	a, f, part := &p.args, &p.finish, roundUp(4*p.partLen)
	return lowering{ws: part + 4*2*p.groups, enqueue: func(in, out []cuda.Ptr, ws cuda.Ptr) error {
		a.x, a.dy, a.gamma, a.mu, a.r = in[0], in[1], in[2], in[3], in[4]
		a.y, a.part, a.coef = out[0], ws, ws+cuda.Ptr(part)
		f.part, f.gamma, f.r, f.out = ws, in[2], in[4], a.coef
		if err := run(); err != nil {
			return err
		}
		return total(ws, out)
	}}, nil
}
