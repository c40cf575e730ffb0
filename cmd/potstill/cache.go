package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// cacheCmd is potstill cache.
type cacheCmd struct {
	Show  cacheShowCmd  `cmd:"" default:"withargs" help:"List the datasets of which images are kept."`
	Prune cachePruneCmd `cmd:"" help:"Remove what was not used for longest."`
	Clear cacheClearCmd `cmd:"" help:"Remove all."`
}

// cacheDirFlag names the folder.
type cacheDirFlag struct {
	Cache string `placeholder:"DIR" env:"POTSTILL_CACHE" help:"The folder; else the user's cache folder."`
}

func (f cacheDirFlag) dir() (string, error) {
	if f.Cache != "" {
		return f.Cache, nil
	}
	return data.CacheDir()
}

// A cacheInfo is the JSON form of what is kept.
type cacheInfo struct {
	Dir      string          `json:"dir"`
	Bytes    int64           `json:"bytes"` // of all
	Datasets []cachedDataset `json:"datasets"`
}

type cachedDataset struct {
	File   string    `json:"file"`
	Name   string    `json:"name"`
	Source string    `json:"source"`
	Images int       `json:"images"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used"`
	InUse  bool      `json:"in_use"`
}

// cacheShowCmd is potstill cache show.
type cacheShowCmd struct {
	cacheDirFlag
	jsonFlag
}

// Help is printed below the flags' summary.
func (cacheShowCmd) Help() string {
	return `Example:

    potstill cache show`
}

// Run lists what is there.
func (c *cacheShowCmd) Run(a *app) error {
	dir, err := c.dir()
	if err != nil {
		return err
	}
	all, err := data.ListCache(dir)
	if err != nil {
		return err
	}
	i := cacheInfo{Dir: dir, Datasets: []cachedDataset{}}
	rows := [][]string{{"data", "images", "size", "last used", "made from"}}
	for _, d := range all {
		i.Bytes += d.Bytes
		i.Datasets = append(i.Datasets, cachedDataset(d))
		used := ago(d.Used)
		if d.InUse {
			used = "in use"
		}
		name := d.Name
		if name == "" {
			name = "(of another version)"
		}
		rows = append(rows, []string{name, thousands(d.Images), engine.HumanBytes(int(d.Bytes)), used, d.Source})
	}
	if c.JSON {
		return printJSON(a.out, i)
	}
	if len(all) > 0 {
		if err := table(a.out, rows); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, "%s in %s\n", engine.HumanBytes(int(i.Bytes)), dir)
	return err
}

// cachePruneCmd is potstill cache prune.
type cachePruneCmd struct {
	cacheDirFlag
	MaxSize   *byteSize `placeholder:"SIZE" help:"Leave no more than that, as in 2GB."`
	OlderThan *age      `placeholder:"TIME" help:"Remove what was not used for that long, as in 30d."`
	jsonFlag
}

// Help is printed below the flags' summary.
func (cachePruneCmd) Help() string {
	return `What is open is never removed, what runs that were killed left half written always is.

Example:

    potstill cache prune --max-size 2GB --older-than 30d`
}

// Run prunes.
func (c *cachePruneCmd) Run(a *app) error {
	if c.MaxSize == nil && c.OlderThan == nil {
		return errors.New("say what is to go: --max-size, --older-than, or potstill cache clear for all")
	}
	return c.prune(a, c.JSON, func(d data.Cached, total int64) bool {
		return c.MaxSize != nil && total > int64(*c.MaxSize) || c.OlderThan != nil && time.Since(d.Used) > time.Duration(*c.OlderThan)
	})
}

// cacheClearCmd is potstill cache clear.
type cacheClearCmd struct {
	cacheDirFlag
	jsonFlag
}

// Help is printed below the flags' summary.
func (cacheClearCmd) Help() string {
	return `What is open stays. Images are decoded again when they are needed.

Example:

    potstill cache clear`
}

// Run clears.
func (c *cacheClearCmd) Run(a *app) error {
	return c.prune(a, c.JSON, func(data.Cached, int64) bool { return true })
}

// A cachePruned is the JSON form of what was removed.
type cachePruned struct {
	Dir     string   `json:"dir"`
	Removed []string `json:"removed"` // files
	Bytes   int64    `json:"bytes"`   // of them
	Left    int64    `json:"left"`    // bytes that are there still
}

// prune removes what drop says.
func (f cacheDirFlag) prune(a *app, asJSON bool, drop func(d data.Cached, total int64) bool) error {
	dir, err := f.dir()
	if err != nil {
		return err
	}
	removed, err := data.PruneCache(dir, drop)
	if err != nil {
		return err
	}
	p := cachePruned{Dir: dir, Removed: []string{}}
	for _, r := range removed {
		p.Removed = append(p.Removed, r.File)
		p.Bytes += r.Bytes
	}
	left, err := data.ListCache(dir)
	if err != nil {
		return err
	}
	for _, d := range left {
		p.Left += d.Bytes
	}
	if asJSON {
		return printJSON(a.out, p)
	}
	what := "datasets"
	if len(removed) == 1 {
		what = "dataset"
	}
	_, err = fmt.Fprintf(a.out, "removed %d %s of %s; %s are left in %s\n", len(removed), what, engine.HumanBytes(int(p.Bytes)), engine.HumanBytes(int(p.Left)), dir)
	return err
}
