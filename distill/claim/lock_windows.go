package claim

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// TryLock locks a file for as long as it is open, without waiting, and reports
// whether it has. The lock is on one byte far behind its end, for Windows keeps
// others from reading what is locked. File systems that have no locks give an error.
func TryLock(f *os.File) (ok bool, err error) {
	const exclusive = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err = windows.LockFileEx(windows.Handle(f.Fd()), exclusive, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}
