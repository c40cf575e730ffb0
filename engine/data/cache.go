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
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// A cache file holds one dataset: a header of headerLen bytes, padded to
// dataStart; the images' pixels one after the other (HWC, RGB), in any order;
// the index as JSON. All integers are little-endian.
//
//	 0  8  magic
//	 8  4  CRC-32C of the header with this field zero
//	12  4  formatVersion
//	16 32  fingerprint
//	48  8  length of the file
//	56  8  offset of the index
//	64  8  length of the index
//	72 32  SHA-256 of the index
//
// The index has a CRC-32C for each image. Opening a file checks all of it.
const (
	cacheMagic = "POTSTILL"
	headerLen  = 104
	dataStart  = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// index is what a store knows about its images.
type index struct {
	Classes []string        `json:"classes"`
	Items   []entry         `json:"items"`
	Skipped []skippedRecord `json:"skipped"`
}

type entry struct {
	Part  int    `json:"p"`
	Label int    `json:"l"`
	File  string `json:"f"`
	H     int    `json:"h"`
	W     int    `json:"w"`
	Off   int64  `json:"o"` // in the file; in memory, the number of the image
	CRC   uint32 `json:"c"`
}

type skippedRecord struct {
	File string `json:"file"`
	Err  string `json:"error"`
}

// store is decoded images: a mapped cache file, or memory.
type store struct {
	idx   index
	print string
	data  []byte       // the file
	unmap func() error // nil once closed
	mem   [][]byte     // instead of data
}

func (s *store) image(i int) Image {
	e := &s.idx.Items[i]
	n := e.H * e.W * 3
	if s.mem != nil {
		return Image{Pix: s.mem[e.Off][:n:n], H: e.H, W: e.W}
	}
	return Image{Pix: s.data[e.Off : e.Off+int64(n) : e.Off+int64(n)], H: e.H, W: e.W}
}

func (s *store) close() error {
	s.data, s.mem = nil, nil
	if s.unmap == nil {
		return nil
	}
	f := s.unmap
	s.unmap = nil
	return f()
}

// cacheFile is a file being written; an interface so that tests can fill a
// disk.
type cacheFile interface {
	io.WriterAt
	io.ReaderAt
	Sync() error
	Close() error
	Name() string
}

const tempPattern = "potstill-*.tmp"

// createTemp makes the folder and a temporary file in it, and removes what
// killed processes left there a day ago or earlier.
func createTemp(dir string) (cacheFile, error) {
	if dir == "" {
		return nil, errors.New("no cache folder")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	old, _ := filepath.Glob(filepath.Join(dir, tempPattern))
	for _, name := range old {
		if st, err := os.Stat(name); err == nil && time.Since(st.ModTime()) > 24*time.Hour {
			os.Remove(name)
		}
	}
	return os.CreateTemp(dir, tempPattern)
}

type cacheDir struct {
	dir    string
	create func(dir string) (cacheFile, error)
	log    *slog.Logger
}

// stamped returns the fingerprint that was noted for a stamp.
func (c *cacheDir) stamped(key string) (string, bool) {
	b, err := os.ReadFile(filepath.Join(c.dir, key[:32]+".stamp"))
	if c.dir == "" || err != nil {
		return "", false
	}
	got, print, ok := strings.Cut(strings.TrimSpace(string(b)), " ")
	if sum, err := hex.DecodeString(print); err != nil || len(sum) != sha256.Size {
		return "", false
	}
	return print, ok && got == key
}

// stamp notes that a state has a fingerprint. It only saves time, so that a
// failure is no error.
func (c *cacheDir) stamp(key, print string) {
	f, err := c.create(c.dir)
	if err != nil {
		return
	}
	_, err = f.WriteAt([]byte(key+" "+print+"\n"), 0)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, key[:32]+".stamp"))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// open returns the store of a fingerprint, or nil where there is none or it is
// damaged, which is logged.
func (c *cacheDir) open(print string) *store {
	if c.dir == "" {
		return nil
	}
	name := cacheName(c.dir, print)
	s, err := openCache(name, print)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.log.Warn("the image cache is damaged and is made again", "file", name, "error", err)
		return nil
	}
	return s
}

func openCache(name, print string) (*store, error) {
	data, unmap, err := mapFile(name)
	if err != nil {
		return nil, err
	}
	s := &store{data: data, unmap: unmap, print: print}
	if err := s.verify(); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// verify parses a mapped file and checks every byte that is used.
func (s *store) verify() error {
	if len(s.data) < dataStart || string(s.data[:8]) != cacheMagic {
		return errors.New("no header")
	}
	h := bytes.Clone(s.data[:headerLen])
	le := binary.LittleEndian
	crc := le.Uint32(h[8:])
	clear(h[8:12])
	if crc32.Checksum(h, castagnoli) != crc {
		return errors.New("the header's checksum is wrong")
	}
	if v := le.Uint32(h[12:]); v != formatVersion {
		return fmt.Errorf("format %d, want %d", v, formatVersion)
	}
	if hex.EncodeToString(h[16:48]) != s.print {
		return errors.New("it is another dataset's")
	}
	total, off, n := le.Uint64(h[48:]), le.Uint64(h[56:]), le.Uint64(h[64:])
	if total != uint64(len(s.data)) || off < dataStart || off > total || n != total-off {
		return errors.New("it has the wrong length")
	}
	raw := s.data[off:]
	if sha256.Sum256(raw) != digest(h[72:104]) {
		return errors.New("the index's checksum is wrong")
	}
	if err := json.Unmarshal(raw, &s.idx); err != nil {
		return err
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
				if e.H < 1 || e.W < 1 || e.H > maxPixels/e.W || e.Off < dataStart || e.Off > end-int64(e.H)*int64(e.W)*3 ||
					e.Part < 0 || e.Part >= numParts || e.Label < 0 || e.Label >= len(s.idx.Classes) {
					bad[w] = errors.New("the index is wrong")
					return
				}
				if crc32.Checksum(s.image(i).Pix, castagnoli) != e.CRC {
					bad[w] = fmt.Errorf("the checksum of %s is wrong", e.File)
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(bad...)
}
