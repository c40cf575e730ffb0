package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
)

// jsonFlag chooses the form of the figures.
type jsonFlag struct {
	JSON bool `name:"json" help:"Write the figures as JSON to standard output, and nothing else there."`
}

// dataFlags name the images.
type dataFlags struct {
	Data   string `placeholder:"PATH" help:"A folder of images, a tar or zip archive of one, or builtin:fashion."`
	Labels string `placeholder:"FILE|none" help:"Label file (CSV, TSV, JSON lines) for the images; none goes by folders and names alone. Without it, one in the data is used where folders do not tell classes apart."`
	Strict bool   `help:"Stop at a picture that cannot be decoded, instead of leaving it out."`
	EXIF   bool   `name:"exif" help:"Turn pictures as their EXIF orientation says. Without it that is ignored, as torchvision ignores it: give it to train, eval and predict, or to none."`
	Limit  int    `placeholder:"N" help:"Use at most N images of each part, balanced over the classes."`
	cacheFlags

	Evaluate bool `kong:"-"` // the images are not trained on
	Resized  int  `kong:"-"` // the Resize of every transform of them, or 0
}

// cacheFlags say where images are kept.
type cacheFlags struct {
	Cache      string    `placeholder:"DIR" env:"POTSTILL_CACHE" help:"Where decoded images are kept; else the user's cache folder."`
	CacheLimit *byteSize `placeholder:"SIZE" env:"POTSTILL_CACHE_LIMIT" help:"How large that folder may grow, as in 500MB, or none; 16GB if not given. What was not used for longest goes first."`
}

// options are those of the cache.
func (f cacheFlags) options() data.Options {
	o := data.Options{CacheDir: f.Cache}
	if f.CacheLimit != nil {
		o.CacheLimit = max(int64(*f.CacheLimit), 1)
	}
	return o
}

// reading shows how far the reading of images is.
func (a *app) reading(what string) func(done, total int) {
	begun := false
	return func(done, total int) {
		if !begun {
			begun = true
			a.console.begin("reading "+what, total)
		}
		a.console.advance(done, total, "")
		if done == total {
			a.console.end()
		}
	}
}

// open reads the dataset.
func (f dataFlags) open(a *app) (*data.Dataset, error) {
	if f.Data == "" {
		return nil, errors.New("no images are named: give --data a folder of them, a tar or zip archive of one, or builtin:fashion for the built-in ones")
	}
	if f.Limit < 0 {
		return nil, fmt.Errorf("--limit %d: give a positive number of images, or leave it out", f.Limit)
	}
	o := f.options()
	o.Strict, o.Labels, o.Evaluate, o.Resize, o.EXIF, o.Logger = f.Strict, f.Labels, f.Evaluate, f.Resized, f.EXIF, a.log
	o.Progress = a.reading(f.Data)
	ds, err := data.Open(a.ctx, f.Data, o)
	a.console.end()
	if err != nil || f.Limit == 0 {
		return ds, err
	}
	for _, part := range []**data.Split{&ds.Train, &ds.Val, &ds.Test} {
		if *part != nil {
			*part = (*part).Subset(f.Limit)
		}
	}
	return ds, nil
}

// resized are the flags for images that every transform scales to the same size
// first; 0 promises nothing.
func (f dataFlags) resized(size int) dataFlags {
	f.Resized = size
	return f
}

// with opens the dataset for the time of do.
func (f dataFlags) with(a *app, do func(ds *data.Dataset) error) (err error) {
	ds, err := f.open(a)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	return do(ds)
}

// size returns the height and width of the images that a net gets: what was
// asked for, or the study's 256, or those of the built-in images.
func (f dataFlags) size(asked int) int {
	switch {
	case asked != 0:
		return asked
	case f.Data == "builtin:fashion":
		return 28
	}
	return 256
}

// archFlags describe a net.
type archFlags struct {
	Base   int   `placeholder:"N" help:"Base width of the family, with which all widths scale; the family's own if not given."`
	Widths []int `placeholder:"N" help:"Channels of every block or stage, instead of --base, of families that take them."`
	Gray   bool  `help:"A net of the family that takes one channel; its images are made gray."`
}

// net returns the net of a family, or that of a YAML file.
func (f archFlags) net(family string, classes int) (*layers.Net, error) {
	a := layers.Arch{Family: family, Classes: classes, Base: f.Base, Widths: f.Widths}
	if f.Gray {
		a.InChannels = 1
	}
	return layers.Open(a)
}

// describeArch describes a net in a few words.
func describeArch(a layers.Arch) string {
	text := cmp.Or(a.Family, "net")
	if len(a.Widths) > 0 {
		text += fmt.Sprintf(" %d", a.Widths)
	}
	return fmt.Sprintf("%s, %d classes", text, a.Classes)
}

// imageSize is CxHxW, as in 3x256x256.
type imageSize struct{ C, H, W int }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *imageSize) UnmarshalText(text []byte) error {
	var o onnxnet.Options
	err := o.UnmarshalText(text)
	s.C, s.H, s.W = o.Channels, o.Height, o.Width
	return err
}

// saveModel writes c to path, whose folder it makes.
func saveModel(path string, c *checkpoint.Checkpoint) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return 0, fmt.Errorf("the output folder cannot be made: %w; choose another with --out", err)
	}
	return checkpoint.Save(path, c)
}

// printJSON writes v, indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table writes rows of cells in columns.
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = plain(c)
		}
		if _, err := fmt.Fprintln(tw, strings.Join(cells, "\t")); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// percent writes a share of one.
func percent(x float64) string { return fmt.Sprintf("%.2f %%", 100*x) }

// withInterval writes a share of n images with its 95 % confidence interval.
func withInterval(x float64, n int) string {
	if n < 1 { // it is not known of how many
		return percent(x)
	}
	i := metrics.Wilson(x, n)
	return fmt.Sprintf("%s (95 %%: %.2f to %.2f)", percent(x), 100*i.Low, 100*i.High)
}

// thousands writes n with commas.
func thousands[T int | int64](n T) string { return metrics.Thousands(n) }

// canceled returns ctx's error with what was going on.
func canceled(ctx context.Context, what string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
