package quant

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Schemes are the ways to store weights, from the coarsest.
func Schemes() []string {
	return []string{checkpoint.Affine8, checkpoint.Affine8PerChannel, checkpoint.Float16}
}

// A Report tells what quantization has done.
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

// Options are the method "quantize".
type Options struct {
	// Scheme is one of Schemes.
	Scheme string `yaml:"scheme"`
}

func init() {
	compress.Register(compress.Kind{Name: "quantize", Aliases: []string{"quantise"}, New: func() compress.Method { return &Options{} }})
}

// Validate implements compress.Method.
func (o *Options) Validate() error {
	if !slices.Contains(Schemes(), o.Scheme) {
		return fmt.Errorf("unknown scheme %q; choose one of %q", o.Scheme, Schemes())
	}
	return nil
}

// Apply implements compress.Method; it uses nothing of the environment.
func (o *Options) Apply(_ context.Context, _ compress.Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, compress.Report, error) {
	out, r, err := Quantize(c, o.Scheme)
	if err != nil {
		return nil, nil, err
	}
	return out, r, nil
}

// Lines implements compress.Report.
func (r *Report) Lines() [][]string {
	return [][]string{
		{"scheme", r.Scheme},
		{"largest error", fmt.Sprintf("%.3g", r.MaxError)},
	}
}

// Quantize returns a copy of the checkpoint whose weights are what the scheme's
// codes decode to, and which checkpoint.Save stores as these codes. The copy
// has no metrics, for they were measured on other weights, and no state of a
// training run. A checkpoint that is quantized already is refused: its weights
// have lost what a second scheme would be measured against.
func Quantize(c *checkpoint.Checkpoint, scheme string) (*checkpoint.Checkpoint, *Report, error) {
	out, r, err := quantize(c, scheme)
	if err != nil {
		name := c.Path
		if name == "" {
			name = c.Net.String()
		}
		return nil, nil, fmt.Errorf("quantize %s: %w", name, err)
	}
	return out, r, nil
}

func quantize(c *checkpoint.Checkpoint, scheme string) (*checkpoint.Checkpoint, *Report, error) {
	if err := (&Options{scheme}).Validate(); err != nil {
		return nil, nil, err
	}
	if own := c.Scheme(); own != checkpoint.Float32 {
		return nil, nil, fmt.Errorf("it is quantized already (%s); start from the 32-bit checkpoint", own)
	}
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, nil, err
	}
	out := &checkpoint.Checkpoint{Net: c.Net, Classes: c.Classes, Preprocess: c.Preprocess}
	var err error
	if out.State, err = checkpoint.Quantize(c.State, scheme); err != nil {
		return nil, nil, err
	}
	r := &Report{Scheme: scheme}
	for i, after := range out.State {
		t := compare(c.State[i], after)
		r.Tensors = append(r.Tensors, t)
		r.BytesBefore += t.Before
		r.BytesAfter += t.Bytes
		r.MaxError = max(r.MaxError, t.MaxError)
	}
	return out, r, compress.Derive(out, c, "quantize", scheme)
}

// compare measures one tensor.
func compare(before, after layers.Entry) Tensor {
	n := int64(len(before.Data))
	t := Tensor{Name: before.Name, Shape: before.Shape, Before: 4 * n, Bytes: 4 * n}
	switch c := after.Codes; {
	case before.Integer():
		t.Before = 8 * int64(len(before.Int))
		t.Bytes = t.Before
		t.Min, t.Max = float32(slices.Min(before.Int)), float32(slices.Max(before.Int))
	case c != nil:
		const end = 4 // of a range, in float32
		t.Bytes = int64(len(c.Bytes)) + end*int64(len(c.Ranges))
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
