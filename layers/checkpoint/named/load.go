package named

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// HeadLen is how much of a file is looked at before the rest is read.
const HeadLen = 512

// Load reads a regular file of at most [MaxFile] bytes whose beginning,
// of up to 512 bytes, pleases check. Its errors name the file.
func Load(path string, check func(head []byte) error) ([]byte, error) {
	b, err := load(path, check)
	if err != nil {
		return nil, WithPath(path, err)
	}
	return b, nil
}

func load(path string, check func(head []byte) error) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file; name a file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size := info.Size()
	head := make([]byte, min(size, HeadLen))
	if _, err := io.ReadFull(file, head); err != nil {
		return nil, shorter(err)
	}
	if err := check(head); err != nil {
		return nil, err
	}
	if size > MaxFile || int64(int(size)) != size {
		return nil, Refused("split it, or save the state_dict alone", "it has %d bytes, more than the %d allowed", size, int64(MaxFile))
	}
	b := make([]byte, size)
	copy(b, head)
	if _, err := io.ReadFull(file, b[len(head):]); err != nil {
		return nil, shorter(err)
	}
	return b, nil
}

func shorter(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Damaged("the file became shorter while it was read")
	}
	return err
}

// WithPath puts the file's name before an error.
func WithPath(path string, err error) error {
	var format *FormatError
	if errors.As(err, &format) {
		e := *format
		e.Path = path
		return &e
	}
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return fmt.Errorf("read %s: %w", path, err)
}
