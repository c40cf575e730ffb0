package engine

import (
	"errors"
	"testing"
)

// TestElementTypes checks what the operators make of element types.
func TestElementTypes(t *testing.T) {
	half := func(shape ...int) Spec { return Spec{Shape: shape, DType: BFloat16} }
	w, c, x := F32(3, 3, 4, 8), F32(4), half(2, 5, 5, 4)
	for _, s := range []struct {
		op   Op
		in   []Spec
		want []Spec // nil: refused
	}{
		{Conv2D{}, []Spec{x, w, F32(8)}, []Spec{half(2, 3, 3, 8)}},
		{Conv2D{}, []Spec{x, half(3, 3, 4, 8)}, nil},
		{Conv2D{}, []Spec{{Shape: []int{2, 5, 5, 4}, DType: Uint8}, w}, nil},
		{Conv2D{}, []Spec{x, w, half(8)}, nil},
		{Conv2D{Epilogue: Epilogue{Residual: true}}, []Spec{x, w, F32(2, 3, 3, 8)}, nil},
		{Conv2DBackwardData{X: x}, []Spec{half(2, 3, 3, 8), w}, []Spec{x}},
		{Conv2DBackwardData{X: x}, []Spec{F32(2, 3, 3, 8), w}, nil},
		{Conv2DBackwardWeight{W: w, Bias: true}, []Spec{x, half(2, 3, 3, 8)}, []Spec{w, F32(8)}},
		{BatchNorm{Train: true}, []Spec{x, c, c, c, c}, []Spec{x, c, c, c, c}},
		{BatchNorm{}, []Spec{x, half(4), c, c, c}, nil},
		{BatchNormBackward{}, []Spec{x, F32(2, 5, 5, 4), c, c, c}, nil},
		{BatchNormAct{BatchNorm: BatchNorm{Train: true}, Pool: &Window{Kernel: Both(2)}}, []Spec{x, c, c, c, c}, []Spec{half(2, 2, 2, 4), c, c, c, c}},
		{BatchNormActBackward{}, []Spec{x, x, c, c, c, c}, []Spec{x, c, c}},
		{LayerNorm{}, []Spec{x, c, c}, []Spec{x}},
		{LayerNorm{}, []Spec{x, half(4), c}, nil},
		{LayerNormBackward{}, []Spec{x, x, c}, []Spec{x, c, c}},
		{LayerNormBackward{}, []Spec{x, F32(2, 5, 5, 4), c}, nil},
		{GroupNorm{Groups: 2}, []Spec{x, c, c}, []Spec{x, F32(2, 2), F32(2, 2)}},
		{GroupNorm{Groups: 3}, []Spec{x, c, c}, nil},
		{GroupNormBackward{}, []Spec{x, x, c, F32(2, 2), F32(2, 2)}, []Spec{x, c, c}},
		{GroupNormBackward{}, []Spec{x, x, c, F32(2, 3), F32(2, 3)}, nil},
		{Activation{F: SiLU}, []Spec{x}, []Spec{x}},
		{Mul{}, []Spec{x, half(2, 4)}, []Spec{x}},
		{Mul{}, []Spec{x, F32(2, 4)}, nil},
		{Mul{}, []Spec{x, half(3, 4)}, nil},
		{MulBackward{}, []Spec{x, half(2, 5, 5, 1), x}, []Spec{x, half(2, 5, 5, 1)}},
		{MulBackward{}, []Spec{x, x, x}, nil},
		{Div{}, []Spec{x, F32(2, 5, 5, 4)}, nil},
		{Maximum{}, []Spec{x, x}, []Spec{x}},
		{ChosenBackward{}, []Spec{x, x, F32(2, 5, 5, 4)}, nil},
		{ScaleShift{Scale: true, Shift: true}, []Spec{x, c, c}, []Spec{x}},
		{ScaleShift{Scale: true}, []Spec{x, half(4)}, nil},
		{ScaleShift{}, []Spec{x}, nil},
		{ScaleShiftBackward{Shift: true}, []Spec{x, x}, []Spec{c}},
		{PReLU{}, []Spec{x, c}, []Spec{x}},
		{PReLU{}, []Spec{x, F32(3)}, nil},
		{PReLUBackward{}, []Spec{x, F32(1), x}, []Spec{x, F32(1)}},
		{MSE{}, []Spec{x, x}, []Spec{F32()}},
		{MSE{}, []Spec{x, F32(2, 5, 5, 4)}, nil},
		{MSEBackward{}, []Spec{x, x, F32()}, []Spec{x}},
		{Softmax{}, []Spec{x}, []Spec{x}},
		{SoftmaxBackward{}, []Spec{x, F32(2, 5, 5, 4)}, nil},
		{StochasticDepth{P: 0.5}, []Spec{x, DropoutCounter}, []Spec{x}},
		{StochasticDepth{P: 1}, []Spec{x, DropoutCounter}, nil},
		{GlobalAvgPool{}, []Spec{x}, []Spec{F32(2, 4)}},
		{GlobalAvgPoolBackward{X: x}, []Spec{F32(2, 4)}, []Spec{x}},
		{MaxPool2D{Square(2, 0, 0)}, []Spec{x}, []Spec{half(2, 2, 2, 4)}},
		{Pad2D{Pad: Pads{1, 0, 2, 3}}, []Spec{x}, []Spec{half(2, 8, 8, 4)}},
		{Pad2D{Pad: Around(5), Mode: PadReflect}, []Spec{x}, nil},
		{Pad2DBackward{Pad2D: Pad2D{Pad: Around(1)}, X: x}, []Spec{half(2, 7, 7, 4)}, []Spec{x}},
		{Pad2DBackward{Pad2D: Pad2D{Pad: Around(1)}, X: x}, []Spec{F32(2, 7, 7, 4)}, nil},
		{LocalResponseNorm{Size: 3, Alpha: 1, Beta: 0.75, K: 1}, []Spec{x}, []Spec{x}},
		{LocalResponseNorm{Size: 3, Alpha: 1, Beta: 0.75}, []Spec{x}, nil},
		{LocalResponseNormBackward{LocalResponseNorm{Size: 3, Alpha: 1, Beta: 0.75, K: 1}}, []Spec{x, x}, []Spec{x}},
		{LocalResponseNormBackward{LocalResponseNorm{Size: 3, Alpha: 1, Beta: 0.75, K: 1}}, []Spec{x, F32(2, 5, 5, 4)}, nil},
		{Concat{}, []Spec{x, half(2, 5, 5, 3)}, []Spec{half(2, 5, 5, 7)}},
		{Concat{}, []Spec{x, F32(2, 5, 5, 3)}, nil},
		{Slice{Start: 1, End: 3}, []Spec{x}, []Spec{half(2, 5, 5, 2)}},
		{SliceBackward{Start: 1, X: x}, []Spec{half(2, 5, 5, 2)}, []Spec{x}},
		{SliceBackward{Start: 1, X: x}, []Spec{F32(2, 5, 5, 2)}, nil},
		{ChannelShuffle{Groups: 2}, []Spec{x}, []Spec{x}},
		{ChannelShuffle{Groups: 3}, []Spec{x}, nil},
		{Flatten{}, []Spec{x}, []Spec{half(2, 100)}},
		{Reshape{Shape: []int{4, 50}}, []Spec{x}, []Spec{half(4, 50)}},
		{Reshape{Shape: []int{4, 51}}, []Spec{x}, nil},
		{Detach{}, []Spec{x}, []Spec{x}},
		{Detach{}, []Spec{x, x}, nil},
		{Linear{}, []Spec{half(2, 3), F32(3, 5), F32(5)}, []Spec{half(2, 5)}},
		{LinearBackwardWeight{}, []Spec{half(2, 3), half(2, 5)}, []Spec{F32(3, 5)}},
		{LinearBackwardWeight{}, []Spec{half(2, 3), F32(2, 5)}, nil},
		{Add{}, []Spec{x, F32(2, 5, 5, 4)}, nil},
		{Cast{To: Float32}, []Spec{x}, []Spec{F32(2, 5, 5, 4)}},
		{Cast{To: Uint8}, []Spec{x}, nil},
		{CrossEntropy{}, []Spec{half(2, 3), half(2, 3)}, nil},
	} {
		got, err := s.op.Infer(s.in)
		if s.want == nil {
			if !errors.Is(err, ErrShape) {
				t.Errorf("%s%v gives %v, %v; want ErrShape", OpName(s.op), s.in, got, err)
			}
			continue
		}
		if err != nil || len(got) != len(s.want) {
			t.Errorf("%s%v gives %v, %v", OpName(s.op), s.in, got, err)
			continue
		}
		for i := range got {
			if !got[i].Equal(s.want[i]) {
				t.Errorf("%s%v: output %d is %v, want %v", OpName(s.op), s.in, i, got[i], s.want[i])
			}
		}
	}
}
