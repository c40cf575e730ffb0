//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package claim

import (
	"errors"
	"os"
	"syscall"
)

// TryLock locks a file for as long as it is open, without waiting, and reports
// whether it has. File systems that have no locks give an error.
func TryLock(f *os.File) (ok bool, err error) {
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return false, err
		}
	}
}
