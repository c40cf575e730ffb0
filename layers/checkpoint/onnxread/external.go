package onnxread

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// beside returns a function that reads bytes of files in a folder, and of no
// others: a path or a link that leads out of the folder is refused by os.Root.
func beside(root *os.Root) func(location string, offset, length int64) ([]byte, error) {
	taken := make(map[string]int64)
	return func(location string, offset, length int64) ([]byte, error) {
		if !filepath.IsLocal(filepath.FromSlash(location)) {
			return nil, errors.New("which leads out of the model's folder")
		}
		file, err := root.Open(filepath.FromSlash(location))
		if err != nil {
			var p *fs.PathError
			if errors.As(err, &p) {
				err = p.Err
			}
			return nil, fmt.Errorf("which cannot be read: %w", err)
		}
		defer file.Close()
		info, err := file.Stat()
		switch {
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular():
			return nil, errors.New("which is not a regular file")
		case offset > info.Size() || length > info.Size()-offset:
			return nil, fmt.Errorf("whose %d bytes do not hold %d from byte %d on", info.Size(), length, offset)
		case length > named.MaxFile:
			return nil, fmt.Errorf("%d bytes are more than the %d allowed", length, int64(named.MaxFile))
		}
		// Tensors may share their data, but not without end.
		if taken[location] += length; taken[location] > 2*info.Size() {
			return nil, errors.New("which more tensors share than it can hold")
		}
		b := make([]byte, length)
		if _, err := file.ReadAt(b, offset); err != nil && !(errors.Is(err, io.EOF) && length == 0) {
			return nil, fmt.Errorf("which cannot be read: %w", err)
		}
		return b, nil
	}
}
