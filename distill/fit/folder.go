package fit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/potstill/potstill/distill/claim"
)

// LockFile is the name of the file in Job.Dir that is locked while a run is
// under way there. It is removed when the run ends.
const LockFile = "run.lock"

// ErrLocked says that another process, or another run of this one, holds a lock.
var ErrLocked = errors.New("in use by another run")

// Lock takes the lock that the file at path stands for, which it makes if need
// be, without waiting: if it is taken the error is [ErrLocked]. The lock is the
// operating system's: it ends with the process, however that ends. Where the
// system or the file system has no locks, Lock succeeds and protects nothing.
// The returned function gives the lock back and removes the file.
func Lock(path string) (unlock func() error, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, err
		}
		ok, err := claim.TryLock(f)
		if err != nil { // there are no locks here
			return func() error { return giveUp(f, path) }, nil
		}
		if !ok {
			return nil, errors.Join(f.Close(), ErrLocked)
		}
		if current(f, path) {
			return func() error { return giveUp(f, path) }, nil
		}
		// Its owner has removed the file between our opening and our locking it.
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// current reports whether f is the file at path.
func current(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// CheckFolder reports, in one line that says what to do, why a new run must not
// begin in dir: it holds a run, whose files the new one would replace, or a run
// is under way there. A folder that is missing is free.
func CheckFolder(dir string) error {
	if err := checkUnlocked(dir); err != nil {
		return err
	}
	return checkHolds(dir)
}

// checkHolds reports whether dir holds a run or its result.
func checkHolds(dir string) error {
	last, err := exists(filepath.Join(dir, LastFile))
	if err != nil {
		return err
	}
	if last {
		return fmt.Errorf("%s holds a run already: resume it with --resume, replace it with --force, or choose another folder with --out", dir)
	}
	best, err := exists(filepath.Join(dir, BestFile))
	if err != nil {
		return err
	}
	if best {
		return fmt.Errorf("%s holds a model already, %s: replace it with --force, or choose another folder with --out", dir, BestFile)
	}
	return nil
}

// checkUnlocked reports whether a run is under way in dir.
func checkUnlocked(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, LockFile), os.O_RDWR, 0)
	if err != nil {
		return nil // whoever begins a run will meet the reason again
	}
	defer f.Close()
	if ok, err := claim.TryLock(f); err == nil && !ok {
		return inUse(dir)
	}
	return nil
}

func inUse(dir string) error {
	return fmt.Errorf("%s is %w: wait for its end, or choose another folder with --out", dir, ErrLocked)
}

// exists reports whether there is something at path. What lies below a file
// does not exist.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return false, nil
	}
	return false, fmt.Errorf("looking for a run: %w", err)
}

// claim makes the job's folder its own until the returned function is called.
func (s *session) claim() (unlock func() error, err error) {
	j := s.j
	if j.Dir == "" || !s.writes() {
		return func() error { return nil }, nil
	}
	there, err := exists(j.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.Dir, 0o777); err != nil {
		return nil, writable(fmt.Errorf("the output folder cannot be made: %w", err))
	}
	free, err := Lock(s.path(LockFile))
	if errors.Is(err, ErrLocked) {
		return nil, inUse(j.Dir)
	} else if err != nil {
		return nil, writable(err)
	}
	if err := s.mayBegin(); err != nil {
		return nil, errors.Join(err, free())
	}
	return func() error {
		err := free()
		if !there {
			_ = os.Remove(j.Dir) // which fails unless the run has left nothing in it
		}
		return err
	}, nil
}

// mayBegin reports why the run must not begin in its folder, which is locked.
func (s *session) mayBegin() error {
	j := s.j
	if j.Resume {
		return nil
	}
	if !j.Replace {
		return checkHolds(j.Dir)
	}
	for _, name := range []string{BestFile, LastFile} {
		if ours, err := os.Stat(s.path(name)); err == nil {
			for _, path := range j.sources() {
				if other, err := os.Stat(path); err == nil && os.SameFile(ours, other) {
					return fmt.Errorf("%s is read by this run, which would replace it; choose another folder with --out", path)
				}
			}
		}
	}
	return nil
}

// sources returns the files of the models that the job begins with.
func (j *Job) sources() (paths []string) {
	if j.Init != nil {
		paths = append(paths, j.Init.Path)
	}
	for _, t := range j.teachers() {
		paths = append(paths, t.Path)
	}
	return paths
}
