package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// sink takes decoded images: into a temporary file that becomes the cache by a
// rename, so that others see all of it or nothing, or, once writing has failed,
// into memory.
type sink struct {
	cache *cacheDir
	f     cacheFile // nil in memory
	shut  bool      // f is closed, not yet renamed
	end   int64
	added []span
	mem   [][]byte
}

type span struct {
	off int64
	n   int
}

func (c *cacheDir) newSink() *sink {
	s := &sink{cache: c, end: dataStart, mem: [][]byte{}}
	f, err := c.create(c.dir)
	if err != nil {
		s.warn(err)
		return s
	}
	s.f = f
	return s
}

func (s *sink) warn(err error) {
	s.cache.log.Warn("the image cache cannot be written: images stay in memory, and the next start decodes them again",
		"dir", s.cache.dir, "error", err)
}

// add stores pix, and in e where it is and its checksum.
func (s *sink) add(e *entry, pix []byte) error {
	e.CRC = crc32.Checksum(pix, castagnoli)
	e.Off = int64(len(s.added))
	if s.f == nil {
		s.added = append(s.added, span{})
		s.mem = append(s.mem, pix)
		return nil
	}
	if _, err := s.f.WriteAt(pix, s.end); err != nil {
		if err := s.toMemory(err); err != nil {
			return err
		}
		return s.add(e, pix)
	}
	s.added = append(s.added, span{s.end, len(pix)})
	s.end += int64(len(pix))
	return nil
}

// toMemory reads back what was written and removes the file.
func (s *sink) toMemory(cause error) error {
	s.warn(cause)
	var r io.ReaderAt = s.f
	if s.shut {
		again, err := os.Open(s.f.Name())
		if err != nil {
			return fmt.Errorf("data: cache: %w", errors.Join(cause, err))
		}
		defer again.Close()
		r = again
	}
	for _, a := range s.added {
		b := make([]byte, a.n)
		if _, err := r.ReadAt(b, a.off); err != nil {
			return fmt.Errorf("data: cache: %w", errors.Join(cause, err))
		}
		s.mem = append(s.mem, b)
	}
	s.abort()
	return nil
}

// abort removes the temporary file, if there is one.
func (s *sink) abort() {
	if s.f != nil {
		if !s.shut {
			s.f.Close()
		}
		os.Remove(s.f.Name())
		s.f = nil
	}
}

// finish completes the cache file and opens it, or returns the images in
// memory. In idx, Off is the number that add gave.
func (s *sink) finish(idx index, print string) (*store, error) {
	if s.f != nil {
		st, err := s.publish(idx, print)
		if err == nil {
			return st, nil
		}
		if s.f == nil { // already renamed
			return nil, fmt.Errorf("data: cache: %w", err)
		}
		if err := s.toMemory(err); err != nil {
			return nil, err
		}
	}
	return &store{idx: idx, print: print, mem: s.mem}, nil
}

func (s *sink) publish(idx index, print string) (*store, error) {
	items := make([]entry, len(idx.Items))
	for i, e := range idx.Items {
		e.Off = s.added[e.Off].off
		items[i] = e
	}
	idx.Items = items
	raw, err := json.Marshal(idx)
	if err != nil {
		return nil, err
	}
	h, err := header(print, raw, s.end)
	if err != nil {
		return nil, err
	}
	if _, err := s.f.WriteAt(raw, s.end); err != nil {
		return nil, err
	}
	if _, err := s.f.WriteAt(h, 0); err != nil {
		return nil, err
	}
	if err := s.f.Sync(); err != nil {
		return nil, err
	}
	s.shut = true
	if err := s.f.Close(); err != nil {
		return nil, err
	}
	name := cacheName(s.cache.dir, print)
	if err := os.Rename(s.f.Name(), name); err != nil {
		return nil, err
	}
	s.f = nil
	return openCache(name, print)
}

func header(print string, raw []byte, off int64) ([]byte, error) {
	sum, err := hex.DecodeString(print)
	if err != nil {
		return nil, err
	}
	h := make([]byte, dataStart)
	le := binary.LittleEndian
	copy(h, cacheMagic)
	le.PutUint32(h[12:], formatVersion)
	copy(h[16:48], sum)
	le.PutUint64(h[48:], uint64(off)+uint64(len(raw)))
	le.PutUint64(h[56:], uint64(off))
	le.PutUint64(h[64:], uint64(len(raw)))
	d := sha256.Sum256(raw)
	copy(h[72:], d[:])
	le.PutUint32(h[8:], crc32.Checksum(h[:headerLen], castagnoli))
	return h, nil
}
