package data

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/potstill/potstill/engine/data/classlist"
)

// Open reads the dataset that spec names: a folder, a tar (plain or compressed by
// gzip or bzip2) or a zip of such a folder, or "builtin:fashion". The package
// documentation describes the layouts. Pictures are decoded on the first call and
// come from the cache on later ones. Where the cache cannot be written (no space,
// no permission) the images are held in memory and a warning is logged. What is
// left out is logged in one line. When ctx ends, Open returns its error and leaves
// no partial files.
func Open(ctx context.Context, spec string, o Options) (*Dataset, error) {
	return open(ctx, spec, o, createTemp)
}

func open(ctx context.Context, spec string, o Options, create func(dir string) (cacheFile, error)) (*Dataset, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if name, ok := strings.CutPrefix(spec, "builtin:"); ok {
		if name != "fashion" {
			return nil, fmt.Errorf("data: no built-in dataset %q (there is builtin:fashion)", name)
		}
		return openFashion(ctx, o)
	}
	src, err := newSource(ctx, spec)
	if err != nil {
		return nil, err
	}
	b := &builder{ctx: ctx, src: src, o: o, spec: spec, name: datasetName(spec), cache: cacheDir{
		dir: o.CacheDir, form: form{o.Size, o.Resize, o.EXIF}, limit: o.CacheLimit, create: create, log: o.Logger}}
	st, err := b.store()
	if err != nil {
		return nil, err
	}
	d, err := newDataset(b.name, spec, st, o)
	if err == nil {
		d.listed = b.stamp.Listed
		left := slices.Clone(b.stamp.Listing)
		left.merge(b.stamp.Layout)
		left.merge(d.LeftOut)
		order(left)
		d.LeftOut = left
		err = d.check(spec, o, b.stamp.Notes)
	}
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	LogLeftOut(o.Logger, spec, d.LeftOut)
	for _, n := range b.stamp.Notes {
		o.Logger.Info(spec + ": " + n)
	}
	if line := st.idx.Same.line(); line != "" {
		o.Logger.Warn(spec + ": " + line)
	}
	if line := st.anew(); line != "" && !o.Evaluate && o.Resize == 0 {
		o.Logger.Info(spec + ": " + line)
	}
	return d, nil
}

