//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd || windows)

package claim

import (
	"errors"
	"os"
)

// TryLock is not available here.
func TryLock(*os.File) (ok bool, err error) { return false, errors.ErrUnsupported }
