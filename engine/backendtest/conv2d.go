package backendtest

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

func init() { register(convCases) }

// A convShape is a row of the table of convolutions: x [n,h,w,c], a kernel
// kh×kw, o output channels.
type convShape struct {
	n, h, w, c, kh, kw, o int
	op                    engine.Conv2D
	bias                  bool
}

var convShapes = []convShape{
	// Dense.
	{1, 1, 1, 1, 1, 1, 1, engine.Conv2D{}, true},
	{3, 5, 7, 3, 3, 3, 16, engine.Conv2D{Stride: engine.Both(1), Pad: engine.Around(1)}, true},
	{1, 31, 33, 3, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1)}, false},
	{1, 33, 31, 3, 7, 7, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(3)}, false},
	{1, 5, 4, 44, 3, 3, 89, engine.Conv2D{Pad: engine.Around(1)}, true},
	{1, 4, 4, 256, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1)}, true},
	{3, 13, 11, 7, 3, 3, 5, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}, true},
	{1, 6, 5, 16, 3, 3, 1, engine.Conv2D{Pad: engine.Around(1)}, true},
	{1, 9, 10, 1, 5, 5, 3, engine.Conv2D{Pad: engine.Around(2)}, true},
	{2, 7, 5, 3, 3, 1, 4, engine.Conv2D{Pad: engine.Around(1)}, true},
	{2, 7, 5, 3, 1, 3, 4, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}, false},
	{1, 6, 6, 16, 4, 4, 17, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1)}, true},
	// Pointwise.
	{1, 33, 31, 16, 1, 1, 44, engine.Conv2D{}, true},
	{3, 5, 5, 121, 1, 1, 89, engine.Conv2D{}, true},
	{3, 9, 9, 16, 1, 1, 44, engine.Conv2D{Stride: engine.Both(2)}, false},
	{1, 3, 1, 89, 1, 1, 3, engine.Conv2D{}, false},
	{2, 4, 3, 5, 1, 1, 6, engine.Conv2D{Pad: engine.Around(1)}, true},
	// Stride beyond the kernel: some inputs are never read.
	{1, 11, 13, 3, 2, 2, 5, engine.Conv2D{Stride: engine.Both(3)}, true},
	{3, 10, 8, 16, 1, 1, 16, engine.Conv2D{Stride: engine.Both(3)}, true},
	{1, 9, 9, 4, 2, 2, 4, engine.Conv2D{Stride: engine.Both(4), Pad: engine.Around(1), Groups: 4}, true},
	// Dilation.
	{1, 9, 11, 3, 3, 3, 5, engine.Conv2D{Pad: engine.Around(2), Dilation: engine.Both(2)}, true},
	{2, 9, 8, 16, 3, 3, 17, engine.Conv2D{Stride: engine.Both(2), Dilation: engine.Both(2)}, false},
	{1, 10, 9, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(2), Dilation: engine.Both(2), Groups: 16}, true},
	// Kernels larger than the image, and padding beyond the kernel.
	{1, 2, 2, 3, 5, 5, 4, engine.Conv2D{Pad: engine.Around(2)}, true},
	{3, 1, 1, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1)}, true},
	{1, 2, 1, 16, 5, 5, 16, engine.Conv2D{Pad: engine.Around(2), Groups: 16}, true},
	{1, 3, 4, 3, 3, 3, 5, engine.Conv2D{Pad: engine.Around(3)}, true},
	// Groups.
	{1, 9, 7, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, true},
	{3, 7, 7, 44, 3, 3, 22, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, true},
	{2, 6, 5, 6, 3, 3, 10, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 2}, false},
	{1, 8, 5, 9, 3, 3, 15, engine.Conv2D{Pad: engine.Around(1), Groups: 3}, true},
	{1, 4, 4, 121, 3, 3, 121, engine.Conv2D{Pad: engine.Around(1), Groups: 11}, true},
	{2, 3, 5, 35, 1, 1, 21, engine.Conv2D{Groups: 7}, true},
	{1, 9, 8, 24, 3, 3, 24, engine.Conv2D{Pad: engine.Around(1), Groups: 6}, true},
	// Depthwise.
	{1, 31, 33, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 16}, true},
	{3, 7, 5, 3, 3, 3, 3, engine.Conv2D{Pad: engine.Around(1), Groups: 3}, true},
	{1, 8, 9, 44, 3, 3, 44, engine.Conv2D{Pad: engine.Around(1), Groups: 44}, true},
	{3, 5, 4, 89, 3, 3, 89, engine.Conv2D{Pad: engine.Around(1), Groups: 89}, false},
	{1, 9, 7, 121, 3, 3, 121, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 121}, true},
	{2, 7, 8, 12, 3, 3, 12, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 12}, true},
	{1, 8, 8, 32, 5, 5, 32, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(2), Groups: 32}, false},
	{2, 5, 6, 8, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 8}, true},
	{1, 4, 5, 256, 3, 3, 256, engine.Conv2D{Pad: engine.Around(1), Groups: 256}, true},
	{3, 13, 21, 20, 5, 5, 20, engine.Conv2D{Pad: engine.Around(2), Groups: 20}, true},
	{2, 9, 7, 35, 7, 7, 35, engine.Conv2D{Pad: engine.Around(3), Groups: 35}, true},
	{2, 15, 14, 17, 7, 7, 17, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(3), Groups: 17}, false},
	{2, 14, 19, 16, 5, 5, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{1, 2, 2, 1}, Groups: 16}, true},
	{1, 11, 12, 12, 5, 5, 12, engine.Conv2D{Stride: engine.Pair{3, 1}, Pad: engine.Pads{6, 1, 0, 3}, Groups: 12}, true},
	{1, 12, 17, 9, 4, 6, 9, engine.Conv2D{Stride: engine.Pair{1, 2}, Pad: engine.Pads{2, 7, 3, 0}, Groups: 9}, true},
	{2, 3, 2, 8, 7, 5, 8, engine.Conv2D{Stride: engine.Pair{2, 3}, Pad: engine.Around(4), Groups: 8}, false},
	{1, 6, 900, 5, 5, 5, 5, engine.Conv2D{Pad: engine.Around(2), Groups: 5}, true}, // rows that are too long to be copied
	{1, 5, 900, 5, 3, 3, 5, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(1), Groups: 5}, true},
	// Large kernels: more taps than one product of the CPU's has.
	{1, 12, 11, 20, 9, 9, 20, engine.Conv2D{Pad: engine.Around(4), Groups: 20}, true},
	{2, 10, 9, 17, 9, 9, 19, engine.Conv2D{Pad: engine.Around(4)}, true},
	{1, 13, 12, 18, 11, 11, 6, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Around(5)}, true},
	{1, 23, 22, 3, 11, 11, 16, engine.Conv2D{Stride: engine.Both(4), Pad: engine.Around(2)}, true}, // AlexNet's first
	{1, 12, 14, 16, 11, 11, 24, engine.Conv2D{Stride: engine.Pair{1, 2}, Pad: engine.Around(5), Groups: 4}, false},
	{1, 12, 13, 9, 11, 11, 9, engine.Conv2D{Stride: engine.Pair{2, 1}, Pad: engine.Around(5), Groups: 9}, true},
	{1, 4, 5, 17, 7, 13, 5, engine.Conv2D{Stride: engine.Pair{1, 3}, Pad: engine.Pads{3, 6, 3, 7}}, true},
	{1, 70, 5, 2, 67, 2, 3, engine.Conv2D{Pad: engine.Pads{3, 0, 0, 1}}, true}, // more rows than one product has taps
	// Kernels, strides, dilations and padding of two and four sides.
	{2, 9, 10, 16, 1, 7, 17, engine.Conv2D{Pad: engine.Pads{0, 3, 0, 3}}, true},
	{2, 10, 7, 17, 7, 1, 16, engine.Conv2D{Pad: engine.Pads{3, 0, 3, 0}}, false},
	{1, 9, 12, 12, 3, 5, 8, engine.Conv2D{Stride: engine.Pair{2, 1}, Dilation: engine.Pair{1, 2}, Pad: engine.Pads{1, 4, 1, 4}}, true},
	{1, 12, 9, 3, 5, 3, 9, engine.Conv2D{Stride: engine.Pair{1, 3}, Dilation: engine.Pair{2, 1}, Pad: engine.Pads{4, 0, 3, 1}}, true},
	{2, 8, 9, 3, 3, 3, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{0, 0, 1, 1}}, true}, // TensorFlow's "same"
	{2, 7, 9, 3, 3, 3, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{1, 0, 0, 1}}, true},
	{1, 9, 8, 3, 3, 3, 8, engine.Conv2D{Pad: engine.Pads{1, 2, 0, 3}}, true},
	{1, 9, 8, 3, 7, 7, 8, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{2, 3, 3, 2}}, false},
	{1, 9, 8, 3, 7, 7, 8, engine.Conv2D{Stride: engine.Pair{1, 2}, Pad: engine.Around(3)}, false},
	{1, 10, 9, 16, 3, 3, 24, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{0, 1, 1, 0}, Groups: 4}, true},
	{1, 7, 11, 20, 3, 3, 10, engine.Conv2D{Stride: engine.Pair{3, 2}, Dilation: engine.Pair{2, 3}, Pad: engine.Pads{2, 0, 1, 4}, Groups: 5}, true},
	{1, 9, 8, 16, 1, 1, 8, engine.Conv2D{Stride: engine.Pair{2, 1}, Pad: engine.Pads{0, 1, 2, 0}}, true},
	{2, 9, 10, 16, 3, 3, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{0, 0, 1, 1}, Groups: 16}, true},
	{2, 9, 10, 16, 3, 3, 16, engine.Conv2D{Stride: engine.Both(2), Pad: engine.Pads{1, 1, 2, 0}, Groups: 16}, true},
	{1, 9, 10, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Pads{2, 0, 0, 1}, Groups: 16}, true},
	{1, 9, 10, 17, 5, 3, 17, engine.Conv2D{Pad: engine.Pads{2, 1, 2, 1}, Groups: 17}, false},
	{1, 9, 10, 12, 3, 3, 12, engine.Conv2D{Stride: engine.Pair{1, 2}, Dilation: engine.Pair{2, 1}, Pad: engine.Pads{2, 1, 1, 2}, Groups: 12}, true},
	{1, 8, 11, 6, 1, 7, 12, engine.Conv2D{Stride: engine.Pair{2, 3}, Pad: engine.Pads{0, 3, 0, 2}, Groups: 6}, true},
	// More channels than there are zeros to point at, where none is needed.
	{2, 1, 1, 16500, 1, 1, 3, engine.Conv2D{}, true},
	{2, 1, 1, 3, 1, 1, 16500, engine.Conv2D{}, false},
}

