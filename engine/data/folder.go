package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/potstill/potstill/engine/data/picture"
)

const (
	maxDepth   = 16      // folders within one another
	maxFolders = 1 << 18 // in all, so that links cannot lead around without end
)

// A walker visits the files of a folder, by the one rule for all readers of
// folders: hidden names are passed over; symbolic links are followed, but not to
// a folder that they lie in.
type walker struct {
	ctx     context.Context
	root    string
	visit   func(name string, st fs.FileInfo) // of each regular file, in the order of names
	dirs    []string
	left    leftOut
	above   []fs.FileInfo // the folders from the root down to the one under way
	folders int
}

// walk visits the folder of that name below the root; "" is the root.
func (w *walker) walk(rel string) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.folders++; w.folders > maxFolders {
		return fmt.Errorf("data: %s: more than %d folders in it: links lead around in it; remove them", w.root, maxFolders)
	}
	dir := filepath.Join(w.root, filepath.FromSlash(rel))
	here, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	w.above = append(w.above, here)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	for _, e := range entries {
		if err := w.entry(path.Join(rel, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(name, file string) error {
	if isHidden(path.Base(name)) {
		w.left.add(whyHidden, name)
		return nil
	}
	st, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.left.add(whyBroken, name)
	case err != nil && w.isLink(file): // a link to itself, or into a folder that may not be read
		w.left.addError(whyBroken, name, errors.Unwrap(err).Error())
	case err != nil:
		return fmt.Errorf("data: %w", err)
	case st.IsDir() && w.loops(st):
		w.left.add(whyLoop, name)
	case st.IsDir() && len(w.above) > maxDepth:
		w.left.add(whyDeep, name)
	case st.IsDir():
		w.dirs = append(w.dirs, name)
		return w.walk(name)
	case st.Mode().IsRegular():
		w.visit(name, st)
	default:
		w.left.add(whySpecial, name)
	}
	return nil
}

func (w *walker) isLink(file string) bool {
	st, err := os.Lstat(file)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// loops reports whether st is one of the folders that are being visited.
func (w *walker) loops(st fs.FileInfo) bool {
	for _, a := range w.above {
		if os.SameFile(a, st) {
			return true
		}
	}
	return false
}

// Pictures returns the paths of the pictures below a folder, in the order of
// their names, and what else is there. It goes by the rule of datasets: hidden
// files are passed over, and symbolic links followed.
func Pictures(ctx context.Context, root string) (paths []string, left []LeftOut, err error) {
	w := &walker{ctx: ctx, root: root}
	w.visit = func(name string, _ fs.FileInfo) {
		if picture.IsPicture(name) {
			paths = append(paths, filepath.Join(root, filepath.FromSlash(name)))
		} else {
			w.left.addKind(name)
		}
	}
	err = w.walk("")
	return paths, w.left, err
}

// folder is a source on disk.
type folder struct {
	root   string
	lst    listing
	texts  []string // names of class lists and what may be label files
	meta   []string
	newest time.Time
}

func newFolder(ctx context.Context, root string) (*folder, error) {
	f := &folder{root: root}
	w := &walker{ctx: ctx, root: root}
	var t texts
	w.visit = func(name string, st fs.FileInfo) {
		switch {
		case picture.IsPicture(name):
			f.add(name, st)
		case t.take(name, st.Size()):
			f.texts = append(f.texts, name)
			f.note(name, st)
		default:
			w.left.addKind(name)
		}
	}
	if err := w.walk(""); err != nil {
		return nil, err
	}
	f.lst.dirs, f.lst.left = w.dirs, w.left
	return f, nil
}

// note makes a file a part of the stamp.
func (f *folder) note(name string, st fs.FileInfo) {
	f.meta = append(f.meta, fmt.Sprintf("%q %d %d", name, st.Size(), st.ModTime().UnixNano()))
	if st.ModTime().After(f.newest) {
		f.newest = st.ModTime()
	}
}

func (f *folder) add(name string, st fs.FileInfo) {
	f.note(name, st)
	if st.Size() > maxFileSize {
		f.lst.skipped = append(f.lst.skipped, skippedRecord{File: name, Err: errFileTooLarge.Error()})
		return
	}
	f.lst.files = append(f.lst.files, listed{name: name, seq: len(f.lst.files)})
}

func (f *folder) stamp(context.Context) (string, time.Time, error) {
	dirs := strings.Join(f.lst.dirs, "\n")
	return fmt.Sprintf("folder %q\n%s\n%s", f.root, strings.Join(f.meta, "\n"), dirs), f.newest, nil
}

func (f *folder) noticed() (leftOut, bool) { return f.lst.left, true }

func (f *folder) list(context.Context) (*listing, error) {
	for _, name := range f.texts {
		b, err := os.ReadFile(filepath.Join(f.root, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		f.lst.texts = append(f.lst.texts, textFile{name, b})
	}
	f.texts = nil
	return &f.lst, nil
}

func (f *folder) read(ctx context.Context, want func(int) bool, yield func(int, []byte) error) error {
	for _, e := range f.lst.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !want(e.seq) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(f.root, filepath.FromSlash(e.name)))
		if err != nil {
			return fmt.Errorf("data: %w", err)
		}
		if err := yield(e.seq, b); err != nil {
			return err
		}
	}
	return nil
}
