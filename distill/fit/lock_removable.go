//go:build !windows

package fit

import (
	"errors"
	"os"
)

// giveUp removes the file at path and unlocks it, in this order: who opens it
// between the two finds that it is not at the path any more, and makes another.
func giveUp(f *os.File, path string) error { return errors.Join(remove(path), f.Close()) }
