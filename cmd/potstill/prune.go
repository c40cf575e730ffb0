package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/layers/checkpoint"
)

// pruneCmd is potstill prune.
type pruneCmd struct {
	fileFlags
	Mult   float64 `placeholder:"M" help:"Share of its channels that every width keeps, as in 0.35. In cnn-dwpw and hw7-student the first three and the last stay, as in the study."`
	Widths []int   `placeholder:"N" help:"Widths to cut to, instead of --mult."`
	Out    string  `default:"out/pruned.safetensors" placeholder:"FILE|DIR" help:"Where the pruned model goes (${default})."`
	jsonFlag
}

// Help is printed below the flags' summary.
func (pruneCmd) Help() string {
	return `Channels are ranked by the scale of their batch norm (BN-gamma slimming), and the best are kept, with all that
they are tied to. The pruned net is trained again with train --init.

Example:

    potstill prune --model out/student/best.safetensors --mult 0.35 --out out/pruned.safetensors
    potstill train --init out/pruned.safetensors --data food11 --size 128 --epochs 20 --out out/tuned`
}

// A pruned is the JSON form of the result.
type pruned struct {
	*prune.Report
	File  string `json:"file"`
	Bytes int64  `json:"bytes"` // of File
}

// Run prunes.
func (c *pruneCmd) Run(a *app) error {
	if (c.Mult == 0) == (len(c.Widths) == 0) {
		return fmt.Errorf("give either --mult, as in --mult 0.35, or --widths")
	}
	path := modelPath(c.Out, "pruned.safetensors")
	if err := c.fileFlags.notReplacedBy(path); err != nil {
		return err
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	out, r, err := compressed(a, "prune", m, func(m *prune.Options) { m.Mult, m.Widths = c.Mult, c.Widths })
	if err != nil {
		return err
	}
	report := r.(*prune.Report)
	bytes, err := saveModel(path, out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.out, pruned{report, path, bytes})
	}
	return table(a.out, [][]string{
		{"pruned model", path},
		{"widths", fmt.Sprintf("%d (before: %d)", report.WidthsAfter, report.WidthsBefore)},
		{"parameters", fmt.Sprintf("%s (before: %s)", thousands(report.ParamsAfter), thousands(report.ParamsBefore))},
		{"bytes", fmt.Sprintf("%s (before: %s)", thousands(bytes), thousands(m.Bytes))},
	})
}

// compressed applies a method of the table of compression methods to a model,
// with the settings that set makes.
func compressed[M compress.Method](a *app, name string, c *checkpoint.Checkpoint, set func(M)) (*checkpoint.Checkpoint, compress.Report, error) {
	kind, ok := compress.Find(name)
	if !ok {
		return nil, nil, fmt.Errorf("there is no compression method %q", name)
	}
	m := kind.New()
	set(m.(M))
	if err := m.Validate(); err != nil {
		return nil, nil, err
	}
	return m.Apply(a.ctx, compress.Env{Log: a.log}, c)
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
