package data

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/potstill/potstill/engine/data/picture"
)

// An archive that is compressed may unfold to at most so many bytes for each of
// its own, and archiveSlack more: pictures hardly shrink, and one that unfolds to
// more was made to fill a disk or to take for ever.
const (
	archiveRatio = 200
	archiveSlack = 64 << 20
)

// errBomb is wrapped where an archive unfolds to more than it may.
var errBomb = errors.New("the archive unfolds to more than 200 bytes for each of its own; it is damaged or was made to exhaust memory: do not use it")

// archiveLimit is what an archive of so many bytes may unfold to.
func archiveLimit(size int64) int64 { return size*archiveRatio + archiveSlack }

// formats are told by their first bytes. Those with a word are not read, and the
// word says what they are.
var formats = []struct {
	magic string
	at    int
	zip   bool
	name  string
}{
	{magic: "PK\x03\x04", zip: true},
	{magic: "PK\x05\x06", zip: true}, // an empty one
	{magic: "PK\x07\x08", name: "a part of a zip in several parts"},
	{magic: "\xFD7zXZ\x00", name: "compressed by xz"},
	{magic: "\x28\xB5\x2F\xFD", name: "compressed by zstd"},
	{magic: "\x04\x22\x4D\x18", name: "compressed by lz4"},
	{magic: "LZIP", name: "compressed by lzip"},
	{magic: "\x1F\x9D", name: "compressed by compress"},
	{magic: "7z\xBC\xAF\x27\x1C", name: "a 7z archive"},
	{magic: "Rar!\x1A\x07", name: "a RAR archive"},
	{magic: "PAR1", name: "a Parquet file"},
	{magic: "\x89HDF", name: "an HDF5 file"},
	{magic: "\x93NUMPY", name: "a NumPy array"},
	{magic: "SQLite format 3", name: "a database of SQLite"},
	{magic: "CD001", at: 0x8001, name: "an ISO image"},
}

// newArchive opens a file as what its first bytes say that it is.
func newArchive(path, spec string, st fs.FileInfo) (source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	defer f.Close()
	b := make([]byte, 0x8010)
	n, err := io.ReadFull(f, b)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("data: %w", err)
	}
	b = b[:n]
	for _, k := range formats {
		if len(b) < k.at || !bytes.HasPrefix(b[k.at:], []byte(k.magic)) {
			continue
		}
		if k.zip {
			return newZip(path, spec, st)
		}
		return nil, fmt.Errorf("data: %s is %s, which is not read: unpack it and name the folder", spec, k.name)
	}
	switch {
	case picture.IsPicture(filepath.Base(path)):
		return nil, fmt.Errorf("data: %s is one picture: name the folder of all of them", spec)
	case isText(filepath.Base(path)):
		return nil, fmt.Errorf("data: %s is no archive: name the folder that it is in, or the folder of the pictures and this file as their labels", spec)
	}
	return &tarball{path: path, spec: spec, size: st.Size(), mtime: st.ModTime()}, nil
}