// anew reports images that are decoded whenever they are wanted; it is "" if there
// are none.
func (s *store) anew() string {
	n, pixels := 0, 0
	for i := range s.idx.Items {
		if e := &s.idx.Items[i]; e.Z > 0 {
			n++
			pixels += e.H * e.W * 3
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d pictures are kept as their files, since their pixels would take %.0f MB, and are decoded anew in every epoch: "+
		"a resize of all of them would be kept instead", n, len(s.idx.Items), float64(pixels)/1e6)
}

// complete checks the options and gives those that were left out their meaning.
func (o *Options) complete() error {
	switch {
	case o.Size < 0 || o.Size > maxSide:
		return fmt.Errorf("data: stored size %d is not in 0…%d", o.Size, maxSide)
	case o.Resize < 0 || o.Resize > maxSide:
		return fmt.Errorf("data: resize %d is not in 0…%d", o.Resize, maxSide)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.ValFraction == 0 {
		o.ValFraction = 0.2
	}
	if !(o.ValFraction > 0 && o.ValFraction < 1) {
		return fmt.Errorf("data: validation fraction %g is not between 0 and 1", o.ValFraction)
	}
	switch {
	case o.CacheLimit == 0:
		o.CacheLimit = DefaultCacheLimit
	case o.CacheLimit < 0:
		o.CacheLimit = math.MaxInt64
	}
	if o.CacheDir == "" {
		o.CacheDir, _ = CacheDir() // without one, images stay in memory, which is logged
	}
	return nil
}

func datasetName(spec string) string {
	if abs, err := filepath.Abs(spec); err == nil {
		spec = abs
	}
	name := filepath.Base(spec)
	for _, ext := range []string{".gz", ".bz2", ".tgz", ".tbz2", ".tar", ".zip"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// newDataset makes the splits of a store.
func newDataset(name, spec string, st *store, o Options) (*Dataset, error) {
	d := &Dataset{Name: name, Classes: st.idx.Classes, Fingerprint: st.print, HeldOut: st.idx.Held, LeftOut: skippedLeft(st.idx.Skipped), st: st}
	for _, s := range st.idx.Skipped {
		d.Skipped = append(d.Skipped, Skipped{File: s.File, Err: errors.New(s.Err)})
		if o.Strict {
			return nil, fmt.Errorf("data: %s: %s: %s (strict)", spec, s.File, s.Err)
		}
	}
	var parts [numParts]*Split
	for p := range parts {
		parts[p] = &Split{st: st, classes: len(d.Classes)}
	}
	for i, it := range st.idx.Items {
		parts[it.Part].at = append(parts[it.Part].at, i)
	}
	d.Train, d.Val = parts[partTrain], parts[partVal]
	if parts[partTest].Len() > 0 {
		d.Test = parts[partTest]
	}
	return d, nil
}

// skippedLeft counts pictures that were skipped.
func skippedLeft(skipped []skippedRecord) (left leftOut) {
	for _, s := range skipped {
		switch s.Err {
		case errEmpty.Error():
			left.add(whyEmpty, s.File)
		case errFileTooLarge.Error():
			left.add(whyTooLarge, s.File)
		default:
			left.addError(whyUndecoded, s.File, s.Err)
		}
	}
	return left
}

// check reports what a dataset lacks for its use, with what else is known of it.
func (d *Dataset) check(spec string, o Options, notes []string) error {
	bad := func(format string, a ...any) error {
		parts := append([]string{fmt.Sprintf("data: %s: "+format, append([]any{spec}, a...)...)}, notes...)
		if len(d.LeftOut) > 0 {
			parts = append(parts, Summarize(d.LeftOut))
		}
		return errors.New(strings.Join(parts, "; "))
	}
	if d.All().Len() == 0 {
		return bad("no pictures that can be decoded")
	}
	if o.Evaluate {
		return nil
	}
	if d.Train.Len() == 0 {
		return bad("no pictures in a training folder (training or train)")
	}
	in := make([][numParts]int, len(d.Classes))
	skipped := d.skippedClasses()
	for _, it := range d.st.idx.Items {
		in[it.Label][it.Part]++
	}
	for c, n := range in {
		name := d.Classes[c]
		switch {
		case n[partTrain] > 0:
		case skipped[name]:
			return bad("class %q has no training images that can be decoded", name)
		case n[partVal]+n[partTest] > 0:
			return bad("class %q has images for validation or testing but none for training", name)
		case numbered(d.Classes):
			return bad("class %q has no images (labels run from 0 to %d)", name, len(d.Classes)-1)
		default:
			return bad("class %q has no images: fill its folder or remove it", name)
		}
	}
	switch {
	case len(d.Classes) == 1:
		return bad("all %d pictures are of one class, %q, and there is nothing to tell apart: want a folder for each class, <class>_<n>.jpg, or a label file such as labels.csv", d.All().Len(), d.Classes[0])
	case d.Val.Len() == 0:
		return bad("no validation images: add a validation folder or more images a class")
	}
	return nil
}

// numbered reports whether classes are called by their numbers.
func numbered(classes []string) bool {
	for i, c := range classes {
		if c != strconv.Itoa(i) {
			return false
		}
	}
	return true
}

// skippedClasses are the classes of which a picture in a class folder, or with
// its number, was skipped.
func (d *Dataset) skippedClasses() map[string]bool {
	of := map[string]bool{}
	for _, s := range d.Skipped {
		name := inPart(s.File)
		if class, _, ok := strings.Cut(name, "/"); ok {
			of[classlist.Normalize(class)] = true
		} else if n := studyLabel(name); n >= 0 {
			of[strconv.Itoa(n)] = true
		} else if class := nameLabel(name); class != "" {
			of[classlist.Normalize(class)] = true
		}
	}
	return of
}
