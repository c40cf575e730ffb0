package torch

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// archive is a zip file whose directory has been checked.
type archive struct {
	b       []byte
	entries map[string]*zip.File
	prefix  string // of all of torch's entries, with its slash
	budget  *named.Budget
}

// zip decodes the zip format: NAME/data.pkl, NAME/data/KEY for each storage,
// NAME/byteorder and NAME/version.
func (r *reading) zip(b []byte) (any, error) {
	a, err := open(b, r.budget)
	if err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	data, err := a.read(a.prefix + "data.pkl")
	if err != nil {
		return nil, err
	}
	r.fetch = func(s *storage) ([]byte, error) {
		if strings.ContainsAny(s.key, `/\`) || s.key == ".." || s.key == "." {
			return nil, named.Damaged("the key %s of a storage leads out of the archive", named.Quote(s.key))
		}
		b, err := a.read(a.prefix + "data/" + s.key)
		if err != nil {
			return nil, err
		}
		if size := elementSize(s.dtype); len(b)%size != 0 || len(b)/size != s.n {
			return nil, named.Damaged("storage %s has %d bytes for %d elements of %d", named.Quote(s.key), len(b), s.n, size)
		}
		return b, nil
	}
	root, n, err := r.decoder().Decode(data)
	if err == nil && n != len(data) {
		err = named.Damaged("%d bytes follow the pickle in data.pkl", len(data)-n)
	}
	return root, err
}

// open reads the directory of a zip file and refuses what no torch.save writes.
func open(b []byte, budget *named.Budget) (*archive, error) {
	// An entry of the directory has at least 46 bytes in the file, and takes up
	// to 1200 in memory, so that no directory is beyond the budget by itself.
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, named.Damaged("its zip directory cannot be read")
	}
	if err := budget.Take(len(z.File), 1200); err != nil {
		return nil, err
	}
	a := &archive{b: b, entries: make(map[string]*zip.File, len(z.File)), budget: budget}
	for _, f := range z.File {
		if outside(f.Name) {
			return nil, named.Refused("do not use it", "its zip entry %s leads out of the archive", named.Quote(f.Name))
		}
		if a.entries[f.Name] != nil {
			return nil, named.Refused("do not use it", "it has two zip entries %s", named.Quote(f.Name))
		}
		a.entries[f.Name] = f
		if name, ok := strings.CutSuffix(f.Name, "/data.pkl"); ok && !strings.Contains(name, "/") {
			if a.prefix != "" {
				return nil, named.Refused("do not use it", "it has two zip entries data.pkl, %s and %s", named.Quote(a.prefix+"data.pkl"), named.Quote(f.Name))
			}
			a.prefix = name + "/"
		}
	}
	return a, a.apart(z.File)
}

// outside reports whether a name is absolute or climbs out of its folder.
func outside(name string) bool {
	return strings.HasPrefix(name, "/") || strings.Contains(name, `\`) || strings.ContainsAny(name, ":\x00") ||
		slices.Contains(strings.Split(name, "/"), "..")
}

// apart checks that the entries' data lie within the file and do not overlap.
func (a *archive) apart(files []*zip.File) error {
	type span struct {
		begin, end int64
		name       string
	}
	spans := make([]span, 0, len(files))
	for _, f := range files {
		begin, err := f.DataOffset()
		size := f.CompressedSize64
		if err != nil || begin < 0 || begin > int64(len(a.b)) || size > uint64(int64(len(a.b))-begin) {
			return named.Damaged("the data of its zip entry %s are not in the file", named.Quote(f.Name))
		}
		if size > 0 {
			spans = append(spans, span{begin, begin + int64(size), f.Name})
		}
	}
	slices.SortFunc(spans, func(x, y span) int {
		if x.begin != y.begin {
			return int(min(max(x.begin-y.begin, -1), 1))
		}
		return strings.Compare(x.name, y.name)
	})
	for i := 1; i < len(spans); i++ {
		if spans[i].begin < spans[i-1].end {
			return named.Refused("do not use it", "its zip entries %s and %s overlap", named.Quote(spans[i-1].name), named.Quote(spans[i].name))
		}
	}
	return nil
}

// check finds out whether the archive is one of torch.save's that can be read.
func (a *archive) check() error {
	if a.prefix == "" {
		fix := "name a file made by torch.save"
		for name := range a.entries {
			if strings.HasSuffix(name, ".npy") {
				return named.Refused(fix, "it is a zip file of NumPy arrays (.npz), not one of PyTorch")
			}
		}
		return named.Refused(fix, "it is a zip file without a data.pkl, not one of PyTorch")
	}
	if a.entries[a.prefix+"constants.pkl"] != nil {
		return named.Refused("load it with torch.jit.load and "+fixState, "it is a TorchScript archive")
	}
	if a.entries[a.prefix+"byteorder"] != nil {
		b, err := a.read(a.prefix + "byteorder")
		if err != nil {
			return err
		}
		if order := string(b[:min(len(b), 16)]); order == "big" {
			return named.Refused("load it and save it again on a little-endian machine", "it is big-endian")
		} else if order != "little" {
			return named.Damaged("its byteorder is %s", named.Quote(order))
		}
	}
	return nil
}

// read returns the content of an entry: a view of the file where it is stored.
func (a *archive) read(name string) ([]byte, error) {
	f := a.entries[name]
	if f == nil {
		return nil, named.Damaged("it has no zip entry %s", named.Quote(name))
	}
	if f.Flags&1 != 0 {
		return nil, named.Refused(fixResave, "its zip entry %s is encrypted", named.Quote(name))
	}
	begin, err := f.DataOffset()
	if err != nil {
		return nil, named.Damaged("the data of its zip entry %s are not in the file", named.Quote(name))
	}
	packed := a.b[begin : begin+int64(f.CompressedSize64)]
	b := packed
	switch f.Method {
	case zip.Store:
		if f.UncompressedSize64 != f.CompressedSize64 {
			return nil, named.Damaged("its zip entry %s is stored, but with two sizes", named.Quote(name))
		}
	case zip.Deflate:
		if b, err = a.inflate(f, packed); err != nil {
			return nil, err
		}
	default:
		return nil, named.Refused(fixResave, "its zip entry %s is compressed by the unknown method %d", named.Quote(name), f.Method)
	}
	// PyTorch leaves the sum 0 where it was told not to compute it.
	if f.CRC32 != 0 && crc32.ChecksumIEEE(b) != f.CRC32 {
		return nil, named.Damaged("the content of its zip entry %s does not match its sum", named.Quote(name))
	}
	return b, nil
}

// inflate decompresses an entry. Its announced size is paid for first, and more
// than that is not read.
func (a *archive) inflate(f *zip.File, packed []byte) ([]byte, error) {
	if f.UncompressedSize64 > uint64(^uint(0)>>1) {
		return nil, named.Damaged("its zip entry %s announces %d bytes", named.Quote(f.Name), f.UncompressedSize64)
	}
	// The decompressor itself takes some 45 KB.
	if err := a.budget.Take(1, 45<<10); err != nil {
		return nil, err
	}
	if err := a.budget.Take(1, int(f.UncompressedSize64)); err != nil {
		return nil, err
	}
	in := flate.NewReader(bytes.NewReader(packed))
	b := make([]byte, f.UncompressedSize64)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, named.Damaged("its zip entry %s cannot be inflated to the %d bytes announced", named.Quote(f.Name), len(b))
	}
	var more [1]byte
	if n, err := in.Read(more[:]); n != 0 || !errors.Is(err, io.EOF) {
		return nil, named.Damaged("its zip entry %s goes on after the %d bytes announced", named.Quote(f.Name), len(b))
	}
	return b, nil
}
