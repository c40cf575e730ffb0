package data

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// A source is a folder or a tar: named files that can be listed once and read
// in order as often as needed.
type source interface {
	// stamp describes the state of the source cheaply, by names, sizes and
	// times; newest is the latest modification that it covers.
	stamp(ctx context.Context) (s string, newest time.Time, err error)
	list(ctx context.Context) (*listing, error)
	// read calls yield with the bytes of the files whose number is wanted, in
	// ascending order of the numbers.
	read(ctx context.Context, want func(seq int) bool, yield func(seq int, b []byte) error) error
}

// listing is what a source holds. Names are relative slash paths.
type listing struct {
	files   []listed
	dirs    []string
	skipped []skippedRecord // pictures too large to be read
}

type listed struct {
	name string
	seq  int
}

// newSource opens spec for listing. Problems of the path itself are reported
// here.
func newSource(ctx context.Context, spec string, log *slog.Logger) (source, error) {
	st, err := os.Stat(spec)
	if errors.Is(err, fs.ErrNotExist) || spec == "" {
		return nil, fmt.Errorf("data: no such folder or file: %q (want a folder, a .tar, or builtin:fashion)", spec)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	abs, err := filepath.Abs(spec)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if st.IsDir() {
		f := &folder{root: abs, spec: spec, log: log, seen: map[string]bool{}}
		if err := f.scan(ctx, "", 0); err != nil {
			return nil, err
		}
		return f, nil
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("data: %s is neither a folder nor a file", spec)
	}
	return &tarball{path: abs, spec: spec, size: st.Size(), mtime: st.ModTime(), log: log}, nil
}

// isPicture reports whether a file's name has an extension that is read.
func isPicture(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}

// isHidden reports names that no dataset means: dot files and what macOS adds
// to archives.
func isHidden(elem string) bool { return strings.HasPrefix(elem, ".") || elem == "__MACOSX" }

// folder is a source on disk. Symbolic links in it are followed, each folder
// once.
type folder struct {
	root, spec string
	log        *slog.Logger
	lst        listing
	meta       []string
	newest     time.Time
	seen       map[string]bool
}

const maxDepth = 16

func (f *folder) scan(ctx context.Context, rel string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	dir := filepath.Join(f.root, filepath.FromSlash(rel))
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		if f.seen[real] {
			return nil
		}
		f.seen[real] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	for _, e := range entries {
		if isHidden(e.Name()) {
			continue
		}
		name := path.Join(rel, e.Name())
		st, err := os.Stat(filepath.Join(dir, e.Name()))
		if err != nil { // a dangling link
			f.log.Warn("ignored", "dataset", f.spec, "file", name, "error", err)
			continue
		}
		switch {
		case st.IsDir() && depth < maxDepth:
			f.lst.dirs = append(f.lst.dirs, name)
			if err := f.scan(ctx, name, depth+1); err != nil {
				return err
			}
		case st.Mode().IsRegular() && isPicture(name):
			f.add(name, st)
		}
	}
	return nil
}

func (f *folder) add(name string, st fs.FileInfo) {
	f.meta = append(f.meta, fmt.Sprintf("%q %d %d", name, st.Size(), st.ModTime().UnixNano()))
	if st.ModTime().After(f.newest) {
		f.newest = st.ModTime()
	}
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

func (f *folder) list(context.Context) (*listing, error) { return &f.lst, nil }

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

// tarball is a tar, plain or gzipped (told apart by the first bytes).
type tarball struct {
	path, spec string
	size       int64
	mtime      time.Time
	log        *slog.Logger
}

func (t *tarball) stamp(context.Context) (string, time.Time, error) {
	return fmt.Sprintf("tar %q %d %d", t.path, t.size, t.mtime.UnixNano()), t.mtime, nil
}

// entryName cleans the name of a tar entry. Absolute names, and names that
// leave the archive's folder, are refused.
func entryName(name string) (string, bool) {
	if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\\\x00") {
		return "", false
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", false
	}
	name = path.Clean(name)
	return name, name != "."
}

func (t *tarball) list(ctx context.Context) (*listing, error) {
	lst, last := new(listing), map[string]int{}
	ignored := 0
	err := t.walk(ctx, func(seq int, h *tar.Header, _ io.Reader) error {
		name, ok := entryName(h.Name)
		switch {
		case !ok || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
			if h.Typeflag != tar.TypeXGlobalHeader && name != "." {
				ignored++
			}
		case slices.ContainsFunc(strings.Split(name, "/"), isHidden):
		case h.Typeflag == tar.TypeDir:
			lst.dirs = append(lst.dirs, name)
		case !isPicture(name):
		case h.Size > maxFileSize:
			lst.skipped = append(lst.skipped, skippedRecord{File: name, Err: errFileTooLarge.Error()})
		default:
			if i, dup := last[name]; dup { // a later entry replaces an earlier one
				lst.files[i].seq = seq
				return nil
			}
			last[name] = len(lst.files)
			lst.files = append(lst.files, listed{name: name, seq: seq})
		}
		return nil
	})
	if ignored > 0 {
		t.log.Warn("ignored links, special files and names that leave the archive", "dataset", t.spec, "entries", ignored)
	}
	return lst, err
}

func (t *tarball) read(ctx context.Context, want func(int) bool, yield func(int, []byte) error) error {
	return t.walk(ctx, func(seq int, h *tar.Header, r io.Reader) error {
		if !want(seq) {
			return nil
		}
		if h.Size > maxFileSize {
			return fmt.Errorf("data: %s: %s changed while it was read", t.spec, h.Name)
		}
		b := make([]byte, h.Size)
		if _, err := io.ReadFull(r, b); err != nil {
			return t.broken(seq, err)
		}
		return yield(seq, b)
	})
}

// walk visits the entries in order and fails where the archive does not end
// with its end marker.
func (t *tarball) walk(ctx context.Context, visit func(seq int, h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(t.path)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	br := bufio.NewReaderSize(f, 1<<18)
	counted := &countingReader{r: br}
	if magic, _ := br.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(br)
		if err != nil {
			return t.broken(0, err)
		}
		counted.r = z
	}
	tr := tar.NewReader(counted)
	end := int64(0) // where the last entry ends
	for seq := 0; ; seq++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if err == io.EOF {
			if counted.n < end+512 {
				return t.broken(seq, io.ErrUnexpectedEOF)
			}
			// The rest is padding; a gzip's checksum comes after it.
			if _, err := io.CopyN(io.Discard, counted, 1<<20); err != nil && err != io.EOF {
				return t.broken(seq, err)
			}
			return nil
		}
		if err != nil {
			return t.broken(seq, err)
		}
		end = counted.n
		if h.Typeflag == tar.TypeReg {
			end += (h.Size + 511) &^ 511
		}
		if err := visit(seq, h, tr); err != nil {
			return err
		}
	}
}

func (t *tarball) broken(entries int, err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("data: %s: the archive is cut short after %d entries: copy it again", t.spec, entries)
	case entries == 0:
		return fmt.Errorf("data: %s is not a tar: %w", t.spec, err)
	}
	return fmt.Errorf("data: %s: after %d entries: %w", t.spec, entries, err)
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
