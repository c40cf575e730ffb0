package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill/eval"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/data/picture"
	"github.com/potstill/potstill/layers/checkpoint"
)

// predictCmd is potstill predict.
type predictCmd struct {
	fileFlags
	Images []string `arg:"" name:"img" help:"Picture files, or folders of them."`
	Top    int      `default:"3" help:"How many classes to name."`
	Logits bool     `help:"Print the logits too; with --json they always are."`
	Size   int      `placeholder:"N" help:"Height and width of the center crop, if not the model's own."`
	EXIF   bool     `name:"exif" help:"Turn pictures as their EXIF orientation says. Without it that is ignored, as torchvision ignores it: give it to train, eval and predict, or to none."`
	AllBad bool     `help:"Name every file that cannot be read, a line each; else the first five."`
	inferPrecisionFlag
	deviceFlags
	jsonFlag
}

// Help is printed below the flags' summary.
func (predictCmd) Help() string {
	return `Images are prepared as the model's file says. With --json, each image is one line of JSON. Files that cannot be
read do not keep the others from being classified; the exit status is 1 then.

Example:

    potstill predict --model out/dwpw/best.safetensors --json lunch.jpg dinner.jpg`
}

// A prediction is the JSON form of one image's result.
type prediction struct {
	File   string      `json:"file"`
	Logits []float32   `json:"logits"` // in the order of the model's classes
	Top    []classProb `json:"top"`    // the most probable classes, the best first
}

// A classProb is a class and its probability in [0, 1].
type classProb struct {
	Class string  `json:"class"`
	Index int     `json:"index"`
	Prob  float64 `json:"prob"`
}

// The images that are decoded before they are run: so many, or as soon as they
// have so many pixels.
const (
	predictBatch  = 32
	predictPixels = 32 << 20
)

// maxNamed is how many of the files that cannot be read are named.
const maxNamed = 5

// Run predicts. Files that cannot be read are passed over; the error at the end
// names them.
func (c *predictCmd) Run(a *app) error {
	if c.Top < 1 {
		return fmt.Errorf("--top %d: give at least 1", c.Top)
	}
	m, err := c.fileFlags.load(a)
	if err != nil {
		return err
	}
	assumed(a, m, c.Size)
	files, err := pictures(a, c.Images)
	if err != nil {
		return err
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		p := &predictor{c: c, a: a, backend: b, model: m, seen: newCoverage(m.Preprocess)}
		for _, f := range files {
			if err := p.add(f); err != nil {
				return err
			}
		}
		if err := p.flush(); err != nil {
			return err
		}
		p.said.Log(a.log, "")
		if line := p.seen.line(); line != "" {
			a.log.Info(line)
		}
		return c.failure(a, p.failed, len(files))
	})
}

// failure is the error of files that could not be read.
func (c *predictCmd) failure(a *app, failed []error, files int) error {
	if c.AllBad && len(failed) > 1 {
		for _, err := range failed {
			a.log.Warn(err.Error())
		}
		return fmt.Errorf("%d of %d files could not be read", len(failed), files)
	}
	if n := len(failed) - maxNamed; n > 0 {
		return fmt.Errorf("%w; and %d more of %d files, which --all-bad names", errors.Join(failed[:maxNamed]...), n, files)
	}
	return errors.Join(failed...)
}

// pictures replaces folders by the pictures in them, which are found as those of
// a dataset are.
func pictures(a *app, args []string) ([]string, error) {
	var files []string
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil || !info.IsDir() {
			files = append(files, arg) // reading it will tell what is wrong
			continue
		}
		found, left, err := data.Pictures(a.ctx, arg)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			text := fmt.Sprintf("%s: there are no pictures in it (want .jpg, .png and other formats)", arg)
			if len(left) > 0 {
				text += "; " + data.Summarize(left)
			}
			return nil, errors.New(text)
		}
		data.LogLeftOut(a.log, arg, left)
		files = append(files, found...)
	}
	return files, nil
}

// A predictor collects images and predicts them in batches.
type predictor struct {
	c       *predictCmd
	a       *app
	backend engine.Backend
	model   *checkpoint.Checkpoint
	seen    *coverage
	failed  []error // what was wrong with files
	said    data.Remarks

	images []data.Image
	names  []string
	pixels int
}

// add reads a file.
func (p *predictor) add(file string) error {
	if err := canceled(p.a.ctx, "prediction was stopped"); err != nil {
		return err
	}
	img, notes, err := readPicture(file, picture.Options{EXIF: p.c.EXIF})
	if err == nil {
		err = fits(file, p.model, img)
	}
	if err != nil {
		p.failed = append(p.failed, err)
		return nil
	}
	p.said.Add(file, notes)
	p.images, p.names = append(p.images, img), append(p.names, file)
	p.seen.add(img.H, img.W)
	if p.pixels += img.H * img.W; len(p.images) < predictBatch && p.pixels < predictPixels {
		return nil
	}
	return p.flush()
}

// flush predicts the images and prints the results.
func (p *predictor) flush() error {
	if len(p.images) == 0 {
		return nil
	}
	logits, err := eval.PredictIn(p.a.ctx, p.backend, p.model, p.images, p.c.Precision)
	if err != nil {
		return err
	}
	for i, l := range logits {
		if slices.ContainsFunc(l, func(x float32) bool { return math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) }) {
			return fmt.Errorf("%s: the logits for %s are not finite, the model's weights are broken; take an earlier checkpoint", p.c.Model, p.names[i])
		}
		if err := p.c.print(p.a, prediction{File: p.names[i], Logits: l, Top: top(l, p.model.Classes, p.c.Top)}); err != nil {
			return err
		}
	}
	clear(p.images)
	p.images, p.names, p.pixels = p.images[:0], p.names[:0], 0
	return nil
}

// readPicture decodes a file.
func readPicture(path string, o picture.Options) (data.Image, []picture.Note, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return data.Image{}, nil, fmt.Errorf("%w; name a picture's file", err)
	}
	img, notes, err := picture.Decode(text, o)
	if err != nil {
		return img, nil, fmt.Errorf("%s: %w", path, err)
	}
	return img, notes, nil
}

// fits reports a picture that the model's preparation would make too large.
func fits(path string, m *checkpoint.Checkpoint, img data.Image) error {
	if err := m.Preprocess.Transform().CheckSize(img.H, img.W); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// top returns the n most probable classes by softmax, in float64.
func top(logits []float32, names []string, n int) []classProb {
	highest, sum := float64(slices.Max(logits)), 0.0
	all := make([]classProb, len(logits))
	for i, l := range logits {
		p := math.Exp(float64(l) - highest)
		sum += p
		all[i] = classProb{Class: strconv.Itoa(i), Index: i, Prob: p}
		if len(names) > 0 {
			all[i].Class = names[i]
		}
	}
	for i := range all {
		all[i].Prob /= sum
	}
	slices.SortStableFunc(all, func(x, y classProb) int { return cmp.Compare(y.Prob, x.Prob) })
	return all[:min(n, len(all))]
}

func (c *predictCmd) print(a *app, p prediction) error {
	if c.JSON {
		return json.NewEncoder(a.out).Encode(p)
	}
	parts := make([]string, len(p.Top))
	for i, t := range p.Top {
		parts[i] = fmt.Sprintf("%s %.1f %%", t.Class, 100*t.Prob)
	}
	line := p.File + "  " + strings.Join(parts, ", ")
	if c.Logits {
		line += fmt.Sprintf("  %.6g", p.Logits)
	}
	_, err := fmt.Fprintln(a.out, line)
	return err
}
