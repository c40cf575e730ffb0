package quant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/potstill/potstill/distill/budget"
	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant/observe"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// Schemes are the ways to quantize: those that store weights alone in fewer bits,
// from the coarsest, and Int8.
func Schemes() []string { return append(weightSchemes(), Int8) }

func weightSchemes() []string {
	return []string{checkpoint.Affine4Block, checkpoint.Affine8, checkpoint.Affine8PerChannel, checkpoint.Float16}
}

// A Report tells what quantization has done.
type Report struct {
	Scheme string `json:"scheme"`
	// BytesBefore and BytesAfter are the tensors' data: without names and the
	// file's header, with the ranges of the codes. The exact size of a file is
	// what checkpoint.Save returns.
	BytesBefore int64    `json:"bytes_before"`
	BytesAfter  int64    `json:"bytes_after"`
	MaxError    float64  `json:"max_error"`         // the largest of the tensors'
	Tensors     []Tensor `json:"tensors,omitempty"` // in the order of the state_dict, of weights alone
	// Of Int8: the number of images, the layers, and what the steps have to tell.
	Images int      `json:"images,omitempty"`
	Layers []Layer  `json:"layers,omitempty"`
	Notes  []string `json:"notes,omitempty"`
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
	// Scheme is one of Schemes. What follows is for Int8 alone.
	Scheme string `yaml:"scheme"`
	// Observer finds the ranges of activations: one of observe.Names; "" means
	// percentile. Percentile is its percentage, 0 meaning 99.999.
	Observer   string  `yaml:"observer"`
	Percentile float64 `yaml:"percentile"`
	// Images is the number of training images for it, 256 if it is 0; Seed decides
	// which.
	Images int    `yaml:"images"`
	Seed   uint64 `yaml:"seed"`
	// Bits are those of weights: 8 (or 0), or from 2 to 7.
	Bits int `yaml:"bits"`
	// LayerBits are those of the weights of some layers, by the patterns of
	// layers.Fits: from 2 to 8, or 32 for layers that stay in float32. They count
	// before Bits and Float. A layer's own name counts before patterns, and of these
	// the longest.
	LayerBits map[string]int `yaml:"layer_bits"`
	// PerTensor gives each weight one scale in place of one an output channel.
	PerTensor bool `yaml:"per_tensor"`
	// Equalize scales channels between layers so that their weights have alike
	// ranges, and moves what ReLUs always let through into the next bias; see
	// docs/quantization.md for this and the next two.
	Equalize bool `yaml:"equalize"`
	// CorrectBias takes the mean error that quantization makes out of biases.
	CorrectBias bool `yaml:"correct_bias"`
	// AdaRound rounds weights up or down as keeps each layer's output best.
	AdaRound bool `yaml:"adaround"`
	// Float names layers that stay in float32, by the patterns of layers.Fits.
	Float []string `yaml:"float"`
	// Under is the most bytes that the file may have, as 98496B or 96KB: layers get
	// 4 bits in place of 8, those first whose rounding changes the predictions least
	// for the bytes that it saves.
	Under string `yaml:"under"`
	// Learned makes a net to be trained further: weights stay in float32 and are
	// rounded wherever they are used, and the steps of weights and activations are
	// trained with them (LSQ, arXiv:1902.08153). A step that trains from it is
	// quantization-aware training.
	Learned bool `yaml:"learned"`
}

func init() {
	compress.Register(compress.Kind{Name: "quantize", Aliases: []string{"quantise"}, New: func() compress.Method { return &Options{} }})
}

// observer returns the observer's name.
func (o *Options) observer() string { return cmp.Or(o.Observer, "percentile") }

// Validate implements compress.Method.
func (o *Options) Validate() error {
	if !slices.Contains(Schemes(), o.Scheme) {
		return fmt.Errorf("unknown scheme %q; choose one of %q", o.Scheme, Schemes())
	}
	if o.Scheme != Int8 {
		if rest := *o; !reflect.DeepEqual(rest, Options{Scheme: o.Scheme}) {
			return fmt.Errorf("scheme %s stores weights alone; observer, images, bits and repairs go with scheme %s", o.Scheme, Int8)
		}
		return nil
	}
	switch {
	case o.Bits != 0 && (o.Bits < 2 || o.Bits > 8):
		return fmt.Errorf("weights of %d bits; give a number from 2 to 8", o.Bits)
	case o.Under != "" && len(o.LayerBits) > 0:
		return errors.New("give the bits of layers or the most bytes of the file, not both")
	case o.Images < 0:
		return fmt.Errorf("%d images; give a positive number", o.Images)
	case o.Under != "" && o.Bits != 0:
		return errors.New("give the bits of weights or the most bytes of the file, not both")
	case o.Learned && (o.AdaRound || o.CorrectBias):
		return errors.New("a net that is trained further rounds its weights and finds its biases itself: leave adaround and the correction of biases out")
	}
	for p, bits := range o.LayerBits {
		if bits != 32 && (bits < 2 || bits > 8) {
			return fmt.Errorf("weights of %d bits in %s; give a number from 2 to 8, or 32 for float32", bits, p)
		}
	}
	if o.Under != "" {
		if _, err := budget.ParseBytes(o.Under); err != nil {
			return err
		}
	}
	_, err := observe.New(o.observer(), observe.Options{Percentile: o.Percentile})
	return err
}

// Apply implements compress.Method. Int8 needs a backend and training images; the
// other schemes use nothing of the environment.
func (o *Options) Apply(ctx context.Context, env compress.Env, c *checkpoint.Checkpoint) (*checkpoint.Checkpoint, compress.Report, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	quantize := func() (*checkpoint.Checkpoint, *Report, error) { return Quantize(c, o.Scheme) }
	if o.Scheme == Int8 {
		quantize = func() (*checkpoint.Checkpoint, *Report, error) { return Static(ctx, env, c, *o) }
	}
	out, r, err := quantize()
	if err != nil {
		return nil, nil, err
	}
	return out, r, nil
}

// Lines implements compress.Report.
func (r *Report) Lines() [][]string {
	lines := [][]string{
		{"scheme", r.Scheme},
		{"largest error", fmt.Sprintf("%.3g", r.MaxError)},
	}
	if r.Images > 0 {
		lines = append(lines, []string{"images", fmt.Sprint(r.Images)})
	}
	for _, l := range r.lossiest() {
		lines = append(lines, []string{"loses most", fmt.Sprintf("%s (%d bits, %.1f dB)", l.Layer, l.Bits, l.SNR)})
	}
	return lines
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
	if !slices.Contains(weightSchemes(), scheme) {
		return nil, nil, fmt.Errorf("unknown scheme %q of weights alone; choose one of %q", scheme, weightSchemes())
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
