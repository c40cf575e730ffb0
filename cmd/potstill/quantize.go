package main

import (
	"errors"
	"fmt"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// quantizeCmd is potstill quantize.
type quantizeCmd struct {
	fileFlags
	Scheme      string         `enum:"affine8,affine8-channel,affine4-block,float16,int8" default:"affine8" help:"Of weights alone, affine8: 8 bits, a range a tensor; affine8-channel: 8 bits, a range an output channel; affine4-block: 4 bits, a range for every 64 weights; float16. And int8: weights and activations, in integers, with --calibrate."`
	Calibrate   string         `placeholder:"PATH" help:"int8: images by which the ranges of activations are found, as --data elsewhere; the training part, where there is one."`
	Observer    string         `enum:",minmax,moving,percentile,entropy,mse" default:"" placeholder:"NAME" help:"int8: how a range is found: minmax, moving, percentile (if not given), entropy or mse."`
	Percentile  float64        `placeholder:"P" help:"int8: percentage of the values that lie in a range of percentile; 99.999 if not given."`
	Images      int            `placeholder:"N" help:"int8: images for it; 256 if not given."`
	Seed        uint64         `placeholder:"N" help:"int8: decides which images."`
	Bits        int            `placeholder:"N" help:"int8: bits of weights, from 2 to 8; 8 if not given."`
	PerTensor   bool           `help:"int8: one scale a weight, in place of one an output channel."`
	Equalize    bool           `help:"int8: make the ranges of a channel's weights alike in the layers that make and read it, first."`
	CorrectBias bool           `help:"int8: take the mean error of each channel out of the biases."`
	Adaround    bool           `name:"adaround" help:"int8: round weights up or down as keeps each layer's output best."`
	Float       []string       `sep:"none" placeholder:"PATTERN" help:"int8: layers that stay in float32, as fc or *.conv1; may be given several times."`
	LayerBits   map[string]int `mapsep:"none" placeholder:"PATTERN=BITS" help:"int8: bits of the weights of some layers, from 2 to 8, or 32 for float32; may be given several times."`
	Under       string         `placeholder:"SIZE" help:"int8: the largest size of the written file, as 98496B or 96KB: layers get 4 bits where 8 are too many, those first that lose least by it."`
	Layers      bool           `help:"int8: tell of every layer its bits, its ranges, its error, and why it stays in float32 if it does."`
	Out         string         `default:"out/quantized.safetensors" placeholder:"FILE|DIR" help:"Where the quantized model goes (${default})."`
	cacheFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (quantizeCmd) Help() string {
	return `Weights are rounded after training; with the schemes of weights alone the net computes in float32 with what they
decode to. With int8 it computes in integers: batch norms are folded into convolutions, and the ranges of what lies
between layers are found on images. docs/quantization.md has the formulas.

Example:

    potstill quantize --model out/student/best.safetensors --scheme affine8 --out out/student-8bit.safetensors
    potstill quantize --model out/student/best.safetensors --scheme int8 --calibrate food11 --correct-bias --out out/student-int8.safetensors
    potstill eval --model out/student-8bit.safetensors --data food11`
}

// A quantized is the JSON form of the result.
type quantized struct {
	*quant.Report
	File        string `json:"file"`
	Bytes       int64  `json:"bytes"` // of File
	ParentBytes int64  `json:"parent_bytes"`
}

// options are the method's settings.
func (c *quantizeCmd) options() quant.Options {
	return quant.Options{
		Scheme: c.Scheme, Observer: c.Observer, Percentile: c.Percentile, Images: c.Images, Seed: c.Seed, Bits: c.Bits,
		PerTensor: c.PerTensor, Equalize: c.Equalize, CorrectBias: c.CorrectBias, AdaRound: c.Adaround, Float: c.Float, LayerBits: c.LayerBits, Under: c.Under,
	}
}

// Run quantizes.
func (c *quantizeCmd) Run(a *app) error {
	path := modelPath(c.Out, "quantized.safetensors")
	if err := c.fileFlags.notReplacedBy(path); err != nil {
		return err
	}
	o := c.options()
	switch {
	case c.Scheme != quant.Int8 && c.Calibrate != "":
		return fmt.Errorf("--scheme %s stores weights alone and needs no images; give --scheme int8 for activations in integers", c.Scheme)
	case c.Scheme == quant.Int8 && c.Calibrate == "":
		return errors.New("--scheme int8 finds the ranges of activations on images; give them with --calibrate")
	}
	if err := o.Validate(); err != nil {
		return err
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	var out *checkpoint.Checkpoint
	var r compress.Report
	err = c.environment(a, func(env compress.Env) error {
		out, r, err = compressed(a, "quantize", m, env, func(m *quant.Options) { *m = o })
		return err
	})
	if err != nil {
		return err
	}
	report := r.(*quant.Report)
	bytes, err := saveModel(path, out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.out, quantized{report, path, bytes, m.Bytes})
	}
	for _, n := range report.Notes {
		a.log.Info(n)
	}
	if c.Layers && len(report.Layers) > 0 {
		if err := table(a.out, report.Table()); err != nil {
			return err
		}
		fmt.Fprintln(a.out)
	}
	lines := report.Lines()
	return table(a.out, append([][]string{
		{"quantized model", path},
		lines[0],
		{"bytes", fmt.Sprintf("%s (before: %s)", thousands(bytes), thousands(m.Bytes))},
	}, lines[1:]...))
}

// environment opens the images and the device where the scheme needs them.
func (c *quantizeCmd) environment(a *app, do func(compress.Env) error) error {
	if c.Calibrate == "" {
		return do(compress.Env{Log: a.log})
	}
	d := dataFlags{Data: c.Calibrate, cacheFlags: c.cacheFlags, Evaluate: true}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		return d.with(a, func(ds *data.Dataset) error {
			copied := *ds // its parts are for this command alone
			if ds.Train == nil || ds.Train.Len() == 0 {
				copied.Train = ds.All()
			}
			return do(compress.Env{Backend: b, Data: &copied, Log: a.log})
		})
	})
}
