// Package export writes a checkpoint in the formats that other programs read,
// and says what a format cannot keep.
//
//	potstill     a sealed safetensors file that describes itself (package checkpoint)
//	safetensors  the same tensors for other tools: PyTorch's names, decoded, no seal
//	torch        PyTorch's zip format: torch.load(weights_only=True), load_state_dict(strict=True)
//	study8       the study's 8-bit pickle: a range a tensor, readable with NumPy alone
//	study16      the study's 16-bit pickle: every tensor as float16
//	onnx         ONNX in float32, BatchNorm folded
//	onnx-codes   ONNX with the 8-bit codes of the weights, activations in float32
//	onnx-int8    ONNX with weights and activations in 8 bits (QDQ), for integer kernels
//
// What is stored in codes keeps its values in every format, except
// where the format demands another: see Result.Notes. A format that has no place
// for it loses the class names, the preprocessing and the history.
package export

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/checkpoint/study8"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// The formats.
const (
	Potstill    = "potstill"
	Safetensors = "safetensors"
	Torch       = "torch"
	Study8      = "study8"
	Study16     = "study16"
	ONNX        = "onnx"
	ONNXCodes   = "onnx-codes"
	ONNXInt8    = "onnx-int8"
)

// Formats returns all formats.
func Formats() []string {
	return []string{Potstill, Safetensors, Torch, Study8, Study16, ONNX, ONNXCodes, ONNXInt8}
}

// extensions are the formats that an extension stands for.
var extensions = map[string]string{
	".safetensors": Potstill, ".pt": Torch, ".pth": Torch, ".bin": Torch, ".pkl": Study8, ".pickle": Study8, ".onnx": ONNX,
}

// FormatOf returns the format that the name of a file stands for, for a model
// that is stored by the given scheme: .safetensors is potstill's own, .pt, .pth and
// .bin PyTorch's, .pkl the study's 8-bit pickle, or the 16-bit one for a float16
// model, and .onnx ONNX, with the codes of an 8-bit model, in
// 8 bits throughout for one with quantizers.
func FormatOf(path, scheme string) (string, error) {
	f, ok := extensions[strings.ToLower(filepath.Ext(path))]
	switch {
	case !ok:
		return "", fmt.Errorf("%s: the extension %q stands for no format; use .safetensors, .pt, .pth, .bin, .pkl or .onnx, or name the format: %s",
			path, filepath.Ext(path), strings.Join(Formats(), ", "))
	case f == Study8 && scheme == checkpoint.Float16:
		return Study16, nil
	case f == ONNX && (scheme == checkpoint.Affine8 || scheme == checkpoint.Affine8PerChannel):
		return ONNXCodes, nil
	case f == ONNX && scheme == checkpoint.Quantized:
		return ONNXInt8, nil
	}
	return f, nil
}

// Options say more about some formats.
type Options struct {
	// ONNX are the settings of the ONNX formats; Int8 follows from the format.
	ONNX onnx.Options
}

// A Result tells what was written.
type Result struct {
	Bytes int64
	// MaxError is the largest change of a weight, 0 where all are kept.
	MaxError float64
	// Notes say, a line each, what the format could not keep, and what else is to be
	// known of the file.
	Notes []string
}

