package fit

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks a file for as long as it is open, without waiting, and reports
// whether it has. The lock is on one byte far behind its end, for Windows keeps
// others from reading what is locked. File systems that have no locks give an error.
func tryLock(f *os.File) (ok bool, err error) {
	const exclusive = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), exclusive, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// giveUp unlocks and removes the file at path. An open file cannot be removed here:
// where another run has opened it between the two, it stays, and is that one's.
func giveUp(f *os.File, path string) error {
	if err := f.Close(); err != nil {
		return err
	}
	if err := remove(path); err != nil && !errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return err
	}
	return nil
}
