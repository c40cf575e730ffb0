package data

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Options say how a dataset is opened. The zero value is usable.
type Options struct {
	// CacheDir is where decoded images are kept. "" is the folder potstill in
	// the user's cache folder.
	CacheDir string
	// Size bounds the stored images: one whose shorter side is longer is scaled
	// down once, antialiased, so that its shorter side is Size; smaller ones
	// stay. 0 stores all as they are, which is the study's recipe: its random
	// crop then finds the whole picture.
	Size int
	// Strict makes a picture that cannot be decoded an error; else it is left
	// out, logged, and listed in Dataset.Skipped.
	Strict bool
	// ValFraction is the share of each class that becomes the validation part
	// of a set that has none. 0 means 0.2. Which files it takes depends on
	// their names' hashes alone.
	ValFraction float64
	Logger      *slog.Logger          // nil: silent
	Progress    func(done, total int) // called while decoding, from one goroutine at a time; may be nil
}

// Dataset is a set of labelled images in up to three parts.
type Dataset struct {
	Name             string   // the spec's last element, without extension
	Classes          []string // by label; in the study's naming "0", "1", …
	Train, Val, Test *Split   // Test may be nil
	// Fingerprint is the hex SHA-256 of all names, labels, parts and files'
	// bytes, and of the options that change what is stored. A folder and a tar
	// of it have the same.
	Fingerprint string
	Skipped     []Skipped // pictures left out
	st          *store
}

// Skipped is a picture that was left out, and why.
type Skipped struct {
	File string
	Err  error
}

// Close releases the cache. Images of the dataset must not be used afterwards,
// so loaders have to be closed before. It may be called twice.
func (d *Dataset) Close() error { return d.st.close() }

// Split is one part of a dataset, in a fixed order: by name in the study's
// naming, by class and name in one-folder-a-class sets (torchvision's order).
type Split struct {
	st      *store
	at      []int // records of the store
	classes int
}

// Len returns the number of images.
func (s *Split) Len() int { return len(s.at) }

// Label returns the class of image i.
func (s *Split) Label(i int) int { return s.st.idx.Items[s.at[i]].Label }

// File returns the name of image i, relative to the dataset's root.
func (s *Split) File(i int) string { return s.st.idx.Items[s.at[i]].File }

// Image returns image i as a view into the cache, layout HWC. It must not be
// written to, and not be used after the dataset is closed.
func (s *Split) Image(i int) Image { return s.st.image(s.at[i]) }

// Uniform returns the images' height and width, if all have the same.
func (s *Split) Uniform() (h, w int, ok bool) {
	for i := range s.at {
		m := s.Image(i)
		if i == 0 {
			h, w = m.H, m.W
		}
		if m.H != h || m.W != w {
			return 0, 0, false
		}
	}
	return h, w, len(s.at) > 0
}

// Subset returns n images, or all where there are fewer: the first of each
// class, then the second of each, and so on, so that classes stay balanced.
func (s *Split) Subset(n int) *Split {
	by := make([][]int, s.classes)
	for i, at := range s.at {
		l := s.Label(i)
		by[l] = append(by[l], at)
	}
	n = min(max(n, 0), len(s.at))
	out := &Split{st: s.st, classes: s.classes, at: make([]int, 0, n)}
	for k := 0; len(out.at) < n; k++ {
		for _, c := range by {
			if k < len(c) && len(out.at) < n {
				out.at = append(out.at, c[k])
			}
		}
	}
	return out
}

// Open reads the dataset that spec names: a folder, a tar (plain or gzipped) of
// such a folder, or "builtin:fashion". The package documentation describes the
// layouts. Pictures are decoded on the first call and come from the cache on
// later ones. Where the cache cannot be written (no space, no permission) the
// images are held in memory and a warning is logged. When ctx ends, Open returns
// its error and leaves no partial files.
func Open(ctx context.Context, spec string, o Options) (*Dataset, error) {
	return open(ctx, spec, o, createTemp)
}

func open(ctx context.Context, spec string, o Options, create func(dir string) (cacheFile, error)) (*Dataset, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Size < 0 || o.Size > maxSide {
		return nil, fmt.Errorf("data: stored size %d is not in 0…%d", o.Size, maxSide)
	}
	if o.ValFraction == 0 {
		o.ValFraction = 0.2
	}
	if !(o.ValFraction > 0 && o.ValFraction < 1) {
		return nil, fmt.Errorf("data: validation fraction %g is not between 0 and 1", o.ValFraction)
	}
	if name, ok := strings.CutPrefix(spec, "builtin:"); ok {
		if name != "fashion" {
			return nil, fmt.Errorf("data: no built-in dataset %q (there is builtin:fashion)", name)
		}
		return openFashion(ctx, o)
	}
	src, err := newSource(ctx, spec, o.Logger)
	if err != nil {
		return nil, err
	}
	if o.CacheDir == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			o.CacheDir = filepath.Join(dir, "potstill")
		}
	}
	b := &builder{ctx: ctx, src: src, o: o, spec: spec, create: create}
	st, err := b.store()
	if err != nil {
		return nil, err
	}
	d, err := newDataset(datasetName(spec), spec, st, o)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	return d, nil
}

func datasetName(spec string) string {
	if abs, err := filepath.Abs(spec); err == nil {
		spec = abs
	}
	name := filepath.Base(spec)
	for _, ext := range []string{".gz", ".tgz", ".tar"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// newDataset makes the splits of a store and checks what is left after skipping.
func newDataset(name, spec string, st *store, o Options) (*Dataset, error) {
	d := &Dataset{Name: name, Classes: st.idx.Classes, Fingerprint: st.print, st: st}
	for _, s := range st.idx.Skipped {
		d.Skipped = append(d.Skipped, Skipped{File: s.File, Err: errors.New(s.Err)})
		if o.Strict {
			return nil, fmt.Errorf("data: %s: %s: %s (strict)", spec, s.File, s.Err)
		}
		o.Logger.Warn("picture skipped", "dataset", spec, "file", s.File, "error", s.Err)
	}
	var parts [numParts]*Split
	for p := range parts {
		parts[p] = &Split{st: st, classes: len(d.Classes)}
	}
	count := make([]int, len(d.Classes))
	for i, it := range st.idx.Items {
		parts[it.Part].at = append(parts[it.Part].at, i)
		if it.Part == partTrain {
			count[it.Label]++
		}
	}
	for c, n := range count {
		if n == 0 {
			return nil, fmt.Errorf("data: %s: class %q has no training images that can be decoded", spec, d.Classes[c])
		}
	}
	if parts[partVal].Len() == 0 {
		return nil, fmt.Errorf("data: %s: no validation images: add a validation folder or more images a class", spec)
	}
	d.Train, d.Val = parts[partTrain], parts[partVal]
	if parts[partTest].Len() > 0 {
		d.Test = parts[partTest]
	}
	return d, nil
}
