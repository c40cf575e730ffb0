package gpu

import (
	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/engine"
)

const layoutThreads = 256

// The arguments of layout.cu, field for field.
type (
	layoutTransposeArgs struct {
		x, y       cuda.Ptr
		rows, cols int32
		across     int32
	}
	epilogueArgs struct {
		x, y, bias, residual cuda.Ptr
		n                    int64
		channels, act        int32
	}
	columnSumArgs struct {
		x, part     cuda.Ptr
		rows, chunk int64
		cols        int32
		width       int32
		lines       int32
	}
	columnTotalArgs struct {
		part, y     cuda.Ptr
		parts, cols int32
	}
)

// typeDefines are the options of the variant for activations of type t.
func typeDefines(t engine.DType) []string {
	if t == engine.BFloat16 {
		return []string{"-DBF16"}
	}
	return nil
}

// transposer makes the kernel that takes a matrix [rows,cols] of type t to its
// transpose in float32.
func (b *Backend) transposer(rows, cols int, t engine.DType) (func(x, y cuda.Ptr) error, error) {
	f, err := b.function("layout", "transpose_back", typeDefines(t)...)
	if err != nil {
		return nil, err
	}
	across := ceilDiv(cols, 32)
	a := &layoutTransposeArgs{rows: int32(rows), cols: int32(cols), across: int32(across)}
	grid, block := [3]int{across * ceilDiv(rows, 32), 1, 1}, [3]int{layoutThreads, 1, 1}
	return func(x, y cuda.Ptr) error {
		a.x, a.y = x, y
		return launch(b, f, grid, block, 0, a)
	}, nil
}

// finisher makes the kernel that adds a bias and a residual, where there are
// such, to x, takes f of it and writes y. x is y itself, or float32.
func (b *Backend) finisher(x engine.DType, y engine.Spec, f engine.Act) (func(x, y, bias, residual cuda.Ptr) error, error) {
	n, c, name := y.Len(), y.Shape[len(y.Shape)-1], "epilogue"
	if x != y.DType {
		name = "narrow"
	}
	if c%4 == 0 {
		n, c, name = n/4, c/4, name+"4"
	}
	k, err := b.function("layout", name, actDefines(f, typeDefines(y.DType)...)...)
	if err != nil {
		return nil, err
	}
	a := &epilogueArgs{n: int64(n), channels: int32(c), act: int32(f.Fn)}
	grid, block := [3]int{b.resident(n, layoutThreads, 8), 1, 1}, [3]int{layoutThreads, 1, 1}
	return func(x, y, bias, residual cuda.Ptr) error {
		a.x, a.y, a.bias, a.residual = x, y, bias, residual
		return launch(b, k, grid, block, 0, a)
	}, nil
}

// summer makes the kernels that add up the rows of x [rows,cols], in the bytes
// of scratch memory that it returns.
func (b *Backend) summer(x engine.Spec, cols int) (bytes int, sum func(x, y, ws cuda.Ptr) error, err error) {
	f, err := b.function("layout", "column_sum", typeDefines(x.DType)...)
	if err != nil {
		return 0, nil, err
	}
	total, err := b.function("layout", "column_total", typeDefines(x.DType)...)
	if err != nil {
		return 0, nil, err
	}
	rows, width := x.Len()/cols, min(cols, layoutThreads)
	lines, tall := layoutThreads/width, ceilDiv(cols, width)
	chunk := max(ceilDiv(rows, max(8*b.multiprocessors()/tall, 1)), 16*lines)
	parts := ceilDiv(rows, chunk)
	a := &columnSumArgs{rows: int64(rows), chunk: int64(chunk), cols: int32(cols), width: int32(width), lines: int32(lines)}
	ta := &columnTotalArgs{parts: int32(parts), cols: int32(cols)}
	block := [3]int{layoutThreads, 1, 1}
	return 4 * parts * cols, func(x, y, ws cuda.Ptr) error {
		a.x, a.part = x, ws
		if err := launch(b, f, [3]int{parts, tall, 1}, block, 0, a); err != nil {
			return err
		}
		ta.part, ta.y = ws, y
		return launch(b, total, [3]int{ceilDiv(cols, 32), 1, 1}, block, 0, ta)
	}, nil
}
