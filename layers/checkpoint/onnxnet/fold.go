package onnxnet

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// fold computes a node all of whose inputs are constants. ok is false for an
// operator that is not folded.
func (f *folder) fold(n *onnxread.Node, opset int, in []*array) (out []*array, ok bool, err error) {
	if rule, known := folds[n.Op]; known {
		a, err := rule(f, n, opset, in)
		if err != nil {
			return nil, true, err
		}
		return []*array{a}, true, nil
	}
	if n.Op == "Split" {
		out, err = f.foldSplit(n, in)
		return out, true, err
	}
	if op, known := binaries[n.Op]; known && len(in) >= 1 {
		if err := needs(in, len(in)); err != nil {
			return nil, true, err
		}
		a := in[0]
		for _, b := range in[1:] {
			if a, err = f.binary(a, b, op); err != nil {
				return nil, true, err
			}
		}
		if n.Op == "Pow" && in[0].ints {
			a, err = f.cast(a, true)
		}
		return []*array{a}, true, err
	}
	if op, known := unaries[n.Op]; known && len(in) == 1 {
		if err := needs(in, 1); err != nil {
			return nil, true, err
		}
		a, err := f.unary(in[0], op)
		return []*array{a}, true, err
	}
	return nil, false, nil
}

// A rule folds an operator of one output.
type rule func(f *folder, n *onnxread.Node, opset int, in []*array) (*array, error)

var folds map[string]rule

func init() {
	folds = map[string]rule{
		"Constant": foldConstant, "ConstantOfShape": foldConstantOfShape, "Identity": foldIdentity, "Cast": foldCast, "CastLike": foldCastLike,
		"Shape": foldShape, "Size": foldSize, "Gather": foldGather, "Slice": foldSlice, "Concat": foldConcat, "Range": foldRange,
		"Reshape": foldReshape, "Flatten": foldFlatten, "Squeeze": foldSqueeze, "Unsqueeze": foldUnsqueeze, "Transpose": foldTranspose, "Expand": foldExpand, "Tile": foldTile,
		"Where": foldWhere, "ReduceProd": foldReduceProd, "DequantizeLinear": foldDequantize, "Clip": foldClip,
	}
}

// A binaryOp is an operator of two numbers; on integers it has a form of its own.
type binaryOp struct {
	float func(a, b float64) float64
	int   func(a, b int64) int64
	truth bool // the result is a truth value
}

