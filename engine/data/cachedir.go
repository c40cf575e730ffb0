package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// DefaultCacheLimit is the size in bytes to which a cache folder may grow, if
// Options do not say another.
const DefaultCacheLimit = 16_000_000_000

// cacheDir is a cache folder, as one dataset sees it.
type cacheDir struct {
	dir    string
	form   form
	limit  int64 // of the folder's size
	create func(dir string) (cacheFile, error)
	log    *slog.Logger
}

// CacheDir returns the folder in which images are kept if Options name none:
// the folder potstill in the user's cache folder.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("data: there is no cache folder: %w", err)
	}
	return filepath.Join(dir, "potstill"), nil
}

// cacheFile is a file being written; an interface so that tests can fill a
// disk.
type cacheFile interface {
	io.WriterAt
	io.ReaderAt
	Sync() error
	Close() error
	Name() string
	opened() *os.File
}

// tempFile is a cacheFile on disk.
type tempFile struct{ *os.File }

func (t tempFile) opened() *os.File { return t.File }

const tempPattern = "potstill-*.tmp"

// createTemp makes the folder and a temporary file in it, locked as long as it
// is open, and removes what killed processes left there.
func createTemp(dir string) (cacheFile, error) {
	if dir == "" {
		return nil, errors.New("no cache folder")
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	removeLeftovers(dir)
	for {
		f, err := os.CreateTemp(dir, tempPattern)
		if err != nil {
			return nil, err
		}
		ok, err := lock(f, true, false)
		if err != nil || ok && linked(f, f.Name()) {
			return tempFile{f}, nil
		}
		// Another process took it for a leftover before it was locked.
		f.Close()
		os.Remove(f.Name())
	}
}

// removeLeftovers removes temporary files that nobody has locked, and returns
// how many. Where there are no locks, those of a day ago or earlier go.
func removeLeftovers(dir string) (n int, size int64) {
	found, _ := filepath.Glob(filepath.Join(dir, tempPattern)) // the pattern is sound
	for _, name := range found {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		st, err := f.Stat()
		free, unlocked := lock(f, true, false)
		if err == nil && unlocked != nil {
			free = time.Since(st.ModTime()) > 24*time.Hour
		}
		if err == nil && free && os.Remove(name) == nil {
			n++
			size += st.Size()
		}
		f.Close()
	}
	return n, size
}

// Cached is one dataset in a cache folder.
type Cached struct {
	File   string    // path
	Name   string    // of the dataset; "" if the file is of another version
	Source string    // the path that it was made from
	Images int       // how many
	Bytes  int64     // size of the file
	Used   time.Time // when it was last opened
	InUse  bool      // it is open
}

// ListCache returns the datasets in a cache folder, those used last first.
func ListCache(dir string) ([]Cached, error) {
	all, err := scanCache(dir)
	slices.Reverse(all)
	for i := range all {
		c := &all[i]
		f, err := os.Open(c.File)
		if err != nil {
			continue // it has just been removed, or is another user's
		}
		if a, err := aboutFile(f); err == nil {
			c.Name, c.Source, c.Images = a.Name, a.Source, a.Images
		}
		free, err := lock(f, true, false)
		c.InUse = err == nil && !free
		f.Close()
	}
	return all, err
}

// scanCache returns the cache files of a folder, those not used for longest first.
func scanCache(dir string) ([]Cached, error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("data: cache: %w", err)
	}
	var all []Cached
	for _, e := range list {
		st, err := e.Info()
		if err != nil || filepath.Ext(e.Name()) != ".images" || !st.Mode().IsRegular() {
			continue
		}
		all = append(all, Cached{File: filepath.Join(dir, e.Name()), Bytes: st.Size(), Used: st.ModTime()})
	}
	slices.SortStableFunc(all, func(a, b Cached) int { return cmp.Or(a.Used.Compare(b.Used), cmp.Compare(a.File, b.File)) })
	return all, nil
}

