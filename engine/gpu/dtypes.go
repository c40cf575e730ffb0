package gpu

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// check makes sure that op takes these inputs to these outputs: shapes by the
// op's own rule, element types by that of this package.
//
// Activations and their gradients may be bfloat16, all of an op's alike; what
// an op makes of them then is bfloat16 too, but GlobalAvgPool makes float32.
// Everything else (weights, vectors, gradients of parameters, losses) is of the
// type that the op has it in.
func check(op engine.Op, in, out []engine.Spec) error {
	actIn, actOut, mixed := activations(op, len(in))
	plainIn, plainOut := in, out
	if mixed && hasBFloat16(in, out) {
		var err error
		if plainIn, err = asFloat32(op, "input", in, actIn); err != nil {
			return err
		}
		if plainOut, err = asFloat32(op, "output", out, actOut); err != nil {
			return err
		}
		op = float32Op(op)
	}
	want, err := op.Infer(plainIn)
	if err != nil {
		return err
	}
	if len(out) != len(want) {
		return fmt.Errorf("%w: %s has %d outputs, %d given", engine.ErrShape, engine.OpName(op), len(want), len(out))
	}
	for i := range want {
		if !want[i].Equal(plainOut[i]) {
			return fmt.Errorf("%w: output %d of %s is %v, not %v", engine.ErrShape, i, engine.OpName(op), want[i], plainOut[i])
		}
	}
	for i, s := range plainIn {
		counter := s.DType == engine.Uint32 && engine.OpName(op) == "Dropout"
		if mixed && s.DType != engine.Float32 && !counter {
			return fmt.Errorf("%w: input %d of %s is %v, not of float32 or bfloat16", engine.ErrShape, i, engine.OpName(op), s)
		}
	}
	return nil
}

func hasBFloat16(in, out []engine.Spec) bool {
	is := func(s engine.Spec) bool { return s.DType == engine.BFloat16 }
	return slices.ContainsFunc(in, is) || slices.ContainsFunc(out, is)
}

// activations returns which inputs and outputs of op, given its number of
// inputs, are activations or their gradients. ok is false for an op that this
// package has no rule for: its own Infer decides then.
func activations(op engine.Op, inputs int) (in, out []int, ok bool) {
	first := []int{0}
	both := []int{0, 1}
	switch op := op.(type) {
	case engine.Conv2D:
		if op.Epilogue.Residual {
			return []int{0, inputs - 1}, first, true
		}
		return first, first, true
	case engine.Conv2DBackwardData, engine.Linear, engine.LinearBackwardData, engine.BatchNorm, engine.BatchNormAct,
		engine.Activation, engine.Dropout, engine.MaxPool2D, engine.AvgPool2D, engine.AvgPool2DBackward,
		engine.Flatten, engine.FlattenBackward:
		return first, first, true
	case engine.BatchNormBackward, engine.BatchNormActBackward, engine.BatchNormEvalBackward,
		engine.ActivationBackward, engine.MaxPool2DBackward:
		return both, first, true
	case engine.Conv2DBackwardWeight, engine.LinearBackwardWeight:
		return both, nil, true
	case engine.GlobalAvgPool:
		return first, nil, true
	case engine.GlobalAvgPoolBackward:
		return nil, first, true
	case engine.Add:
		for i := range inputs {
			in = append(in, i)
		}
		return in, first, true
	case engine.FoldBatchNorm, engine.Fill, engine.CrossEntropy, engine.CrossEntropyBackward, engine.KLDiv, engine.KLDivBackward,
		engine.Adam, engine.SGD, engine.ClipScale, engine.Accumulate, engine.EMA:
		return nil, nil, true
	}
	return nil, nil, false
}

// asFloat32 returns specs with the activations, which must all be bfloat16, as
// float32, for the op's own check. Nothing else may be bfloat16.
func asFloat32(op engine.Op, kind string, specs []engine.Spec, acts []int) ([]engine.Spec, error) {
	plain := slices.Clone(specs)
	for i, s := range specs {
		act := slices.Contains(acts, i)
		if act != (s.DType == engine.BFloat16) {
			need := "bfloat16, as its other activations are"
			if !act {
				need = "float32"
			}
			return nil, fmt.Errorf("%w: %s %d of %s is %v, it must be %s", engine.ErrShape, kind, i, engine.OpName(op), s, need)
		}
		if act {
			plain[i].DType = engine.Float32
		}
	}
	return plain, nil
}

// float32Op returns op for float32 activations, where it carries their spec.
func float32Op(op engine.Op) engine.Op {
	switch op := op.(type) {
	case engine.Conv2DBackwardData:
		op.X.DType = engine.Float32
		return op
	case engine.AvgPool2DBackward:
		op.X.DType = engine.Float32
		return op
	case engine.GlobalAvgPoolBackward:
		op.X.DType = engine.Float32
		return op
	case engine.FlattenBackward:
		op.X.DType = engine.Float32
		return op
	}
	return op
}
