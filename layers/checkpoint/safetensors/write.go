package safetensors

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

// Write stores f at path, as [File.Encode] does, and returns the number of bytes
// written. It is atomic: path holds what it held before, or the whole new file,
// even where the process is killed or the machine loses power. The file is
// written under a temporary name in the same folder, synchronised to the disk,
// and renamed, and the folder is synchronised. On an error the temporary file is
// removed; only a killed process leaves one, named .potstill-*.tmp.
func Write(path string, f *File) (bytes int64, err error) {
	return writeAtomic(path, f.Encode)
}

// WritePlain is [Write] without the seal; see [File.EncodePlain].
func WritePlain(path string, f *File) (bytes int64, err error) {
	return writeAtomic(path, f.EncodePlain)
}

// writeAtomic is [Write] with the content left to encode.
func writeAtomic(path string, encode func(io.Writer) error) (written int64, err error) {
	defer func() {
		if err != nil {
			written = 0
			err = writeError(path, err)
		}
	}()
	// The rename would put a file in the place of a device or a pipe.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return 0, errors.New("there is something else than a file of that name; choose another")
	}
	folder := filepath.Dir(path)
	file, err := createTemp(folder)
	if err != nil {
		return 0, err
	}
	written, err = fill(file, encode)
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		_ = os.Remove(file.Name()) // the first error says more
		return 0, err
	}
	return written, syncFolder(folder)
}

// createTemp creates a new hidden file in the folder. Unlike those of
// os.CreateTemp its permissions follow the umask, as a checkpoint's should.
func createTemp(folder string) (*os.File, error) {
	for range 100 {
		name := filepath.Join(folder, fmt.Sprintf(".potstill-%016x.tmp", rand.Uint64()))
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if !errors.Is(err, fs.ErrExist) {
			return file, err
		}
	}
	return nil, errors.New("no free name for a temporary file")
}

// fill writes the content, synchronises it to the disk and closes the file.
func fill(file *os.File, encode func(io.Writer) error) (int64, error) {
	w := &countingWriter{w: file}
	buffer := bufio.NewWriterSize(w, 1<<16)
	err := encode(buffer)
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = file.Sync()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return w.n, err
}

// syncFolder makes a rename in the folder durable. Windows and some network file
// systems cannot synchronise a folder; there the rename itself must do.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// writeError names the file and, where the cause is a common one, what to do.
func writeError(path string, err error) error {
	err = cause(err)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("write %s: %w; free some space or choose another folder", path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("write %s: %w; choose a folder that you may write to", path, err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("write %s: %w; create the folder first", path, err)
	}
	return fmt.Errorf("write %s: %w", path, err)
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
