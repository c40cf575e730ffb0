package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Folder is where processes claim work. It may be used from several goroutines.
type Folder struct {
	// Beat is how often a holder writes to its file, Stale after how long without
	// a change another machine's claim is dead.
	Beat, Stale time.Duration

	dir  string
	self Holder

	mu   sync.Mutex
	seen map[string]sight // by the file's name
}

// A sight is what a claim's file held, and since when this process has seen it so.
type sight struct {
	text  string
	since time.Time
}

// The times of a Folder that names none.
const (
	defaultBeat  = 10 * time.Second
	defaultStale = 60 * time.Second
)

// Open returns the folder at dir, which it makes if need be.
func Open(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	id, host := machine()
	self := Holder{Host: host, Machine: id, PID: os.Getpid(), Owner: unique()}
	return &Folder{Beat: defaultBeat, Stale: defaultStale, dir: dir, self: self, seen: make(map[string]sight)}, nil
}

// A HeldError says that living work is claimed already.
type HeldError struct{ By Holder }

// Error implements error.
func (e *HeldError) Error() string { return fmt.Sprintf("%s is claimed by %s", e.By.Name, e.By) }

// Try claims the work of that name without waiting. A [*HeldError] says who has
// claimed it. A claim that is to run alone is marked as such: see [Folder.Others].
func (f *Folder) Try(name string, alone bool) (*Claim, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		top, err := f.top(name)
		if err != nil {
			return nil, err
		}
		if top > 0 {
			if r, alive := f.look(name, top); alive {
				return nil, &HeldError{By: r.Holder}
			}
		}
		c, err := f.create(name, top+1, alone)
		if errors.Is(err, fs.ErrExist) {
			continue // another process was faster
		}
		if err != nil {
			return nil, err
		}
		// What was found dead may have been given back, claimed and taken over since.
		if now, err := f.top(name); err != nil || now != top+1 {
			c.discard()
			if err != nil {
				return nil, err
			}
			continue
		}
		f.clean(name, top)
		go c.beat(f.Beat)
		return c, nil
	}
}

// Others returns the living claims of other processes on this machine.
func (f *Folder) Others() ([]Holder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, err
	}
	tops := make(map[string]int)
	for _, e := range entries {
		if name, n, ok := split(e.Name()); ok {
			tops[name] = max(tops[name], n)
		}
	}
	var out []Holder
	for name, n := range tops {
		r, alive := f.look(name, n)
		if alive && r.Machine == f.self.Machine && r.Owner != f.self.Owner {
			out = append(out, r.Holder)
		}
	}
	return out, nil
}

// Machine names this machine, as the claims of its processes do.
func (f *Folder) Machine() string { return f.self.Machine }

// split returns the name and the number of a claim's file.
func split(file string) (name string, n int, ok bool) {
	name, number, ok := cutLast(file, ".")
	if !ok {
		return "", 0, false
	}
	n, err := strconv.Atoi(number)
	return name, n, err == nil && n > 0
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (f *Folder) path(name string, n int) string {
	return filepath.Join(f.dir, name+"."+strconv.Itoa(n))
}

// top returns the highest number of a claim of that name, 0 where there is none.
func (f *Folder) top(name string) (top int, err error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if other, n, ok := split(e.Name()); ok && other == name {
			top = max(top, n)
		}
	}
	return top, nil
}

// look reads a claim and reports whether its holder is alive, as far as one can
// know.
func (f *Folder) look(name string, n int) (r record, alive bool) {
	path := f.path(name, n)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false
	}
	r = parse(text)
	r.Name = name
	if r.Free {
		return r, false
	}
	if r.Machine == f.self.Machine && r.PID != 0 {
		if held, known := locked(path); known {
			return r, held
		}
	}
	now := time.Now()
	last, ok := f.seen[path]
	if !ok || last.text != string(text) {
		f.seen[path] = sight{string(text), now}
		return r, true
	}
	return r, now.Sub(last.since) < f.Stale
}

// locked reports whether some process has locked the file, and whether that can
// be known.
func locked(path string) (held, known bool) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false, errors.Is(err, fs.ErrNotExist)
	}
	defer file.Close()
	ok, err := TryLock(file)
	return !ok, err == nil
}

// clean removes the claims of a name up to a number. What cannot be removed does no harm.
func (f *Folder) clean(name string, top int) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if other, n, ok := split(e.Name()); ok && other == name && n <= top {
			_ = os.Remove(f.path(name, n))
			delete(f.seen, f.path(name, n))
		}
	}
}
