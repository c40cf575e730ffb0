package quant

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Schemes are the ways to store weights, from the coarsest.
func Schemes() []string {
	return []string{checkpoint.Affine8, checkpoint.Affine8PerChannel, checkpoint.Float16}
}

// A Report tells what quantisation has done.
type Report struct {
	Scheme string `json:"scheme"`
	// BytesBefore and BytesAfter are the tensors' data: without names and the
	// file's header, with the ranges of the codes. The exact size of a file is
	// what checkpoint.Save returns.
	BytesBefore int64    `json:"bytes_before"`
	BytesAfter  int64    `json:"bytes_after"`
	MaxError    float64  `json:"max_error"` // the largest of the tensors'
	Tensors     []Tensor `json:"tensors"`   // in the order of the state_dict
}

// A Tensor is one tensor's part in a Report.
type Tensor struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"` // PyTorch's
	// Bytes and Before are its data's, after and before, the former with its
	// ranges of 8 bytes each.
	Bytes  int64 `json:"bytes"`
	Before int64 `json:"bytes_before"`
	// MaxError is the largest |ŵ - w|; Min and Max are the range of w.
	MaxError float64 `json:"max_error"`
	Min      float32 `json:"min"`
	Max      float32 `json:"max"`
}

// Quantise returns a copy of the checkpoint whose weights are what the scheme's
// codes decode to, and which checkpoint.Save stores as these codes. The copy
// has no metrics, for they were measured on other weights, and no state of a
// training run. A checkpoint that is quantised already is refused: its weights
// have lost what a second scheme would be measured against.
func Quantise(c *checkpoint.Checkpoint, scheme string) (*checkpoint.Checkpoint, *Report, error) {
	out, r, err := quantise(c, scheme)
	if err != nil {
		name := c.Path
		if name == "" {
			name = c.Arch.Family
		}
		return nil, nil, fmt.Errorf("quantise %s: %w", name, err)
	}
	return out, r, nil
}

func quantise(c *checkpoint.Checkpoint, scheme string) (*checkpoint.Checkpoint, *Report, error) {
	if !slices.Contains(Schemes(), scheme) {
		return nil, nil, fmt.Errorf("unknown scheme %q; choose one of %q", scheme, Schemes())
	}
	if c.Quant != checkpoint.Float32 {
		return nil, nil, fmt.Errorf("it is quantised already (%s); start from the 32-bit checkpoint", c.Quant)
	}
	m, err := layers.New(c.Arch)
	if err != nil {
		return nil, nil, err
	}
	state, err := checkpoint.Quantise(m, c.State, scheme)
	if err != nil {
		return nil, nil, err
	}
	event := checkpoint.Event{Kind: "quantise", Detail: scheme}
	if c.Path != "" {
		if event.Parent, err = checkpoint.Fingerprint(c.Path); err != nil {
			return nil, nil, err
		}
	}
	out := &checkpoint.Checkpoint{
		Arch: m.Arch(), Classes: c.Classes, Preprocess: c.Preprocess, Quant: scheme, State: state,
		History: append(slices.Clone(c.History), event),
	}
	r := &Report{Scheme: scheme}
	for _, after := range state {
		t := compare(*c.State.Find(after.Name), after, scheme)
		r.Tensors = append(r.Tensors, t)
		r.BytesBefore += t.Before
		r.BytesAfter += t.Bytes
		r.MaxError = max(r.MaxError, t.MaxError)
	}
	return out, r, nil
}

// compare measures one tensor.
func compare(before, after layers.Entry, scheme string) Tensor {
	n := int64(len(before.Data))
	t := Tensor{Name: before.Name, Shape: before.Shape, Before: 4 * n, Bytes: size(before, scheme)}
	if before.Integer {
		t.Before = 8 * n
	}
	for i, w := range before.Data {
		if i == 0 {
			t.Min, t.Max = w, w
		}
		t.Min, t.Max = min(t.Min, w), max(t.Max, w)
		t.MaxError = max(t.MaxError, math.Abs(float64(after.Data[i])-float64(w)))
	}
	return t
}

// size returns the bytes that checkpoint.Save writes for a tensor's data.
func size(e layers.Entry, scheme string) int64 {
	n := int64(len(e.Data))
	const span = 8 // a range: two float32
	switch {
	case e.Integer:
		return 8 * n
	case len(e.Shape) == 0:
		return 4 * n
	case scheme == checkpoint.Float16 && slices.ContainsFunc(e.Data, half.Overflows):
		return 4 * n
	case scheme == checkpoint.Float16:
		return 2 * n
	case scheme == checkpoint.Affine8PerChannel && len(e.Shape) == 1:
		return 4 * n
	case scheme == checkpoint.Affine8PerChannel:
		return n + span*int64(e.Shape[0])
	}
	return n + span
}
