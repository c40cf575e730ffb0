package fit

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

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
