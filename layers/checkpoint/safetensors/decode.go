package safetensors

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Sniff reports whether a file that begins with head, of nine bytes or more, may
// be of safetensors: the length of a header below 2⁴⁸, then a brace. No pickle of
// tensors and no zip archive begins like that.
func Sniff(head []byte) bool {
	return len(head) > 8 && head[6] == 0 && head[7] == 0 && head[8] == '{'
}

// Read reads the whole file at path and verifies all of it: the header, that
// the tensors' data fill the rest exactly, and the seal where there is one. What
// is wrong with the content is a [*FormatError]; other errors are the file
// system's. Memory stays within a small multiple of the file's size, whatever
// the file claims.
func Read(path string) (*File, error) {
	b, err := load(path)
	if err == nil {
		var f *File
		if f, err = Decode(b); err == nil {
			return f, nil
		}
	}
	var format *FormatError
	if errors.As(err, &format) {
		format.Path = path
		return nil, format
	}
	return nil, fmt.Errorf("read %s: %w", path, cause(err))
}

// load reads a file whose header length is plausible, so that a large file of
// another kind is refused before memory is spent on it.
func load(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file; name a .safetensors file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var prefix [8]byte
	n, err := io.ReadFull(file, prefix[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	size := info.Size()
	if int64(int(size)) != size {
		return nil, fmt.Errorf("%d bytes do not fit this machine's address space", size)
	}
	if _, err := headerLen(prefix[:n], int(size)); err != nil {
		return nil, err
	}
	b := make([]byte, size)
	copy(b, prefix[:])
	if _, err := io.ReadFull(file, b[len(prefix):]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, named.Damaged("the file became shorter while it was read")
		}
		return nil, err
	}
	return b, nil
}

// headerLen returns the length of the header of a file of size bytes that
// begins with prefix.
func headerLen(prefix []byte, size int) (int, error) {
	if len(prefix) < 8 || size < 8 {
		return 0, named.Damaged("%d bytes are too few for a safetensors file", min(len(prefix), size))
	}
	n := binary.LittleEndian.Uint64(prefix)
	switch {
	case n > uint64(size-8):
		return 0, named.Damaged("a header of %d bytes is announced, but only %d bytes follow", n, size-8)
	case n > maxHeader:
		return 0, named.Damaged("a header of %d bytes is announced, more than the %d allowed", n, maxHeader)
	}
	return int(n), nil
}

// Decode decodes and verifies the bytes of a whole file, as [Read] does. The
// tensors' data are views into b. Every error is a [*FormatError] without a
// path.
func Decode(b []byte) (*File, error) {
	n, err := headerLen(b, len(b))
	if err != nil {
		return nil, err
	}
	data := b[8+n:]
	h, err := parseHeader(b[8 : 8+n])
	if err != nil {
		return nil, err
	}
	if err := h.place(len(data)); err != nil {
		return nil, err
	}
	sealed, err := h.verify(b)
	if err != nil {
		return nil, err
	}
	for i, s := range h.spans {
		h.tensors[i].Data = data[s.begin:s.end:s.end]
	}
	return &File{Metadata: h.metadata, Tensors: h.tensors, Sealed: sealed}, nil
}

// verify checks the seal of the file b, if it has one, and removes its keys
// from the metadata; sealed says whether it has.
func (h *header) verify(b []byte) (sealed bool, err error) {
	format, hasFormat := h.metadata[KeyFormat]
	sum, hasSum := h.metadata[KeySHA256]
	switch {
	case !hasFormat && !hasSum:
		return false, nil
	case !hasFormat || !hasSum:
		return false, named.Damaged("only one of the metadata %s and %s is there", KeyFormat, KeySHA256)
	case format != formatValue:
		e := named.Damaged("its %s is %s, not %q", KeyFormat, named.Quote(format), formatValue)
		e.Fix = "use the version of potstill that wrote it, or, if that was this one, copy the file again: it is damaged"
		return false, e
	}
	at := 8 + h.sumAt
	if len(sum) != digestLen || h.sumAt < 0 || string(b[at:at+digestLen]) != sum {
		return false, named.Damaged("its %s is not %d plain digits", KeySHA256, digestLen)
	}
	hash := sha256.New()
	hash.Write(b[:at])
	io.WriteString(hash, strings.Repeat("0", digestLen))
	hash.Write(b[at+digestLen:])
	if hex.EncodeToString(hash.Sum(nil)) != sum {
		return false, named.Damaged("its content does not match its %s", KeySHA256)
	}
	delete(h.metadata, KeyFormat)
	delete(h.metadata, KeySHA256)
	return true, nil
}

// cause strips the operation and path that the os package adds to an error.
func cause(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
