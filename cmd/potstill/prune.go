package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/layers/checkpoint"
)

// pruneCmd is potstill prune.
type pruneCmd struct {
	fileFlags
	Ratio       float64  `placeholder:"R" help:"Share of the channels that goes, from 0 up to 1."`
	Params      float64  `placeholder:"N" help:"In place of --ratio: so many parameters may be left, or, below 1, such a share of them."`
	MACs        float64  `name:"macs" placeholder:"N" help:"In place of --ratio: so many multiply-adds of an image may be left, or such a share."`
	Bytes       float64  `placeholder:"N" help:"In place of --ratio: the largest size of the written file, or such a share of the model's."`
	MS          float64  `name:"ms" placeholder:"MS" help:"In place of --ratio: the milliseconds that a batch may take on this device, as they are measured."`
	Batch       int      `default:"1" help:"Images at a time for --ms."`
	Criterion   string   `enum:",l1,l2,bn-scale,fpgm,lamp,taylor,hessian,activation,random" default:"" placeholder:"NAME" help:"What tells how much a channel matters: l1, l2 (if not given), bn-scale, fpgm, lamp, random, or, with --data, taylor, hessian, activation."`
	Rank        string   `enum:",local,global,isomorphic" default:"" placeholder:"SCOPE" help:"Which channels are compared: those of a layer (local, if not given), all (global), or of layers put together alike (isomorphic)."`
	Protect     []string `sep:"none" placeholder:"PATTERN" help:"Layers that stay whole, as layer1 or *.conv1; may be given several times."`
	Ratios      []string `name:"layer-ratio" sep:"none" placeholder:"PATTERN=R" help:"The ratio of the layers that a pattern names; may be given several times."`
	MaxRatio    float64  `placeholder:"R" help:"The most that goes of one layer; all but one channel if not given."`
	RoundTo     int      `placeholder:"N" help:"Round the channels that stay to the nearest multiple of N."`
	Reduce      string   `enum:",mean,sum,max,prod,first,last" default:"" placeholder:"HOW" help:"How the scores of the tensors that hold a channel are put together: mean (if not given), sum, max, prod, first, last."`
	Normalize   string   `enum:",mean,none,sum,max,standardization,gaussian,median,lamp" default:"" placeholder:"HOW" help:"How scores of different layers are made comparable: mean, none, sum, max, standardization, gaussian, median or lamp; what goes with the criterion if not given."`
	Seed        uint64   `placeholder:"N" help:"Seed of --criterion random."`
	Size        int      `placeholder:"N" help:"Height and width of the images that multiply-adds are told for, if the model does not say."`
	Compat      string   `enum:",torch-pruning" default:"" placeholder:"PROGRAM" help:"torch-pruning: cut what Torch-Pruning 1.6.1 cuts."`
	Images      int      `placeholder:"N" help:"Training images by which taylor, hessian and activation rank; 256 if not given."`
	Recalibrate int      `placeholder:"N" help:"After the cut, re-estimate the statistics of batch norms with N training images of --data."`
	DryRun      bool     `help:"Print the table, layer by layer, and write nothing."`
	Mult        float64  `placeholder:"M" help:"The study's cut by the signed scale of batch norms: share of its channels that every width keeps, as in 0.35. In cnn-dwpw and hw7-student the first three and the last stay."`
	Widths      []int    `placeholder:"N" help:"Widths to cut to, in the study's way, instead of --mult."`
	Out         string   `default:"out/pruned.safetensors" placeholder:"FILE|DIR" help:"Where the pruned model goes (${default})."`
	roundFlags
	dataFlags
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (pruneCmd) Help() string {
	return `Takes channels out of any net, with everything that they are tied to: residual sums, concatenations, shuffles,
depthwise and grouped convolutions. The image's channels and the classes stay. docs/pruning.md has the formulas. The
pruned net is trained again with train --init, or distill from the whole one.

Example:

    potstill prune --model out/student/best.safetensors --ratio 0.5 --dry-run
    potstill prune --model resnet18.pth --macs 0.5 --criterion l2 --rank global --protect conv1 --out out/half.safetensors
    potstill prune --model resnet18.pth --macs 0.5 --rounds 4 --epochs 3 --teach --data photos --out out/half.safetensors
    potstill prune --model out/student/best.safetensors --mult 0.35 --out out/pruned.safetensors
    potstill train --init out/pruned.safetensors --data food11 --size 128 --epochs 20 --out out/tuned`
}

// study reports whether the flags of the study's cut are given.
func (c *pruneCmd) study() bool { return c.Mult != 0 || len(c.Widths) > 0 }

// options are the method's settings.
func (c *pruneCmd) options() prune.Options {
	if c.study() {
		return prune.Options{Mult: c.Mult, Widths: c.Widths}
	}
	return prune.Options{
		Criterion: c.Criterion, Reduce: c.Reduce, Normalize: c.Normalize, Rank: c.Rank,
		Ratio: c.Ratio, Params: c.Params, MACs: c.MACs, Bytes: c.Bytes, MS: c.MS, Batch: c.Batch, Size: c.Size,
		RoundTo: c.RoundTo, MaxRatio: c.MaxRatio, Protect: c.Protect, Ratios: c.Ratios, Compat: c.Compat, Seed: c.Seed,
		Images: c.Images, Recalibrate: c.Recalibrate,
	}
}

// check reports flags that do not go together.
func (c *pruneCmd) check() error {
	targets := c.Ratio != 0 || c.Params != 0 || c.MACs != 0 || c.Bytes != 0 || c.MS != 0 || len(c.Ratios) > 0
	others := targets || c.Criterion != "" || c.Rank != "" || len(c.Protect) > 0 || c.MaxRatio != 0 || c.RoundTo != 0 ||
		c.Recalibrate != 0 || c.Images != 0 || c.Reduce != "" || c.Normalize != "" || c.Compat != "" || c.DryRun
	switch {
	case c.Mult != 0 && len(c.Widths) > 0:
		return fmt.Errorf("give either --mult, as in --mult 0.35, or --widths")
	case c.study() && others:
		return fmt.Errorf("--mult and --widths are the study's cut by batch norm scales; leave them out beside --ratio, a target, --criterion and their like")
	case !c.study() && !targets:
		return fmt.Errorf("how much is to go? Give --ratio, as in --ratio 0.5, a target as --macs 0.5, or, for the study's cut, --mult or --widths")
	}
	return c.checkRounds()
}

// A pruned is the JSON form of the result.
type pruned struct {
	*prune.Report
	File  string `json:"file"`
	Bytes int64  `json:"bytes"` // of File
}

// Run prunes.
func (c *pruneCmd) Run(a *app) error {
	if err := c.check(); err != nil {
		return err
	}
	path := modelPath(c.Out, "pruned.safetensors")
	if err := c.fileFlags.notReplacedBy(path); err != nil {
		return err
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	o := c.options()
	if c.Rounds > 0 {
		return c.inRounds(a, m, o, path)
	}
	var out *checkpoint.Checkpoint
	var r compress.Report
	err = c.environment(a, func(env compress.Env) error {
		out, r, err = compressed(a, "prune", m, env, func(m *prune.Options) { *m = o })
		return err
	})
	if err != nil {
		return err
	}
	report := r.(*prune.Report)
	if c.DryRun {
		return c.dryRun(a, report)
	}
	bytes, err := saveModel(path, out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.out, pruned{report, path, bytes})
	}
	if report.Costs != nil {
		for _, n := range report.Notes {
			a.log.Info(n)
		}
		return table(a.out, append([][]string{{"pruned model", path}}, report.Lines()...))
	}
	return table(a.out, [][]string{
		{"pruned model", path},
		{"widths", fmt.Sprintf("%d (before: %d)", report.WidthsAfter, report.WidthsBefore)},
		{"parameters", fmt.Sprintf("%s (before: %s)", thousands(report.ParamsAfter), thousands(report.ParamsBefore))},
		{"bytes", fmt.Sprintf("%s (before: %s)", thousands(bytes), thousands(m.Bytes))},
	})
}

// environment opens the images and the device where the cut needs them.
func (c *pruneCmd) environment(a *app, do func(compress.Env) error) error {
	if c.Data == "" && c.MS == 0 {
		return do(compress.Env{Log: a.log})
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		if c.Data == "" {
			return do(compress.Env{Backend: b, Log: a.log})
		}
		return c.dataFlags.with(a, func(ds *data.Dataset) error { return do(compress.Env{Backend: b, Data: ds, Log: a.log}) })
	})
}