// Write stores c at path in a format. It is atomic: a reader finds the old file
// or the whole new one. The state of a training run (Extra, Progress) is written
// in no format.
func Write(path, format string, c *checkpoint.Checkpoint, o Options) (*Result, error) {
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	r := &Result{}
	var err error
	switch format {
	case Potstill:
		own := *c
		own.Extra, own.Progress = nil, nil
		r.Bytes, err = checkpoint.Save(path, &own)
	case Safetensors:
		r.Bytes, err = writeSafetensors(path, c)
		r.forgets(c, false)
	case Torch:
		r.Bytes, err = torch.Write(path, tensors(c.State))
		r.forgets(c, false)
	case Study8, Study16:
		err = r.study(path, format, c)
	case ONNX, ONNXCodes, ONNXInt8:
		x := o.ONNX
		x.Int8 = map[string]onnx.Int8{ONNX: onnx.NoInt8, ONNXCodes: onnx.Weights8, ONNXInt8: onnx.QDQ}[format]
		if r.Bytes, err = onnx.Write(path, c, x); err == nil && format == ONNXInt8 {
			err = r.speed(c, x)
		}
	default:
		return nil, fmt.Errorf("unknown format %q; there are %s", format, strings.Join(Formats(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// speed notes if ONNX Runtime is not expected to compute a net faster in 8 bits.
func (r *Result) speed(c *checkpoint.Checkpoint, o onnx.Options) error {
	share, err := onnx.DenseShare(c, o)
	if err == nil && share < 2./3 {
		r.Notes = append(r.Notes, fmt.Sprintf("ONNX Runtime is not expected to compute this net faster in 8 bits than in float32: "+
			"%.0f %% of its multiply-adds are in depthwise, grouped or small convolutions (docs/onnx.md)", 100*(1-share)))
	}
	return err
}

// forgets notes what a format of tensors alone has no place for.
func (r *Result) forgets(c *checkpoint.Checkpoint, keepsCodes bool) {
	var lost []string
	if len(c.Classes) > 0 {
		lost = append(lost, "class names")
	}
	lost = append(lost, "preprocessing", "history")
	if !keepsCodes && slices.ContainsFunc(c.State, func(e layers.Entry) bool {
		return e.Encoding().Rule == layers.MinMax || e.Encoding().Rule == layers.Scaled
	}) {
		lost = append(lost, "8-bit codes (the weights are those that they stand for)")
	}
	r.Notes = append(r.Notes, "the format has no place for "+strings.Join(lost, ", "))
}

// tensors returns a state as PyTorch has it. What is stored as float16 stays so,
// and 8-bit codes with one range go along for a format that has a place for them.
func tensors(s layers.StateDict) []named.Tensor {
	var out []named.Tensor
	for _, e := range s {
		t := named.Tensor{Name: e.Name, Shape: e.Shape, DType: "float32", Float: e.Data}
		switch c := e.Codes; {
		case e.Integer():
			t.DType, t.Int = "int64", e.Int
		case c == nil:
		case c.Encoding.Rule == layers.Half:
			t.DType = "float16"
		case c.Encoding.Rule == layers.MinMax && c.Encoding.Bits == 8 && !c.Encoding.PerChannel:
			t.Coded, t.Codes, t.Min, t.Max = true, c.Bytes, c.Ranges[0], c.Ranges[1]
		}
		out = append(out, t)
	}
	return out
}

// writeSafetensors writes a file for other tools.
func writeSafetensors(path string, c *checkpoint.Checkpoint) (int64, error) {
	f := &safetensors.File{Metadata: map[string]string{"format": "pt"}}
	for _, t := range tensors(c.State) {
		switch t.DType {
		case "int64":
			f.Tensors = append(f.Tensors, safetensors.FromInt64(t.Name, t.Shape, t.Int))
		case "float16":
			f.Tensors = append(f.Tensors, safetensors.FromFloat16(t.Name, t.Shape, t.Float))
		default:
			f.Tensors = append(f.Tensors, safetensors.FromFloat32(t.Name, t.Shape, t.Float))
		}
	}
	return safetensors.WritePlain(path, f)
}

// study writes a pickle of the study, and measures what its rounding does.
func (r *Result) study(path, format string, c *checkpoint.Checkpoint) (err error) {
	scheme, write := checkpoint.Affine8, study8.Write8
	if format == Study16 {
		scheme, write = checkpoint.Float16, study8.Write16
	}
	if r.Bytes, err = write(path, tensors(c.State)); err != nil {
		return err
	}
	own := c.Scheme()
	r.forgets(c, own == scheme)
	if own == scheme {
		return nil
	}
	after, err := checkpoint.Quantize(c.State, scheme)
	if err != nil {
		return err
	}
	for i, e := range after {
		before := c.State.Find(e.Name)
		for k, v := range after[i].Data {
			r.MaxError = max(r.MaxError, math.Abs(float64(v)-float64(before.Data[k])))
		}
	}
	if r.MaxError > 0 {
		bits := map[string]string{Study8: "8-bit codes, a range a tensor", Study16: "16 bits"}[format]
		was := ""
		if own != checkpoint.Float32 {
			was = ", from weights that had been rounded before (" + own + ")"
		}
		r.Notes = append(r.Notes, fmt.Sprintf("the weights were rounded to %s%s; the largest change is %.3g", bits, was, r.MaxError))
	}
	return nil
}
