//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package data

import (
	"errors"
	"os"
	"syscall"
)

// canLock tells that files of the cache are locked while they are in use, and
// can be renamed while they are open.
const canLock = true

// lock locks a file for as long as it is open: against others that lock it
// exclusively or, if exclusive, against all. Without wait it does not wait for
// them, and ok tells whether it has got the lock. File systems that know no
// locks give an error.
func lock(f *os.File, exclusive, wait bool) (ok bool, err error) {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how); {
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