// dryRun prints what would be cut.
func (c *pruneCmd) dryRun(a *app, r *prune.Report) error {
	for _, n := range r.Notes {
		a.log.Info(n)
	}
	if c.JSON {
		return printJSON(a.out, r)
	}
	if err := table(a.out, r.Table()); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return table(a.out, r.Lines())
}

// compressed applies a method of the table of compression methods to a model,
// with the settings that set makes, in an environment.
func compressed[M compress.Method](a *app, name string, c *checkpoint.Checkpoint, env compress.Env, set func(M)) (*checkpoint.Checkpoint, compress.Report, error) {
	kind, ok := compress.Find(name)
	if !ok {
		return nil, nil, fmt.Errorf("there is no compression method %q", name)
	}
	m := kind.New()
	set(m.(M))
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	return m.Apply(a.ctx, env, c)
}

// modelPath returns the file that --out means: itself, or name in a folder.
func modelPath(out, name string) string {
	if info, err := os.Stat(out); filepath.Ext(out) != ".safetensors" || err == nil && info.IsDir() {
		return filepath.Join(out, name)
	}
	return out
}

// notReplacedBy reports whether a result in the file out would replace the model
// that it is made from.
func (f fileFlags) notReplacedBy(out string) error {
	in, err := os.Stat(f.Model)
	if err != nil {
		return nil // reading it will say why
	}
	if old, err := os.Stat(out); err == nil && os.SameFile(in, old) {
		return fmt.Errorf("%s is the model that is read, and would be replaced; choose another name with --out", out)
	}
	return nil
}
