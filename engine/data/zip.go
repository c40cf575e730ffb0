package data

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// zipball is a zip archive. Its entries are numbered as its directory has them.
type zipball struct {
	path, spec string
	size       int64
	mtime      time.Time
}

func newZip(path, spec string, st fs.FileInfo) (source, error) {
	return &zipball{path: path, spec: spec, size: st.Size(), mtime: st.ModTime()}, nil
}

func (z *zipball) stamp(context.Context) (string, time.Time, error) {
	return fmt.Sprintf("zip %q %d %d", z.path, z.size, z.mtime.UnixNano()), z.mtime, nil
}

func (z *zipball) noticed() (leftOut, bool) { return nil, false }

func (z *zipball) open() (*zip.ReadCloser, error) {
	r, err := zip.OpenReader(z.path)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // names are held to our own rule
		return nil, z.broken("", err)
	}
	return r, nil
}

func (z *zipball) list(ctx context.Context) (*listing, error) {
	r, err := z.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	e := newEntries()
	var texts []*zip.File
	var names []string // of texts
	for seq, f := range r.File {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		kind := specialEntry
		switch mode := f.Mode(); {
		case mode.IsRegular():
			kind = regularEntry
		case mode.IsDir():
			kind = folderEntry
		}
		name, text := e.add(seq, zipName(f), kind, int64(min(f.UncompressedSize64, 1<<62)))
		if text {
			texts, names = append(texts, f), append(names, name)
		}
	}
	wanted := slices.Clone(texts)
	for _, l := range e.lst.files {
		wanted = append(wanted, r.File[l.seq])
	}
	if err := z.check(wanted); err != nil {
		return nil, err
	}
	for i, f := range texts {
		b, err := z.entry(f)
		if err != nil {
			return nil, err
		}
		e.text(names[i], b)
	}
	return &e.lst, nil
}

// zipName returns an entry's name in UTF-8 with slashes. Old programs write
// names in the code page of the first PCs, and some put backslashes.
func zipName(f *zip.File) string {
	name := f.Name
	if !utf8.ValidString(name) {
		if s, err := charmap.CodePage437.NewDecoder().String(name); err == nil {
			name = s
		}
	}
	return strings.ReplaceAll(name, `\`, "/")
}

// check refuses archives that unfold to too much, by what they say or by
// entries that overlap.
func (z *zipball) check(files []*zip.File) error {
	type span struct {
		from, to int64
		name     string
	}
	total, spans := uint64(0), make([]span, 0, len(files))
	for _, f := range files {
		if total += f.UncompressedSize64; f.UncompressedSize64 > maxFileSize || total > uint64(archiveLimit(z.size)) {
			return fmt.Errorf("data: %s: %w", z.spec, errBomb)
		}
		from, err := f.DataOffset()
		if err != nil {
			return z.broken(f.Name, err)
		}
		if f.CompressedSize64 > uint64(z.size) || from > z.size-int64(f.CompressedSize64) {
			return z.broken(f.Name, io.ErrUnexpectedEOF)
		}
		spans = append(spans, span{from, from + int64(f.CompressedSize64), f.Name})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if a, b := spans[i-1], spans[i]; b.from < a.to {
			return fmt.Errorf("data: %s: its entries %q and %q overlap; it is damaged or was made to exhaust memory: do not use it", z.spec, a.name, b.name)
		}
	}
	return nil
}

func (z *zipball) read(ctx context.Context, want func(int) bool, yield func(int, []byte) error) error {
	r, err := z.open()
	if err != nil {
		return err
	}
	defer r.Close()
	for seq, f := range r.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !want(seq) {
			continue
		}
		b, err := z.entry(f)
		if err != nil {
			return err
		}
		if err := yield(seq, b); err != nil {
			return err
		}
	}
	return nil
}

// entry reads an entry whole and holds it to its sum.
func (z *zipball) entry(f *zip.File) ([]byte, error) {
	const encrypted = 1
	switch {
	case f.Flags&encrypted != 0:
		return nil, fmt.Errorf("data: %s is encrypted (%q): unpack it and name the folder", z.spec, f.Name)
	case f.UncompressedSize64 > maxFileSize:
		return nil, fmt.Errorf("data: %s: %s changed while it was read", z.spec, f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, z.broken(f.Name, err)
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, int64(f.UncompressedSize64)+1))
	if err == nil && uint64(len(b)) != f.UncompressedSize64 {
		err = zip.ErrFormat
	}
	if err != nil {
		return nil, z.broken(f.Name, err)
	}
	return b, nil
}

// broken says what is wrong with an entry, or with the directory.
func (z *zipball) broken(entry string, err error) error {
	switch {
	case errors.Is(err, zip.ErrAlgorithm):
		return fmt.Errorf("data: %s: its entry %q is compressed in a way that is not read: unpack it and name the folder", z.spec, entry)
	case entry != "":
		return fmt.Errorf("data: %s: its entry %q is damaged or cut short (%w): copy it again", z.spec, entry, err)
	case errors.Is(err, zip.ErrFormat):
		return fmt.Errorf("data: %s: the zip archive is damaged or cut short: copy it again", z.spec)
	}
	return fmt.Errorf("data: %s: %w", z.spec, err)
}
