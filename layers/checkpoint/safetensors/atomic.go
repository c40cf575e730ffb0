package safetensors

import "io"

// WriteAtomic writes a file of any content as [Write] does: path holds what it
// held before, or all that encode writes, and the number of bytes is returned.
// The formats beside this one are written through it.
func WriteAtomic(path string, encode func(io.Writer) error) (bytes int64, err error) {
	return writeAtomic(path, encode)
}
