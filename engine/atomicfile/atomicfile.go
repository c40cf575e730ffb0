// Package atomicfile writes files that others see whole or not at all: under another
// name in the same folder, which then becomes the file's.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Create makes and opens a new file beside path, whose name is to become path by
// os.Rename. Its permissions are those of mode that the umask leaves; os.CreateTemp
// would hide it from everyone else.
func Create(path string, mode fs.FileMode) (*os.File, error) {
	name := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	for i := 0; ; i++ {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, os.ErrExist) || i == 100 {
			return f, err
		}
		name = fmt.Sprintf("%s.%d-%d.tmp", path, os.Getpid(), i)
	}
}

// Write makes path a file of the given content, in place of one that may be there. The
// content is on the disk before it gets that name. Of a failure nothing is left.
func Write(path string, content []byte, mode fs.FileMode) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
