package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/study"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/atomicfile"
	"github.com/potstill/potstill/layers/checkpoint"
)

// roundFlags are those of a cut in rounds.
type roundFlags struct {
	Rounds int    `placeholder:"N" group:"Rounds:" help:"Cut in N parts, with training on --data after each. The rounds are steps of a recipe in the folder that --out names, with .rounds for its ending; the same command resumes there."`
	Epochs int    `placeholder:"N" group:"Rounds:" help:"Epochs of training after each part."`
	Tune   string `placeholder:"SETTINGS" group:"Rounds:" help:"Settings of this training as recipes have them, as in 'lr: 1e-4, batch: 64, schedule: {kind: cosine}'."`
	Teach  bool   `group:"Rounds:" help:"Distill from the whole net in each round: plain kd, or what kd, temperature and alpha in --tune say."`
}

// checkRounds reports flags that do not go together with a cut in rounds.
func (c *pruneCmd) checkRounds() error {
	switch {
	case c.Rounds == 0 && (c.Epochs != 0 || c.Tune != "" || c.Teach):
		return errors.New("--epochs, --tune and --teach are for the training between the parts of a cut; give --rounds, too, 1 for one part")
	case c.Rounds == 0:
		return nil
	case c.Rounds < 0 || c.Rounds > 1000:
		return fmt.Errorf("--rounds %d: give a number from 1 to 1000", c.Rounds)
	case c.study():
		return errors.New("--mult and --widths are the study's cut; its rounds are those of a recipe (rate: and rounds:)")
	case c.DryRun:
		return errors.New("--dry-run has no effect with --rounds, whose later cuts depend on the training; leave one of them out")
	case c.Compat != "":
		return errors.New("Torch-Pruning's choice is made in one cut; leave out --compat or --rounds")
	case c.Epochs < 1:
		return errors.New("--rounds trains after each part: give --epochs, too")
	case c.Data == "":
		return errors.New("--rounds trains after each part: name the images with --data")
	}
	return nil
}

// A roundsPruned is the JSON form of a cut in rounds.
type roundsPruned struct {
	File   string       `json:"file"`
	Bytes  int64        `json:"bytes"` // of File
	Folder string       `json:"folder"`
	Whole  prune.Cost   `json:"whole"`  // before the first
	Rounds []study.Made `json:"rounds"` // the whole net, and then what each round has come to
}

// inRounds cuts and trains in turns, as the steps of a recipe, and writes the last
// net to path.
func (c *pruneCmd) inRounds(a *app, m *checkpoint.Checkpoint, o prune.Options, path string) error {
	if err := o.Validate(); err != nil {
		return err
	}
	var size *pixels
	if c.Size != 0 {
		size = &pixels{h: c.Size, w: c.Size}
	}
	p, err := imageFlags{Size: size}.preprocess(c.dataFlags, m.Net, m, nil)
	if err != nil {
		return err
	}
	dir := strings.TrimSuffix(path, filepath.Ext(path)) + ".rounds"
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("the output folder cannot be made: %w; choose another with --out", err)
	}
	return c.deviceFlags.with(a, func(b engine.Backend) error {
		m.Preprocess = p
		r := roundsPruned{File: path, Folder: dir}
		if r.Whole, err = c.costBefore(a, b, m, o, dir); err != nil {
			return err
		}
		if o.Whole, err = prune.WidthsOf(m.Net); err != nil {
			return err
		}
		text, names := c.rounds(p, o).Recipe(r.Whole)
		name := filepath.Join(dir, "recipe.yaml")
		recipe, err := study.Parse(name, []byte(text))
		if err != nil {
			return err
		}
		if err := atomicfile.Write(name, []byte(text), 0o666); err != nil {
			return err
		}
		open := c.dataFlags.options()
		open.Strict, open.Labels, open.EXIF, open.Progress = c.Strict, c.Labels, c.EXIF, a.reading(c.Data)
		r.Rounds, err = study.Make(a.ctx, b, recipe, study.Options{Dir: dir, Open: open, Logger: a.log, Progress: &studyProgress{console: a.console}}, names)
		a.console.end()
		if err != nil {
			return err
		}
		last, err := checkpoint.Load(r.Rounds[len(r.Rounds)-1].File)
		if err != nil {
			return err
		}
		if r.Bytes, err = saveModel(path, last); err != nil {
			return err
		}
		return c.printRounds(a, &r)
	})
}

func (c *pruneCmd) printRounds(a *app, r *roundsPruned) error {
	if c.JSON {
		return printJSON(a.out, r)
	}
	rows := [][]string{{"round", "parameters", "bytes", "validation"}}
	for i, m := range r.Rounds {
		name := strconv.Itoa(i)
		if i == 0 {
			name = "before"
		}
		rows = append(rows, []string{name, thousands(m.Params), thousands(m.Bytes), share(m.ValAccuracy)})
	}
	if err := table(a.out, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return table(a.out, [][]string{{"pruned model", r.File}, {"rounds", r.Folder}})
}

// costBefore returns what the whole net costs. It is kept in the folder, since a time
// is not measured twice the same, and the rounds' targets depend on it.
func (c *pruneCmd) costBefore(a *app, b engine.Backend, m *checkpoint.Checkpoint, o prune.Options, dir string) (cost prune.Cost, err error) {
	path := filepath.Join(dir, "whole.json")
	untimed := o
	untimed.MS = 0
	if cost, err = prune.CostOf(a.ctx, compress.Env{}, m, untimed); err != nil || o.MS == 0 {
		return cost, err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		var kept prune.Cost
		err = json.Unmarshal(text, &kept)
		now := kept
		now.MS = 0
		if err == nil && now == cost && kept.MS > 0 {
			return kept, nil
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return cost, fmt.Errorf("%s: %w; remove the file, or choose another --out", path, err)
	}
	if cost, err = prune.CostOf(a.ctx, compress.Env{Backend: b, Log: a.log}, m, o); err != nil {
		return cost, err
	}
	if cost.MS <= o.MS {
		return cost, fmt.Errorf("a target of %g ms is met by the net as it is, which takes %.4g ms; ask for less", o.MS, cost.MS)
	}
	if text, err = json.Marshal(cost); err != nil {
		return cost, err
	}
	return cost, atomicfile.Write(path, append(text, '\n'), 0o666)
}

// rounds are the flags as a study has them.
func (c *pruneCmd) rounds(p checkpoint.Preprocess, o prune.Options) study.CutRounds {
	r := study.CutRounds{
		Model: c.Model, Arch: c.Arch, Weights: c.Weights, Data: c.Data, Limit: c.Limit, Preprocess: p,
		Cut: o, Rounds: c.Rounds, Epochs: c.Epochs, Tune: c.Tune, Teach: c.Teach,
	}
	if c.Input.H > 0 {
		r.Input = fmt.Sprintf("%dx%dx%d", c.Input.C, c.Input.H, c.Input.W)
	}
	return r
}
