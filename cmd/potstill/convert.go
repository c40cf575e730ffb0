package main

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/data/classlist"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/export"
	"github.com/potstill/potstill/layers/checkpoint/onnx"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
)

// convertCmd is potstill convert.
type convertCmd struct {
	In  string `arg:"" help:"The model: potstill's own file, PyTorch's, ONNX, the study's pickle, safetensors."`
	Out string `arg:"" help:"Where it goes."`
	To  string `enum:",potstill,safetensors,torch,study8,study16,onnx,onnx-codes,onnx-int8" default:"" placeholder:"FORMAT" help:"Its format, if the extension of OUT does not say it: potstill, safetensors, torch, study8, study16, onnx, onnx-codes, onnx-int8."`
	foreignFlags
	openFlag

	Classes   string    `placeholder:"FILE" group:"What the file does not say:" help:"Names of the classes, a line each, in the order of the logits."`
	Size      int       `placeholder:"N" group:"What the file does not say:" help:"Height and width of the center crop that images go through."`
	Resize    int       `placeholder:"N" group:"What the file does not say:" help:"Scale the shorter side to N first."`
	Normalize normalize `aliases:"normalise" placeholder:"imagenet|M,M,M/S,S,S" group:"What the file does not say:" help:"Means that are subtracted, and deviations."`

	InsertBatchNorm bool `name:"insert-batchnorm" group:"Training:" help:"Put a batch norm behind every convolution that none follows, with the statistics of the images of --calibrate: exporters fold them away, and training wants them. What the net computes stays the same."`

	KeepBatchNorm bool   `group:"ONNX:" help:"Keep batch norms instead of folding them into convolutions."`
	Calibrate     string `placeholder:"PATH" group:"ONNX:" help:"Images, as --data takes them, that show --insert-batchnorm the statistics of activations; the training part is used."`
	Images        int    `default:"256" group:"ONNX:" help:"How many of them."`
	Cache         string `placeholder:"DIR" env:"POTSTILL_CACHE" group:"ONNX:" help:"Where decoded images are kept; else the user's cache folder."`
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (convertCmd) Help() string {
	return `The architecture is found from the file's names and shapes. The format is that of OUT's extension (.safetensors:
potstill's own, .pt .pth .bin: PyTorch's, .pkl: the study's pickle, .onnx) unless --to says otherwise:

    potstill      describes itself: architecture, codes, classes, preprocessing, history, checksum
    safetensors   PyTorch's names and 32-bit (or 16-bit) weights, for other tools
    torch         torch.load(weights_only=True), load_state_dict(strict=True)
    study8/16     the study's pickles, for Python with NumPy alone
    onnx          float32, or, by extension for an 8-bit model, onnx-codes
    onnx-codes    the weights' own 8-bit codes, activations in float32
    onnx-int8     weights and activations in 8 bits, for integer kernels, of what quantize --scheme int8 has made

Examples:

    potstill convert student.bin student.safetensors --classes food11.txt
    potstill convert resnet18-f37072fd.pth resnet18.safetensors --resize 256 --size 224 --normalize imagenet
    potstill convert out/student/best.safetensors student.onnx
    potstill convert model.onnx model.safetensors --input 3x224x224 --insert-batchnorm --calibrate food11
    potstill convert out/student-int8.safetensors student-int8.onnx --to onnx-int8`
}

// A converted is the JSON form of the result.
type converted struct {
	From     fileInfo    `json:"from"`
	To       fileInfo    `json:"to"`
	Arch     layers.Arch `json:"arch"`
	Params   int         `json:"params"`
	Renamed  int         `json:"renamed,omitempty"`   // tensors of From with names that are not the family's
	MaxError float64     `json:"max_error,omitempty"` // largest change of a weight
	Notes    []string    `json:"notes,omitempty"`
}

// A fileInfo is a file in it.
type fileInfo struct {
	File   string `json:"file"`
	Format string `json:"format"`
	Quant  string `json:"quant,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Run converts.
func (c *convertCmd) Run(a *app) error {
	i, err := inspectModel(a, c.In, c.foreignFlags, c.Input, true)
	if err != nil {
		return err
	}
	model, format, err := c.prepare(i)
	if err != nil {
		return err
	}
	if err := model.CheckFinite(); err != nil {
		a.log.Warn(err.Error()) // the file is converted as it is
	}
	if c.InsertBatchNorm {
		var n int
		if model, n, err = c.normed(a, model); err != nil {
			return err
		}
		i.Notes = append(i.Notes, fmt.Sprintf("%d batch norms were put in", n))
	} else if slices.Contains(i.Notes, onnxnet.NoBatchNorms) {
		i.Notes = append(i.Notes, "before training, potstill convert --insert-batchnorm puts batch norms back")
	}
	o := export.Options{ONNX: onnx.Options{KeepBatchNorm: c.KeepBatchNorm, Version: theVersion()}}
	if err := os.MkdirAll(filepath.Dir(c.Out), 0o777); err != nil {
		return fmt.Errorf("the output folder cannot be made: %w; choose another place", err)
	}
	r, err := export.Write(c.Out, format, model, o)
	if err != nil {
		return err
	}
	m, err := model.Net.Model()
	if err != nil {
		return err
	}
	out := converted{
		From: fileInfo{c.In, i.Format, i.Scheme(), i.Bytes, i.SHA256}, To: fileInfo{File: c.Out, Format: format, Bytes: r.Bytes},
		Arch: m.Arch(), Params: m.Params(), Renamed: i.Renamed, MaxError: r.MaxError, Notes: append(i.Notes, r.Notes...),
	}
	if out.To.SHA256, err = checkpoint.Fingerprint(c.Out); err != nil {
		return err
	}
	return c.print(a, out)
}

// prepare adds to the model what the flags say of it, and finds the format.
func (c *convertCmd) prepare(i *checkpoint.Info) (model *checkpoint.Checkpoint, format string, err error) {
	model = i.Checkpoint
	if same, err := sameFile(c.In, c.Out); err != nil || same {
		return nil, "", cmp.Or(err, fmt.Errorf("%s is the model to convert; choose another name for the result", c.Out))
	}
	if format = c.To; format == "" {
		if format, err = export.FormatOf(c.Out, model.Scheme()); err != nil {
			return nil, "", fmt.Errorf("%w with --to", err)
		}
	}
	p := &model.Preprocess
	if p.Assumed && (c.Size > 0 || c.Resize > 0) {
		*p = checkpoint.Preprocess{Size: p.Size}
		if c.Resize > 0 {
			p.Size = min(p.Size, c.Resize)
		}
	}
	p.Size, p.Resize = cmp.Or(c.Size, p.Size), cmp.Or(c.Resize, p.Resize)
	if len(c.Normalize.mean) > 0 {
		p.Mean, p.Std = c.Normalize.mean, c.Normalize.std
	}
	if c.Classes != "" {
		if model.Classes, err = classNames(c.Classes, model.Net.Classes()); err != nil {
			return nil, "", err
		}
	}
	if i.Format == checkpoint.FormatOwn && format == export.Potstill {
		model.History = append(model.History, checkpoint.Event{Kind: "convert", Parent: i.SHA256})
	}
	return model, format, nil
}

// sameFile reports whether both names are of one file.
func sameFile(in, out string) (bool, error) {
	b, err := os.Stat(out)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%w; choose another place", err)
	case b.IsDir():
		return false, fmt.Errorf("%s is a folder; name the file to write", out)
	}
	a, err := os.Stat(in)
	return err == nil && os.SameFile(a, b), nil // what cannot be read is said when it is
}

// classNames reads n names, a line each.
func classNames(path string, n int) ([]string, error) {
	names, err := classlist.Read(path)
	if err != nil {
		return nil, fmt.Errorf("--classes: %w", err)
	}
	if len(names) != n {
		return nil, fmt.Errorf("--classes %s: it has %d names, the model %d classes; give one a line, in the order of the logits", path, len(names), n)
	}
	return names, nil
}

// normed puts batch norms in.
func (c *convertCmd) normed(a *app, model *checkpoint.Checkpoint) (out *checkpoint.Checkpoint, n int, err error) {
	size := cmp.Or(model.Preprocess.Size, model.Net.Input.Height)
	if c.Calibrate == "" || size == 0 {
		return nil, 0, errors.New("--insert-batchnorm needs images of the training data: name them with --calibrate, and their size with --size")
	}
	err = c.withImages(a, model, func(b engine.Backend, images iter.Seq2[[]float32, error]) error {
		out, n, err = eval.InsertBatchNorm(a.ctx, b, model, size, images)
		return err
	})
	return out, n, err
}

// withImages opens the images of --calibrate for the time of do.
func (c *convertCmd) withImages(a *app, model *checkpoint.Checkpoint, do func(b engine.Backend, images iter.Seq2[[]float32, error]) error) error {
	if c.Images < 1 {
		return fmt.Errorf("--images %d: give at least 1", c.Images)
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return dataFlags{Data: c.Calibrate, cacheFlags: cacheFlags{Cache: c.Cache}}.with(a, func(ds *data.Dataset) error {
			return do(b, onnx.Images(a.ctx, ds.Train, model.Preprocess.Transform(), c.Images))
		})
	})
}

func (c *convertCmd) print(a *app, o converted) error {
	if c.JSON {
		return printJSON(a.out, o)
	}
	rows := [][]string{
		{"from", fmt.Sprintf("%s, %s, %s, %s bytes", o.From.File, o.From.Format, weights(o.From.Quant), thousands(o.From.Bytes))},
		{"net", fmt.Sprintf("%s, %s parameters", describeArch(o.Arch), thousands(o.Params))},
		{"to", fmt.Sprintf("%s, %s, %s bytes", o.To.File, o.To.Format, thousands(o.To.Bytes))},
	}
	for i, n := range o.Notes {
		rows = append(rows, []string{first(i, "notes"), n})
	}
	return table(a.out, rows)
}
