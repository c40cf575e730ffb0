package data

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/potstill/potstill/engine/data/picture"
)

// A cache file holds one dataset: a header of dataStart bytes; what is kept of
// each image, one after the other, in any order; the index as JSON. All integers
// are little-endian.
//
//	  0  8  magic
//	  8  4  CRC-32C of the header with this field zero
//	 12  4  cacheVersion
//	 16 32  fingerprint
//	 48  8  length of the file
//	 56  8  offset of the index
//	 64  8  length of the index
//	 72 32  SHA-256 of the index
//	104  4  length of what follows
//	108  …  about, as JSON
//
// Of an image either the pixels are kept (HWC, RGB) or the bytes of its file,
// which are decoded when the image is wanted. The index has a CRC-32C for each.
// Opening a file checks all of it.
const (
	cacheMagic = "POTSTILL"
	aboutStart = 108
	dataStart  = 4096
)

// cacheVersion changes with the format of cache files and with anything that
// changes decoded pixels. Files of another version are made anew.
const cacheVersion = 2

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// about says whose cache file it is, for those who look into the folder.
type about struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Images int    `json:"images"`
}

// index is what a store knows about its images.
type index struct {
	Classes []string        `json:"classes"`
	Items   []entry         `json:"items"`
	Skipped []skippedRecord `json:"skipped"`
	Held    int             `json:"held,omitempty"` // pictures held out from training
	Same    same            `json:"same"`
}

type entry struct {
	Part  int    `json:"p"`
	Label int    `json:"l"`
	File  string `json:"f"`
	H     int    `json:"h"`
	W     int    `json:"w"`
	Off   int64  `json:"o"`           // in the file; in memory, the number of the image
	Z     int    `json:"z,omitempty"` // length of the picture's file, if that is kept
	CRC   uint32 `json:"c"`
}

// size is the number of bytes that are kept.
func (e *entry) size() int {
	if e.Z > 0 {
		return e.Z
	}
	return e.H * e.W * 3
}

type skippedRecord struct {
	File string `json:"file"`
	Err  string `json:"error"`
}

// store is what is kept of images: a mapped cache file, or memory.
type store struct {
	idx   index
	print string
	form  form
	file  *os.File     // holds the lock; nil in memory
	data  []byte       // the file
	unmap func() error // nil once closed
	mem   [][]byte     // instead of data
}

// form is how a picture is decoded, and what is done to it before it is an image
// of the store.
type form struct {
	size   int  // Options.Size
	resize int  // Options.Resize
	exif   bool // Options.EXIF
}

// decode decodes a file.
func (f form) decode(b []byte) (Image, []picture.Note, error) {
	m, notes, err := picture.Decode(b, picture.Options{EXIF: f.exif})
	return f.apply(m), notes, err
}

func (f form) apply(m Image) Image { return shrink(shrink(m, f.size), f.resize) }

// kept returns what is kept of image i.
func (s *store) kept(i int) []byte {
	e := &s.idx.Items[i]
	n := e.size()
	if s.mem != nil {
		return s.mem[e.Off][:n:n]
	}
	return s.data[e.Off : e.Off+int64(n) : e.Off+int64(n)]
}

// image returns image i. Pixels are not copied; a file is decoded.
func (s *store) image(i int) Image {
	e := &s.idx.Items[i]
	b := s.kept(i)
	if e.Z == 0 {
		return Image{Pix: b, H: e.H, W: e.W}
	}
	m, _, err := s.form.decode(b)
	if err != nil { // the very bytes were decoded when they were stored
		panic(fmt.Sprintf("data: %s was decoded before and is not now: %v", e.File, err))
	}
	return m
}

// classes is how many classes the labels need.
func (s *store) classes() (n int) {
	for i := range s.idx.Items {
		n = max(n, s.idx.Items[i].Label+1)
	}
	return n
}

func (s *store) close() error {
	s.data, s.mem = nil, nil
	if s.unmap == nil {
		return nil
	}
	f := s.unmap
	s.unmap = nil
	return errors.Join(f(), s.file.Close())
}

// damaged is the error of a cache file whose content is wrong.
type damaged string

func (d damaged) Error() string { return string(d) }

// errOtherVersion is that of a file by another version of this package.
var errOtherVersion = errors.New("it is of another version")

// cacheName is the file name of a fingerprint's cache.
func (c *cacheDir) cacheName(print string) string {
	name := print[:32]
	if c.form.resize > 0 {
		name += fmt.Sprintf("-%d", c.form.resize)
	}
	return filepath.Join(c.dir, name+".images")
}

// open returns the store of a fingerprint, or nil where there is none or it
// cannot be used, which is logged.
func (c *cacheDir) open(print string) *store {
	if c.dir == "" {
		return nil
	}
	name := c.cacheName(print)
	s, err := c.openFile(name, print)
	var d damaged
	switch {
	case err == nil:
		return s
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errOtherVersion):
	case errors.As(err, &d):
		c.log.Warn("the image cache is damaged and is made again", "file", name, "error", err)
	default:
		c.log.Warn("the image cache cannot be read and is made again", "file", name, "error", err)
	}
	return nil
}

