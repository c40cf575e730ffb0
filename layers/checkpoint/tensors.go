package checkpoint

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// rangeName is the tensor with the ranges of all 8-bit tensors.
const rangeName = "affine/range"

func checkQuant(quant string) error {
	switch quant {
	case Float32, Affine8, Affine8PerChannel, Float16:
		return nil
	}
	return fmt.Errorf("unknown quantisation %q; it is one of %q, %q, %q, or empty for 32 bits", quant, Affine8, Affine8PerChannel, Float16)
}

// Quantise returns the state as it comes back from a file that stores it in
// the given way: the weights that a quantised model computes with.
func Quantise(m *layers.Model, s layers.StateDict, quant string) (layers.StateDict, error) {
	if err := checkQuant(quant); err != nil {
		return nil, err
	}
	if err := m.Check(s); err != nil {
		return nil, err
	}
	tensors, err := encode(m, s, quant)
	if err != nil {
		return nil, err
	}
	return decode(m, tensors, quant)
}

// channels returns how many ranges a tensor of PyTorch's shape has. Per channel,
// a vector (a bias, BatchNorm's tensors) has no codes: it stays in 32 bits.
func channels(shape []int, quant string) int {
	if quant == Affine8PerChannel {
		return shape[0]
	}
	return 1
}

// encode returns the tensors that store s, in the order of the model's state_dict.
func encode(m *layers.Model, s layers.StateDict, quant string) ([]safetensors.Tensor, error) {
	var out []safetensors.Tensor
	var ranges []float32
	for _, slot := range m.Slots() {
		e := s.Find(slot.Variable.Name)
		t, r, err := encodeEntry(e, slot.Variable.DType, quant)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", e.Name, err)
		}
		out, ranges = append(out, t), append(ranges, r...)
	}
	if len(ranges) > 0 {
		out = append(out, safetensors.FromFloat32(rangeName, []int{len(ranges) / 2, 2}, ranges))
	}
	return out, nil
}

// encodeEntry returns the tensor that stores e, an entry of the given type, and
// its ranges, (min, max) after (min, max).
func encodeEntry(e *layers.Entry, d engine.DType, quant string) (t safetensors.Tensor, ranges []float32, err error) {
	switch {
	case d == engine.Int64:
		n := make([]int64, len(e.Data))
		for i, v := range e.Data {
			n[i] = int64(v)
		}
		return safetensors.FromInt64(e.Name, e.Shape, n), nil, nil
	case quant == Float32 || len(e.Shape) == 0, quant == Affine8PerChannel && len(e.Shape) == 1:
		return safetensors.FromFloat32(e.Name, e.Shape, e.Data), nil, nil
	case quant == Float16 && slices.ContainsFunc(e.Data, half.Overflows):
		return safetensors.FromFloat32(e.Name, e.Shape, e.Data), nil, nil
	case quant == Float16:
		codes, err := affine.Encode16(e.Data)
		return safetensors.FromFloat16Bits(e.Name, e.Shape, codes), nil, err
	}
	codes, lo, hi, err := affine.EncodeChannels8(e.Data, channels(e.Shape, quant))
	for i := range lo {
		ranges = append(ranges, lo[i], hi[i])
	}
	return safetensors.FromUint8(e.Name, e.Shape, codes), ranges, err
}

// decode returns the state that the tensors store, in the order of the model's
// state_dict. It is strict, as layers.Model.Load is.
func decode(m *layers.Model, tensors []safetensors.Tensor, quant string) (layers.StateDict, error) {
	byName := make(map[string]*safetensors.Tensor, len(tensors))
	for i := range tensors {
		byName[tensors[i].Name] = &tensors[i]
	}
	var ranges []float32
	if t := byName[rangeName]; t != nil && (quant == Affine8 || quant == Affine8PerChannel) {
		var err error
		if ranges, err = safetensors.Float32s(t); err != nil {
			return nil, err
		}
		delete(byName, rangeName)
	}
	var s layers.StateDict
	for _, slot := range m.Slots() {
		t := byName[slot.Variable.Name]
		if t == nil {
			continue // Check tells which is missing
		}
		delete(byName, t.Name)
		e, used, err := decodeTensor(t, slot.Variable.DType, quant, ranges)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		s, ranges = append(s, e), ranges[used:]
	}
	for i := range tensors {
		if byName[tensors[i].Name] != nil {
			s = append(s, layers.Entry{Name: tensors[i].Name}) // Check names it
			break
		}
	}
	if err := m.Check(s); err != nil {
		return nil, err
	}
	if len(ranges) != 0 {
		return nil, fmt.Errorf("tensor %s has %d values too many", rangeName, len(ranges))
	}
	return s, nil
}

// decodeTensor returns the entry of type d that t stores, and how many values
// of ranges it used.
func decodeTensor(t *safetensors.Tensor, d engine.DType, quant string, ranges []float32) (e layers.Entry, used int, err error) {
	e = layers.Entry{Name: t.Name, Shape: append([]int{}, t.Shape...), Integer: d == engine.Int64}
	switch {
	case e.Integer:
		n, err := safetensors.Int64s(t)
		if err != nil {
			return e, 0, err
		}
		for _, v := range n {
			e.Data = append(e.Data, float32(v))
		}
		return e, 0, nil
	case t.DType == safetensors.U8 && (quant == Affine8 || quant == Affine8PerChannel):
		n := channels(t.Shape, quant)
		if len(ranges) < 2*n {
			return e, 0, fmt.Errorf("%s has no range for it", rangeName)
		}
		lo, hi := make([]float32, n), make([]float32, n)
		for i := range n {
			lo[i], hi[i] = ranges[2*i], ranges[2*i+1]
		}
		codes, err := safetensors.Uint8s(t)
		if err != nil {
			return e, 0, err
		}
		e.Data = make([]float32, len(codes))
		return e, 2 * n, affine.DecodeChannels8(codes, lo, hi, e.Data)
	}
	e.Data, err = safetensors.Float32s(t)
	return e, 0, err
}
