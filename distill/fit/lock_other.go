//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package fit

import (
	"errors"
	"os"
)

// tryLock is not available here.
func tryLock(*os.File) (ok bool, err error) { return false, errors.ErrUnsupported }
