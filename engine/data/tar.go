package data

import (
	"archive/tar"
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// tarball is a tar: plain, or compressed by gzip or bzip2 (told apart by the
// first bytes).
type tarball struct {
	path, spec string
	size       int64
	mtime      time.Time
}

func (t *tarball) stamp(context.Context) (string, time.Time, error) {
	return fmt.Sprintf("tar %q %d %d", t.path, t.size, t.mtime.UnixNano()), t.mtime, nil
}

func (t *tarball) noticed() (leftOut, bool) { return nil, false }

func (t *tarball) list(ctx context.Context) (*listing, error) {
	e := newEntries()
	err := t.walk(ctx, func(seq int, h *tar.Header, r io.Reader) error {
		kind := specialEntry
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			return nil
		case tar.TypeReg:
			kind = regularEntry
		case tar.TypeDir:
			kind = folderEntry
		}
		name, text := e.add(seq, h.Name, kind, h.Size)
		if !text {
			return nil
		}
		b, err := t.entry(seq, h, r)
		if err == nil {
			e.text(name, b)
		}
		return err
	})
	return &e.lst, err
}

func (t *tarball) read(ctx context.Context, want func(int) bool, yield func(int, []byte) error) error {
	return t.walk(ctx, func(seq int, h *tar.Header, r io.Reader) error {
		if !want(seq) {
			return nil
		}
		b, err := t.entry(seq, h, r)
		if err != nil {
			return err
		}
		return yield(seq, b)
	})
}

// entry reads an entry whole.
func (t *tarball) entry(seq int, h *tar.Header, r io.Reader) ([]byte, error) {
	if h.Size > maxFileSize {
		return nil, fmt.Errorf("data: %s: %s changed while it was read", t.spec, h.Name)
	}
	b := make([]byte, h.Size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, t.broken(seq, err)
	}
	return b, nil
}

// walk visits the entries in order and fails where the archive does not end
// with its end marker.
func (t *tarball) walk(ctx context.Context, visit func(seq int, h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(t.path)
	if err != nil {
		return fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	counted, err := t.unfold(f)
	if err != nil {
		return t.broken(0, err)
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

// unfold returns a reader of the tar in the file.
func (t *tarball) unfold(f io.Reader) (*countingReader, error) {
	br := bufio.NewReaderSize(f, 1<<18)
	c := &countingReader{r: br}
	magic, _ := br.Peek(3)
	switch {
	case strings.HasPrefix(string(magic), "\x1f\x8b"):
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, err
		}
		c.r, c.limit = z, archiveLimit(t.size)
	case string(magic) == "BZh":
		c.r, c.limit = bzip2.NewReader(br), archiveLimit(t.size)
	}
	return c, nil
}

func (t *tarball) broken(entries int, err error) error {
	switch {
	case errors.Is(err, errBomb):
		return fmt.Errorf("data: %s: %w", t.spec, errBomb)
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return fmt.Errorf("data: %s: the archive is cut short after %d entries: copy it again", t.spec, entries)
	case entries == 0:
		return fmt.Errorf("data: %s is not a tar: %w; name a folder of pictures, or a tar or zip archive of one", t.spec, err)
	}
	return fmt.Errorf("data: %s: after %d entries: %w", t.spec, entries, err)
}

// countingReader counts what is read, and fails beyond a limit if it has one.
type countingReader struct {
	r        io.Reader
	n, limit int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.limit > 0 && c.n > c.limit {
		return 0, errBomb
	}
	return n, err
}
