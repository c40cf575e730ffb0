package main

import (
	"errors"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/lowrank"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// factorizeCmd is potstill factorize.
type factorizeCmd struct {
	fileFlags
	MACs        float64  `name:"macs" placeholder:"N" help:"So many multiply-adds of an image may be left, or, below 1, such a share of them."`
	Params      float64  `placeholder:"N" help:"In place of --macs: so many parameters may be left, or such a share."`
	Energy      float64  `placeholder:"E" help:"In place of --macs: the share of each layer's squared weights that is kept, as 0.95."`
	Weaken      float64  `placeholder:"W" help:"With --ranks evbmf, in place of --macs: the share of the way from the full rank to the one that is found."`
	Drop        float64  `placeholder:"D" help:"With --ranks accuracy, in place of --macs: the accuracy that a layer's split alone may cost, as 0.005."`
	Ranks       string   `enum:",energy,evbmf,accuracy" default:"" placeholder:"HOW" help:"How ranks are chosen: energy (if not given), evbmf, or by accuracy on --data."`
	Form        string   `enum:"auto,svd,spatial,channel,tucker" default:"auto" help:"svd (linear and pointwise layers), spatial, channel, tucker, or what has the fewest multiply-adds: ${enum} (${default})."`
	Protect     []string `sep:"none" placeholder:"PATTERN" help:"Layers that stay, as layer1 or *.conv1; may be given several times."`
	Untimed     bool     `help:"Keep splits that are not faster than their layer when timed; nothing is timed."`
	Batch       int      `default:"1" help:"Images at a time when splits are timed."`
	Size        int      `placeholder:"N" help:"Height and width of the images, if the model does not say."`
	Images      int      `placeholder:"N" help:"Validation images by which --ranks accuracy judges; 512 if not given."`
	Recalibrate int      `placeholder:"N" help:"Afterwards, re-estimate the statistics of batch norms with N training images of --data."`
	DryRun      bool     `help:"Print the table, layer by layer, and write nothing."`
	Out         string   `default:"out/factorized.safetensors" placeholder:"FILE|DIR" help:"Where the factorized model goes (${default})."`
	dataFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (factorizeCmd) Help() string {
	return `Takes layers apart into two or three of lower rank. The first layer, depthwise and grouped convolutions stay. A split
that is not faster than its layer on this device is refused. docs/pruning.md has the formulas. The net is trained again with
train --init, or distill --init from the whole one.

Example:

    potstill factorize --model resnet18.pth --macs 0.5 --dry-run
    potstill factorize --model out/best.safetensors --macs 0.5 --out out/lowrank.safetensors
    potstill distill --teacher out/best.safetensors --init out/lowrank.safetensors --data food11 --epochs 20 --out out/tuned`
}

// A factorized is the JSON form of the result.
type factorized struct {
	*lowrank.Report
	File  string `json:"file"`
	Bytes int64  `json:"bytes"` // of File
}

// Run factorizes.
func (c *factorizeCmd) Run(a *app) error {
	if err := checkBatch(c.Batch); err != nil {
		return err
	}
	path := modelPath(c.Out, "factorized.safetensors")
	if err := c.fileFlags.notReplacedBy(path); err != nil {
		return err
	}
	o := lowrank.Options{
		Form: c.Form, Ranks: c.Ranks, MACs: c.MACs, Params: c.Params, Energy: c.Energy, Weaken: c.Weaken, Drop: c.Drop,
		Protect: c.Protect, Untimed: c.Untimed, Batch: c.Batch, Size: c.Size, Images: c.Images, Recalibrate: c.Recalibrate,
	}
	if err := o.Validate(); err != nil {
		return err
	}
	if (c.Data != "") != (c.Ranks == "accuracy" || c.Recalibrate > 0) {
		return errors.New("--data is for --ranks accuracy and --recalibrate, which need it")
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	var out *checkpoint.Checkpoint
	var r compress.Report
	apply := func(b engine.Backend, ds *data.Dataset) error {
		out, r, err = o.Apply(a.ctx, compress.Env{Backend: b, Data: ds, Log: a.log}, m)
		return err
	}
	err = c.deviceFlags.with(a, func(b engine.Backend) error {
		if c.Data == "" {
			return apply(b, nil)
		}
		return c.dataFlags.with(a, func(ds *data.Dataset) error { return apply(b, ds) })
	})
	if err != nil {
		return err
	}
	return c.print(a, path, out, r.(*lowrank.Report))
}

func (c *factorizeCmd) print(a *app, path string, out *checkpoint.Checkpoint, r *lowrank.Report) error {
	if c.DryRun {
		if c.JSON {
			return printJSON(a.out, r)
		}
		return table(a.out, append(append(r.Table(), []string{}), r.Lines()...))
	}
	bytes, err := saveModel(path, out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.out, factorized{r, path, bytes})
	}
	return table(a.out, append([][]string{{"factorized model", path}, {"bytes", thousands(bytes)}}, r.Lines()...))
}
