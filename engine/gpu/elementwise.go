package gpu

import (
	"fmt"

	"github.com/potstill/potstill/cuda"
	"github.com/potstill/potstill/cuda/kernels"
	"github.com/potstill/potstill/engine"
)

func init() {
	lowers((*Backend).lowerElementwise, engine.Add{}, engine.Fill{},
		engine.Cast{}, engine.Dropout{}, engine.Flatten{}, engine.FlattenBackward{})
}

// What the element-wise kernels are launched with: threads of a block, and the
// blocks of a multiprocessor, several times what it holds at once.
const (
	elementThreads = 256
	elementBlocks  = 32
)

// What elementwise.cu defines: inputs of one launch of add, and the tile of transpose.
const (
	addInputs     = 128
	transposeTile = 32
	transposeRows = 8
)

// The arguments of elementwise.cu, field for field.
type (
	add2Args struct {
		x0, x1, y cuda.Ptr
		n         int64
		w0, w1    float32
	}
	addArgs struct {
		x [addInputs]cuda.Ptr
		y cuda.Ptr
		n int64
		w [addInputs]float32
		k int32
	}
	fillArgs struct {
		y     cuda.Ptr
		n     int64
		value float32
	}
	transposeArgs struct {
		x, y         cuda.Ptr
		tiles        uint32
		rows, cols   int32
		across, down kernels.FastDiv
	}
	castArgs struct {
		x, y cuda.Ptr
		n    int64
	}
	dropoutArgs struct {
		x, counter, y     cuda.Ptr
		n                 int64
		stream, threshold uint32
		scale             float32
	}
)

// stored returns the macro that makes real the element type of s.
func stored(s engine.Spec) []string {
	if s.DType == engine.BFloat16 {
		return []string{"-DBF16"}
	}
	return nil
}

// vector returns how many elements of s are sixteen bytes.
func vector(s engine.Spec) int { return 16 / s.DType.Size() }

// elements returns the grid and block of a kernel that strides over n elements
// of s, sixteen bytes a thread.
func (b *Backend) elements(s engine.Spec) (grid, block [3]int) {
	n := ceilDiv(s.Len(), vector(s))
	return [3]int{b.resident(n, elementThreads, elementBlocks), 1, 1}, [3]int{elementThreads, 1, 1}
}

// lowerElementwise lowers the ops that work element by element, and Flatten.
func (b *Backend) lowerElementwise(op engine.Op, in, out []engine.Spec) (lowering, error) {
	switch op := op.(type) {
	case engine.Add:
		return b.lowerAdd(op, in)
	case engine.Fill:
		return b.lowerFill(op, out[0])
	case engine.Cast:
		return b.lowerCast(op, in[0])
	case engine.Dropout:
		return b.lowerDropout(op, in[0])
	case engine.Flatten:
		n, h, w, c, _ := in[0].NHWC()
		return b.lowerTranspose(in[0], n, h*w, c)
	case engine.FlattenBackward:
		n, h, w, c, _ := op.X.NHWC()
		return b.lowerTranspose(in[0], n, c, h*w)
	}
	return lowering{}, unsupported(op)
}

// lowerAdd lowers a sum of one or two inputs, which is the usual case, to a
// kernel of its own.
func (b *Backend) lowerAdd(op engine.Add, in []engine.Spec) (lowering, error) {
	if len(in) > 2 {
		return b.lowerAddMany(op, in)
	}
	f, err := b.function("elementwise", "add2", stored(in[0])...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(in[0])
	a := &add2Args{n: int64(in[0].Len()), w0: op.Weight(0)}
	if len(in) == 2 {
		a.w1 = op.Weight(1)
	}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x0, a.x1, a.y = in[0], 0, out[0]
		if len(in) == 2 {
			a.x1 = in[1]
		}
		return launch(b, f, grid, block, 0, a)
	}}, nil
}