func truth(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

var binaries = map[string]binaryOp{
	"Add": {float: func(a, b float64) float64 { return a + b }, int: func(a, b int64) int64 { return a + b }},
	"Sum": {float: func(a, b float64) float64 { return a + b }, int: func(a, b int64) int64 { return a + b }},
	"Sub": {float: func(a, b float64) float64 { return a - b }, int: func(a, b int64) int64 { return a - b }},
	"Mul": {float: func(a, b float64) float64 { return a * b }, int: func(a, b int64) int64 { return a * b }},
	"Div": {float: func(a, b float64) float64 { return a / b }, int: func(a, b int64) int64 {
		if b == 0 {
			return 0
		}
		return a / b
	}},
	"Mod": {float: math.Mod, int: func(a, b int64) int64 {
		if b == 0 {
			return 0
		}
		if r := a % b; r != 0 && (r < 0) != (b < 0) {
			return r + b
		}
		return a % b
	}},
	"Pow": {float: math.Pow, int: func(a, b int64) int64 { return int64(math.Pow(float64(a), float64(b))) }},
	"Max": {float: math.Max, int: func(a, b int64) int64 { return max(a, b) }},
	"Min": {float: math.Min, int: func(a, b int64) int64 { return min(a, b) }},
	"Equal": {truth: true, float: func(a, b float64) float64 { return float64(truth(a == b)) },
		int: func(a, b int64) int64 { return truth(a == b) }},
	"Less": {truth: true, float: func(a, b float64) float64 { return float64(truth(a < b)) },
		int: func(a, b int64) int64 { return truth(a < b) }},
	"Greater": {truth: true, float: func(a, b float64) float64 { return float64(truth(a > b)) },
		int: func(a, b int64) int64 { return truth(a > b) }},
}

var unaries = map[string]func(float64) float64{
	"Neg": func(a float64) float64 { return -a }, "Abs": math.Abs, "Sqrt": math.Sqrt, "Exp": math.Exp, "Log": math.Log,
	"Reciprocal": func(a float64) float64 { return 1 / a }, "Floor": math.Floor, "Ceil": math.Ceil, "Round": math.RoundToEven,
	"Erf": math.Erf, "Tanh": math.Tanh, "Sigmoid": func(a float64) float64 { return 1 / (1 + math.Exp(-a)) },
	"Relu": func(a float64) float64 { return math.Max(a, 0) }, "Not": func(a float64) float64 { return float64(truth(a == 0)) },
}

// binary applies an operator to two constants, which are broadcast.
func (f *folder) binary(a, b *array, op binaryOp) (*array, error) {
	shape, ok := broadcast(a.shape, b.shape)
	if !ok {
		return nil, fmt.Errorf("constants of the shapes %v and %v do not fit each other", a.shape, b.shape)
	}
	ints := a.ints && b.ints
	if a.splat && b.splat {
		if ints {
			return &array{shape: shape, ints: true, splat: true, i: []int64{op.int(a.i[0], b.i[0])}}, nil
		}
		return &array{shape: shape, ints: op.truth, splat: true, f: []float32{float32(op.float(a.at(0), b.at(0)))}, i: []int64{int64(op.float(a.at(0), b.at(0)))}}, nil
	}
	a, err := f.expand(a, shape)
	if err != nil {
		return nil, err
	}
	if b, err = f.expand(b, shape); err != nil {
		return nil, err
	}
	n := volume(shape)
	if err := f.take(n); err != nil {
		return nil, err
	}
	out := &array{shape: shape, ints: ints || op.truth}
	switch {
	case ints:
		out.i = make([]int64, n)
		for k := range out.i {
			out.i[k] = op.int(int64(a.int(k)), int64(b.int(k)))
		}
	case op.truth:
		out.i = make([]int64, n)
		for k := range out.i {
			out.i[k] = int64(op.float(a.at(k), b.at(k)))
		}
	default:
		out.f = make([]float32, n)
		for k := range out.f {
			out.f[k] = float32(op.float(a.at(k), b.at(k)))
		}
	}
	return out, nil
}

// unary applies a function to a constant.
func (f *folder) unary(a *array, op func(float64) float64) (*array, error) {
	n := a.len()
	if a.splat {
		n = 1
	}
	if err := f.take(n); err != nil {
		return nil, err
	}
	out := &array{shape: a.shape, ints: a.ints, splat: a.splat}
	if a.ints {
		out.i = make([]int64, n)
		for k := range out.i {
			out.i[k] = int64(op(a.at(k)))
		}
		return out, nil
	}
	out.f = make([]float32, n)
	for k := range out.f {
		out.f[k] = float32(op(a.at(k)))
	}
	return out, nil
}

// needs makes sure that a node has so many constants to work on.
func needs(in []*array, n int) error {
	if len(in) < n || slices.Contains(in[:n], nil) {
		return fmt.Errorf("it needs %d inputs", n)
	}
	return nil
}

func foldConstant(_ *folder, n *onnxread.Node, _ int, _ []*array) (*array, error) {
	for name, a := range n.Attrs {
		switch name {
		case "value":
			if a.Tensor != nil {
				return fromTensor(a.Tensor), nil
			}
		case "value_float":
			return &array{shape: []int{}, f: []float32{a.Float}}, nil
		case "value_int":
			return intArray([]int{}, a.Int), nil
		case "value_floats":
			return &array{shape: []int{len(a.Floats)}, f: a.Floats}, nil
		case "value_ints":
			return intArray([]int{len(a.Ints)}, a.Ints...), nil
		}
	}
	return nil, fmt.Errorf("its value is not a tensor of numbers")
}

func foldConstantOfShape(_ *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	shape, err := checkedShape(in[0].list())
	if err != nil {
		return nil, err
	}
	out := &array{shape: shape, splat: true, f: []float32{0}}
	if a := n.Attrs["value"]; a != nil && a.Tensor != nil {
		v := fromTensor(a.Tensor)
		if v.len() != 1 {
			return nil, fmt.Errorf("its value has %d elements, not one", v.len())
		}
		out.f, out.i, out.ints = v.f, v.i, v.ints
	}
	return out, nil
}

// checkedShape makes sure that a computed shape is possible.
func checkedShape(shape []int) ([]int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > onnxread.MaxElements || n > onnxread.MaxElements || len(shape) > 64 {
			return nil, fmt.Errorf("the impossible shape %v", shape)
		}
		n *= max(d, 1)
	}
	if n > onnxread.MaxElements {
		return nil, fmt.Errorf("the impossible shape %v", shape)
	}
	return shape, nil
}

func foldIdentity(_ *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	return in[0], nil
}

// The types that Cast tells apart: integers and floats.
func foldCast(f *folder, n *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 1); err != nil {
		return nil, err
	}
	switch n.Int("to", 0) {
	case 1, 10, 11, 16:
		return f.cast(in[0], false)
	case 2, 3, 4, 5, 6, 7, 9, 12, 13:
		return f.cast(in[0], true)
	}
	return nil, fmt.Errorf("a constant is cast to a type that is not read")
}

func foldCastLike(f *folder, _ *onnxread.Node, _ int, in []*array) (*array, error) {
	if err := needs(in, 2); err != nil {
		return nil, err
	}
	return f.cast(in[0], in[1].ints)
}

func (f *folder) cast(a *array, ints bool) (*array, error) {
	if a.ints == ints {
		return a, nil
	}
	n := a.len()
	if a.splat {
		n = 1
	}
	if err := f.take(n); err != nil {
		return nil, err
	}
	out := &array{shape: a.shape, ints: ints, splat: a.splat}
	if ints {
		out.i = make([]int64, n)
		for k := range out.i {
			out.i[k] = int64(a.at(k))
		}
		return out, nil
	}
	out.f = make([]float32, n)
	for k := range out.f {
		out.f[k] = float32(a.at(k))
	}
	return out, nil
}
