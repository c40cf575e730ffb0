package main

import (
	"fmt"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/quant"
)

// quantizeCmd is potstill quantize.
type quantizeCmd struct {
	fileFlags
	Scheme string `enum:"affine8,affine8-channel,float16" default:"affine8" help:"affine8: 8 bits, a range a tensor; affine8-channel: 8 bits, a range an output channel; float16."`
	Out    string `default:"out/quantized.safetensors" placeholder:"FILE|DIR" help:"Where the quantized model goes (${default})."`
	jsonFlag
}

// Help is printed below the flags' summary.
func (quantizeCmd) Help() string {
	return `Weights are rounded after training; the net computes with what they decode to.

Example:

    potstill quantize --model out/student/best.safetensors --scheme affine8 --out out/student-8bit.safetensors
    potstill eval --model out/student-8bit.safetensors --data food11`
}

// A quantized is the JSON form of the result.
type quantized struct {
	*quant.Report
	File        string `json:"file"`
	Bytes       int64  `json:"bytes"` // of File
	ParentBytes int64  `json:"parent_bytes"`
}

// Run quantizes.
func (c *quantizeCmd) Run(a *app) error {
	path := modelPath(c.Out, "quantized.safetensors")
	if err := c.fileFlags.notReplacedBy(path); err != nil {
		return err
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	out, r, err := compressed(a, "quantize", m, compress.Env{Log: a.log}, func(m *quant.Options) { m.Scheme = c.Scheme })
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
	return table(a.out, [][]string{
		{"quantized model", path},
		{"scheme", report.Scheme},
		{"bytes", fmt.Sprintf("%s (before: %s)", thousands(bytes), thousands(m.Bytes))},
		{"largest error", fmt.Sprintf("%.3g", report.MaxError)},
	})
}