// openFile opens a cache file for as long as the store is open: it is locked
// against being pruned, and its time becomes that of its last use.
func (c *cacheDir) openFile(name, print string) (*store, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if _, err := lock(f, false, true); err == nil && !linked(f, name) {
		f.Close()
		return nil, os.ErrNotExist // pruned while the lock was waited for
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // of a cache that is another user's it stays
	return c.mapped(f, print)
}

// linked reports whether the file of that name is still f.
func linked(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}

// mapped returns the store in a file, which it takes over.
func (c *cacheDir) mapped(f *os.File, print string) (*store, error) {
	data, unmap, err := mapFile(f)
	if err != nil {
		f.Close()
		return nil, err
	}
	s := &store{file: f, data: data, unmap: unmap, print: print, form: c.form}
	if err := s.verify(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// verify parses a mapped file and checks every byte that is used.
func (s *store) verify() error {
	if len(s.data) < dataStart || string(s.data[:8]) != cacheMagic {
		return damaged("it has no header")
	}
	h := bytes.Clone(s.data[:dataStart])
	le := binary.LittleEndian
	if v := le.Uint32(h[12:]); v < cacheVersion {
		return errOtherVersion
	}
	crc := le.Uint32(h[8:])
	clear(h[8:12])
	if crc32.Checksum(h, castagnoli) != crc {
		return damaged("the header's checksum is wrong")
	}
	if le.Uint32(h[12:]) != cacheVersion {
		return errOtherVersion
	}
	if hex.EncodeToString(h[16:48]) != s.print {
		return damaged("it is another dataset's")
	}
	total, off, n := le.Uint64(h[48:]), le.Uint64(h[56:]), le.Uint64(h[64:])
	if total != uint64(len(s.data)) || off < dataStart || off > total || n != total-off {
		return damaged("it has the wrong length")
	}
	raw := s.data[off:]
	if sha256.Sum256(raw) != digest(h[72:104]) {
		return damaged("the index's checksum is wrong")
	}
	if err := json.Unmarshal(raw, &s.idx); err != nil {
		return damaged(err.Error())
	}
	return s.verifyImages(int64(off))
}

func (s *store) verifyImages(end int64) error {
	var wg sync.WaitGroup
	n := runtime.GOMAXPROCS(0)
	bad := make([]error, n)
	for w := range n {
		wg.Go(func() {
			for i := w; i < len(s.idx.Items); i += n {
				e := &s.idx.Items[i]
				if e.H < 1 || e.W < 1 || e.H > maxPixels/e.W || e.Z < 0 || e.Z > maxFileSize || e.Off < dataStart || e.Off > end-int64(e.size()) ||
					e.Part < 0 || e.Part >= numParts || e.Label < 0 || e.Label >= len(s.idx.Classes) {
					bad[w] = damaged("the index is wrong")
					return
				}
				if crc32.Checksum(s.kept(i), castagnoli) != e.CRC {
					bad[w] = damaged(fmt.Sprintf("the checksum of %s is wrong", e.File))
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(bad...)
}

// header is that of a cache file whose index lies at off.
func header(print string, raw []byte, off int64, a about) ([]byte, error) {
	sum, err := hex.DecodeString(print)
	if err != nil {
		return nil, err
	}
	a.Name, a.Source = cut(a.Name, 200), cut(a.Source, 400) // six bytes each in JSON, at worst
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	h := make([]byte, dataStart)
	le := binary.LittleEndian
	copy(h, cacheMagic)
	le.PutUint32(h[12:], cacheVersion)
	copy(h[16:48], sum)
	le.PutUint64(h[48:], uint64(off)+uint64(len(raw)))
	le.PutUint64(h[56:], uint64(off))
	le.PutUint64(h[64:], uint64(len(raw)))
	d := sha256.Sum256(raw)
	copy(h[72:], d[:])
	le.PutUint32(h[104:], uint32(len(text)))
	copy(h[aboutStart:], text)
	le.PutUint32(h[8:], crc32.Checksum(h, castagnoli))
	return h, nil
}

// cut leaves the end of a text that is too long: of a path, the part that tells
// it from others.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-most:], "")
}

// aboutFile reads what a cache file's header says that it is.
func aboutFile(f *os.File) (a about, err error) {
	h := make([]byte, dataStart)
	if _, err := f.ReadAt(h, 0); err != nil {
		return a, err
	}
	le := binary.LittleEndian
	n := le.Uint32(h[104:])
	if string(h[:8]) != cacheMagic || le.Uint32(h[12:]) != cacheVersion || n > dataStart-aboutStart {
		return a, errOtherVersion
	}
	return a, json.Unmarshal(h[aboutStart:aboutStart+n], &a)
}
