//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package data

import (
	"errors"
	"os"
)

// canLock tells that files of the cache are locked while they are in use, and
// can be renamed while they are open.
const canLock = false

// lock is not available here.
func lock(*os.File, bool, bool) (ok bool, err error) {
	return false, errors.ErrUnsupported
}