// minimalShapes have enough pixels for minimal filtering, in tiles that fit and
// in tiles that hang over. They are large, and what they add to the shapes above
// are the paths of the CPU's kernels: an interpreted backend leaves them out.
var minimalShapes = []convShape{
	{2, 17, 19, 16, 3, 3, 24, engine.Conv2D{Pad: engine.Around(1)}, true},
	{8, 8, 8, 33, 3, 3, 20, engine.Conv2D{Pad: engine.Around(1)}, false},
	{33, 4, 4, 40, 3, 3, 72, engine.Conv2D{Pad: engine.Around(1)}, true},
	{3, 13, 14, 9, 3, 3, 17, engine.Conv2D{Pad: engine.Pads{0, 2, 1, 0}}, true},
	{1, 40, 38, 8, 3, 3, 130, engine.Conv2D{}, true},
	{19, 6, 5, 72, 3, 3, 70, engine.Conv2D{Pad: engine.Around(1)}, true},
	{2, 18, 17, 16, 3, 3, 16, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, true},
	{3, 15, 18, 24, 3, 3, 48, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, true},
	{2, 20, 13, 24, 3, 3, 24, engine.Conv2D{Pad: engine.Around(1), Groups: 6}, true},
	{4, 8, 8, 144, 3, 3, 144, engine.Conv2D{Pad: engine.Around(1), Groups: 2}, false},
}

