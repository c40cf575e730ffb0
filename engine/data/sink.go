package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

// sink takes images: into a temporary file that becomes the cache by a rename, so
// that others see all of it or nothing, or, once writing has failed, into memory.
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

// maxMemory is how much of what was written is taken into memory where writing
// fails. More is thrown away, and the images are decoded again, to be kept in
// memory as their files.
const maxMemory = 2_000_000_000

// errAgain asks for that.
var errAgain = errors.New("more was written than memory should hold")

// newSink begins a cache file for about so many bytes.
func (c *cacheDir) newSink(bytes int64) *sink {
	s := &sink{cache: c, end: dataStart, mem: [][]byte{}}
	c.evict(bytes)
	f, err := c.create(c.dir)
	if err != nil {
		s.warn(err)
		return s
	}
	s.f = f
	return s
}

// memorySink keeps all in memory.
func (c *cacheDir) memorySink() *sink { return &sink{cache: c, mem: [][]byte{}} }

func (s *sink) warn(err error) {
	s.cache.log.Warn("the image cache cannot be written: images stay in memory, and the next start decodes them again",
		"dir", s.cache.dir, "error", err)
}

// add stores what is kept of an image, and in e where it is and its checksum.
func (s *sink) add(e *entry, kept []byte) error {
	e.CRC = crc32.Checksum(kept, castagnoli)
	e.Off = int64(len(s.added))
	if s.f == nil {
		s.added = append(s.added, span{})
		s.mem = append(s.mem, kept)
		return nil
	}
	if _, err := s.f.WriteAt(kept, s.end); err != nil {
		if err := s.toMemory(err); err != nil {
			return err
		}
		return s.add(e, kept)
	}
	s.added = append(s.added, span{s.end, len(kept)})
	s.end += int64(len(kept))
	return nil
}

// toMemory reads back what was written and removes the file.
func (s *sink) toMemory(cause error) error {
	s.warn(cause)
	if s.end > maxMemory {
		s.abort()
		return errAgain
	}
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
func (s *sink) finish(idx index, print string, a about) (*store, error) {
	if s.f != nil {
		st, err := s.publish(idx, print, a)
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
	return &store{idx: idx, print: print, mem: s.mem, form: s.cache.form}, nil
}

func (s *sink) publish(idx index, print string, a about) (*store, error) {
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
	h, err := header(print, raw, s.end, a)
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
	name := s.cache.cacheName(print)
	if !canLock {
		s.shut = true
		if err := s.f.Close(); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(s.f.Name(), name); err != nil {
		return nil, err
	}
	f := s.f.opened()
	s.f = nil
	if !canLock {
		return s.cache.openFile(name, print)
	}
	// Others may use it from now on. Should it be pruned in this moment, the open
	// file still has it all.
	if _, err := lock(f, false, true); err != nil {
		s.cache.log.Debug("the image cache is not locked", "file", name, "error", err)
	}
	return s.cache.mapped(f, print)
}