// PruneCache removes datasets from a cache folder, beginning with the one that
// has not been used for longest. Drop is asked about each, with the size of all
// that are left; those that are open are never removed. What killed processes
// left half written goes in any case. It returns what was removed; an error names
// what could not be.
func PruneCache(dir string, drop func(c Cached, total int64) bool) (removed []Cached, err error) {
	removeLeftovers(dir)
	all, err := scanCache(dir)
	if err != nil {
		return nil, err
	}
	total := int64(0)
	for _, c := range all {
		total += c.Bytes
	}
	var errs []error
	for _, c := range all {
		if !drop(c, total) {
			continue
		}
		gone, err := removeCached(c.File)
		if err != nil {
			errs = append(errs, fmt.Errorf("data: cache: %w", err))
		}
		if gone {
			removed = append(removed, c)
			total -= c.Bytes
		}
	}
	removeStamps(dir)
	return removed, errors.Join(errs...)
}

// removeCached removes a cache file unless it is open.
func removeCached(name string) (gone bool, err error) {
	f, err := os.Open(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, fs.ErrPermission): // not even to be locked; whose it is may remove it
		return false, err
	case err != nil:
		return false, err
	}
	defer f.Close()
	if free, err := lock(f, true, false); err == nil && !free {
		return false, nil
	}
	if !canLock {
		f.Close() // an open file cannot be removed
	}
	err = os.Remove(name)
	return err == nil, err
}

// evict makes room in the folder for need more bytes.
func (c *cacheDir) evict(need int64) {
	if c.dir == "" {
		return
	}
	removed, err := PruneCache(c.dir, func(_ Cached, total int64) bool { return total > c.limit-need })
	for _, r := range removed {
		c.log.Debug("removed from the image cache to make room", "file", r.File, "bytes", r.Bytes)
	}
	if err != nil {
		c.log.Debug("the image cache cannot be pruned", "error", err)
	}
}

// A stamp is what is known of a state of a source: the fingerprint of the
// dataset, what its classes are called (which need not be in the fingerprint),
// and what of the source is not in it.
type stamp struct {
	print   string
	Classes []string `json:"classes"`
	Listed  bool     `json:"listed,omitempty"`  // they are those of classes.txt
	Listing leftOut  `json:"listing,omitempty"` // what the source's listing leaves out
	Layout  leftOut  `json:"layout,omitempty"`  // what the layout leaves out
	Notes   []string `json:"notes,omitempty"`
}

func (c *cacheDir) stampName(key string) string { return filepath.Join(c.dir, key[:32]+".stamp") }

// stamped returns what was noted for a state.
func (c *cacheDir) stamped(key string) (s stamp, ok bool) {
	b, err := os.ReadFile(c.stampName(key))
	if c.dir == "" || err != nil {
		return s, false
	}
	line, rest, _ := strings.Cut(string(b), "\n")
	got, print, ok := strings.Cut(line, " ")
	if sum, err := hex.DecodeString(print); err != nil || len(sum) != sha256.Size || !ok || got != key {
		return s, false
	}
	s.print = print
	return s, json.Unmarshal([]byte(rest), &s) == nil
}

// stamp notes it. It only saves time, so that a failure is no error.
func (c *cacheDir) stamp(key string, s stamp) {
	text, err := json.Marshal(s)
	if err != nil {
		return
	}
	f, err := c.create(c.dir)
	if err != nil {
		return
	}
	_, err = f.WriteAt(append([]byte(key+" "+s.print+"\n"), text...), 0)
	if err == nil && canLock { // else it has to be closed first
		err = os.Rename(f.Name(), c.stampName(key))
	}
	err = errors.Join(err, f.Close())
	if err == nil && !canLock {
		err = os.Rename(f.Name(), c.stampName(key))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

// removeStamps removes the stamps of datasets that are not there any more.
func removeStamps(dir string) {
	found, _ := filepath.Glob(filepath.Join(dir, "*.stamp")) // the pattern is sound
	for _, name := range found {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		line, _, _ := strings.Cut(string(b), "\n")
		_, print, _ := strings.Cut(line, " ")
		if len(print) >= 32 && !strings.ContainsAny(print[:32], `*?[\/`) {
			if kept, _ := filepath.Glob(filepath.Join(dir, print[:32]+"*.images")); len(kept) > 0 {
				continue
			}
		}
		os.Remove(name)
	}
}