const minimalReason = "it is large enough for the CPU's minimal filtering, which other kernels do not have"

func (s convShape) String() string {
	op := s.op.Complete()
	l := fmt.Sprintf("%dx%dx%dx%d_%dx%dx%d_s%vp%vd%vg%d", s.n, s.h, s.w, s.c, s.kh, s.kw, s.o, op.Stride, op.Pad, op.Dilation, op.Groups)
	if s.bias {
		l += "_bias"
	}
	return l
}

func convCases() (cases []testCase) {
	for _, s := range convShapes {
		cases = append(cases, s.cases()...)
	}
	for _, s := range minimalShapes {
		cases = append(cases, forCompiled(minimalReason, s.cases())...)
	}
	return cases
}

// cases runs a shape forwards, backwards to data and weight, and with each
// epilogue.
func (s convShape) cases() []testCase {
	x, w := randn(s.n, s.h, s.w, s.c), randn(s.kh, s.kw, s.c/max(s.op.Groups, 1), s.o)
	in := []input{x, w}
	out, err := s.op.Infer([]engine.Spec{x.Spec, w.Spec})
	if err != nil {
		panic(err) // a programmer's error in the table above
	}
	y := randn(out[0].Shape...)
	if s.bias {
		in = append(in, randn(s.o))
	}
	cases := []testCase{
		{label: s.String(), op: s.op, in: in},
		{label: s.String(), op: engine.Conv2DBackwardData{Conv2D: s.op, X: x.Spec}, in: []input{y, w}},
		{label: s.String(), op: engine.Conv2DBackwardWeight{Conv2D: s.op, W: w.Spec, Bias: s.bias}, in: []input{x, y}},
	}
	epilogues := []engine.Epilogue{{Act: engine.ReLU6}, {Residual: true, Act: engine.ReLU}, {Residual: true}}
	if s.o%3 > 0 { // another activation, on two shapes of three
		epilogues = append(epilogues, engine.Epilogue{Residual: s.o%3 == 1, Act: []engine.Act{engine.SiLU, engine.LeakyReLU(0.1)}[s.o%3-1]})
	}
	for _, e := range epilogues {
		op, fin := s.op, in[:len(in):len(in)]
		op.Epilogue = e
		label := s.String() + "_" + e.Act.String()
		if e.Residual {
			fin = append(fin, y)
			label += "_residual"
		}
		cases = append(cases, testCase{label: label, op: op, in: fin, fused: true})
	}
	return cases
}
