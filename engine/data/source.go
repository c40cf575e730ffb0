package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/engine/data/picture"
)

// A source is a folder or an archive: named files that can be listed once and
// read in order as often as needed.
type source interface {
	// stamp describes the state of the source cheaply, by names, sizes and
	// times; newest is the latest modification that it covers.
	stamp(ctx context.Context) (s string, newest time.Time, err error)
	// noticed is what the stamp has left out, where it had to look at the names.
	noticed() (left leftOut, ok bool)
	list(ctx context.Context) (*listing, error)
	// read calls yield with the bytes of the files whose number is wanted, in
	// ascending order of the numbers.
	read(ctx context.Context, want func(seq int) bool, yield func(seq int, b []byte) error) error
}

// listing is what a source holds. Names are relative slash paths.
type listing struct {
	files   []listed
	texts   []textFile // class lists and what may be label files
	dirs    []string
	skipped []skippedRecord // pictures too large to be read
	left    leftOut
}

type listed struct {
	name string
	seq  int
}

// A textFile is a file that may say what the classes or the labels are.
type textFile struct {
	name string
	b    []byte
}

// newSource opens spec for listing. Problems of the path itself are reported
// here.
func newSource(ctx context.Context, spec string) (source, error) {
	st, err := os.Stat(spec)
	if errors.Is(err, fs.ErrNotExist) || spec == "" {
		return nil, fmt.Errorf("data: no such folder or file: %q (want a folder, a tar or zip archive, or builtin:fashion)", spec)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	abs, err := filepath.Abs(spec)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if st.IsDir() {
		return newFolder(ctx, abs)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("data: %s is neither a folder nor a file", spec)
	}
	return newArchive(abs, spec, st)
}

// isHidden reports names that no dataset means: dot files, and what macOS and
// Windows add to folders and archives.
func isHidden(elem string) bool {
	return strings.HasPrefix(elem, ".") || elem == "__MACOSX" || strings.EqualFold(elem, "Thumbs.db") || strings.EqualFold(elem, "desktop.ini")
}

// hiddenPart returns a name up to its first hidden element, "" if it has none.
func hiddenPart(name string) string {
	elems := strings.Split(name, "/")
	for i, e := range elems {
		if isHidden(e) {
			return strings.Join(elems[:i+1], "/")
		}
	}
	return ""
}

// Limits of the text files of a source.
const (
	maxTexts    = 64        // more may be one for each picture, and no label files
	maxTextSize = 128 << 20 // bytes of all
	maxTextDir  = 3         // folders above one
)

// isText reports whether a file may say what the classes or labels are.
func isText(name string) bool {
	if strings.Count(name, "/") > maxTextDir {
		return false
	}
	return isClassList(name) || isLabelFile(name)
}

// texts counts the text files of a source that are read.
type texts struct {
	n     int
	bytes int64
}

// take reports whether a file is one that is read.
func (t *texts) take(name string, size int64) bool {
	if !isText(name) || t.n == maxTexts || size > maxTextSize-t.bytes {
		return false
	}
	t.n++
	t.bytes += size
	return true
}

func isClassList(name string) bool { return strings.EqualFold(path.Base(name), "classes.txt") }

func isLabelFile(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv", ".tsv", ".jsonl", ".ndjson":
		return true
	}
	return false
}

// entryName cleans the name of an archive's entry. Absolute names, and names that
// leave the archive's folder, are refused.
func entryName(name string) (string, bool) {
	if name == "" || strings.HasPrefix(name, "/") || strings.ContainsAny(name, "\\\x00") {
		return "", false
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", false
	}
	name = path.Clean(name)
	return name, name != "."
}

// entries gathers the listing of an archive.
type entries struct {
	lst    listing
	last   map[string]int // of a picture's name, its place in lst.files
	hidden map[string]bool
	texts  texts
}

func newEntries() *entries { return &entries{last: map[string]int{}, hidden: map[string]bool{}} }

// An entryKind is what an archive's entry is.
type entryKind int

const (
	regularEntry entryKind = iota
	folderEntry
	specialEntry
)

// add takes note of the entry with the given number. It reports whether the
// entry is a text whose bytes are wanted: give them to text.
func (e *entries) add(seq int, entry string, kind entryKind, size int64) (name string, text bool) {
	name, ok := entryName(entry)
	l := &e.lst
	switch {
	case name == ".":
	case !ok:
		l.left.add(whyClimbing, entry)
	case hiddenPart(name) != "":
		if h := hiddenPart(name); !e.hidden[h] {
			e.hidden[h] = true
			l.left.add(whyHidden, h)
		}
	case kind == specialEntry:
		l.left.add(whySpecial, name)
	case kind == folderEntry:
		l.dirs = append(l.dirs, name)
	case e.texts.take(name, size):
		return name, true
	case !picture.IsPicture(name):
		l.left.addKind(name)
	case size > maxFileSize:
		l.skipped = append(l.skipped, skippedRecord{File: name, Err: errFileTooLarge.Error()})
	default:
		if i, dup := e.last[name]; dup { // a later entry replaces an earlier one
			l.files[i].seq = seq
			return name, false
		}
		e.last[name] = len(l.files)
		l.files = append(l.files, listed{name: name, seq: seq})
	}
	return name, false
}

func (e *entries) text(name string, b []byte) {
	e.lst.texts = append(e.lst.texts, textFile{name, b})
}