// lowerAddMany adds up to addInputs inputs in a launch; each further launch adds
// its inputs to what those before have written.
func (b *Backend) lowerAddMany(op engine.Add, in []engine.Spec) (lowering, error) {
	f, err := b.function("elementwise", "add", stored(in[0])...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(in[0])
	a := &addArgs{n: int64(in[0].Len())}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.y = out[0]
		for at := 0; at < len(in); {
			a.k = 0
			if at > 0 {
				a.x[0], a.w[0], a.k = out[0], 1, 1
			}
			for ; at < len(in) && a.k < addInputs; at++ {
				a.x[a.k], a.w[a.k] = in[at], op.Weight(at)
				a.k++
			}
			if err := launch(b, f, grid, block, 0, a); err != nil {
				return err
			}
		}
		return nil
	}}, nil
}

func (b *Backend) lowerFill(op engine.Fill, y engine.Spec) (lowering, error) {
	f, err := b.function("elementwise", "fill", stored(y)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(y)
	a := &fillArgs{n: int64(y.Len()), value: op.Value}
	return lowering{enqueue: func(_, out []cuda.Ptr, _ cuda.Ptr) error {
		a.y = out[0]
		return launch(b, f, grid, block, 0, a)
	}}, nil
}

// lowerCast copies what has its type already.
func (b *Backend) lowerCast(op engine.Cast, x engine.Spec) (lowering, error) {
	if op.To == x.DType {
		return b.lowerCopy(x), nil
	}
	name := "cast_from"
	if op.To == engine.BFloat16 {
		name = "cast_to"
	}
	f, err := b.function("elementwise", name)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(engine.Spec{Shape: x.Shape, DType: engine.BFloat16})
	a := &castArgs{n: int64(x.Len())}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		return launch(b, f, grid, block, 0, a)
	}}, nil
}

// lowerCopy takes x to the same bytes.
func (b *Backend) lowerCopy(x engine.Spec) lowering {
	bytes := x.Bytes()
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		return b.stream.Copy(out[0], in[0], bytes)
	}}
}

func (b *Backend) lowerDropout(op engine.Dropout, x engine.Spec) (lowering, error) {
	f, err := b.function("elementwise", "dropout", stored(x)...)
	if err != nil {
		return lowering{}, err
	}
	grid, block := b.elements(x)
	a := &dropoutArgs{n: int64(x.Len()), stream: op.Stream, threshold: op.Threshold(), scale: float32(1 / (1 - float64(op.P)))}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.counter, a.y = in[0], in[1], out[0]
		return launch(b, f, grid, block, 0, a)
	}}, nil
}

// lowerTranspose takes n matrices [rows,cols] of x's elements to their
// transposes. A matrix of one row or column is its own: it is copied.
func (b *Backend) lowerTranspose(x engine.Spec, n, rows, cols int) (lowering, error) {
	if rows == 1 || cols == 1 {
		return b.lowerCopy(x), nil
	}
	f, err := b.function("elementwise", "transpose", stored(x)...)
	if err != nil {
		return lowering{}, err
	}
	across, down := ceilDiv(cols, transposeTile), ceilDiv(rows, transposeTile)
	tiles := n * across * down
	if tiles > maxItems {
		return lowering{}, fmt.Errorf("flattening %v: %w: more than %d tiles", x, engine.ErrUnsupported, maxItems)
	}
	a := &transposeArgs{tiles: uint32(tiles), rows: int32(rows), cols: int32(cols),
		across: kernels.Divisor(across), down: kernels.Divisor(down)}
	grid := [3]int{b.resident(tiles, 1, elementBlocks), 1, 1}
	return lowering{enqueue: func(in, out []cuda.Ptr, _ cuda.Ptr) error {
		a.x, a.y = in[0], out[0]
		return launch(b, f, grid, [3]int{transposeTile, transposeRows, 1}, 0, a)
	}}, nil
}
