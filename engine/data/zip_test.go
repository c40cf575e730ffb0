package data

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/hostile-archives.md again")

// A zipEntry is one of an archive that may be made to be odd.
type zipEntry struct {
	name    string
	content []byte
	edit    func(h *zip.FileHeader)
}

// zipOf writes an archive of the entries, deflated.
func zipOf(t testing.TB, entries ...zipEntry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		var packed bytes.Buffer
		f, err := flate.NewWriter(&packed, flate.DefaultCompression)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(e.content); err != nil || f.Close() != nil {
			t.Fatal(err)
		}
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(e.content),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(e.content))}
		if strings.HasSuffix(e.name, "/") {
			h.Method, h.CompressedSize64 = zip.Store, 0
			packed.Reset()
		}
		if e.edit != nil {
			e.edit(h)
		}
		raw, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write(packed.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// zipEntries are the files below prefix, in descending order so that nothing can
// rely on an order.
func zipEntries(prefix string, files map[string][]byte) []zipEntry {
	var list []zipEntry
	for name, b := range files {
		list = append(list, zipEntry{name: prefix + name, content: b})
	}
	slices.SortFunc(list, func(a, b zipEntry) int { return strings.Compare(b.name, a.name) })
	return list
}

// makeZip is makeTar for zip.
func makeZip(t testing.TB, prefix string, files map[string][]byte) []byte {
	t.Helper()
	return zipOf(t, zipEntries(prefix, files)...)
}

func asLink(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }

func TestZipIsLikeTheFolder(t *testing.T) {
	files := study(t)
	files["training/notes.txt"], files[".git/0_0.jpg"] = []byte("not a picture"), []byte("hidden")
	want := describe(mustOpen(t, writeFolder(t, files), Options{}))
	entries := append(zipEntries("set/", files), zipEntry{name: "set/"}, zipEntry{name: "set/training/"},
		zipEntry{name: "../training/0_7.jpg", content: []byte("x")}, zipEntry{name: "/training/0_8.jpg", content: []byte("x")},
		zipEntry{name: "set/training/0_9.jpg", content: []byte("/etc/passwd"), edit: asLink},
		zipEntry{name: "__MACOSX/set/training/._0_0.jpg", content: []byte("x")}, zipEntry{name: "__MACOSX/set/training/._0_1.jpg", content: []byte("x")})
	d := mustOpen(t, writeFile(t, "a.zip", zipOf(t, entries...)), Options{})
	if got := describe(d); got != want {
		t.Error("the zip differs from the folder")
	}
	if d.Name != "a" {
		t.Errorf("name %q", d.Name)
	}
	if got, want := Summarize(d.LeftOut), "left out 6 files: 1 that are links, devices or other special files (set/training/0_9.jpg), "+
		"2 with names that lead out of the archive (the first is ../training/0_7.jpg), 1 of other kinds (.txt 1), 2 hidden"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// TestZipNames: names of old programs, and of Windows.
func TestZipNames(t *testing.T) {
	p := func(n int) []byte { return paint(t, ".png", n) }
	d := mustOpen(t, writeFile(t, "x.zip", zipOf(t,
		zipEntry{name: `train\beer\1.png`, content: p(1)}, zipEntry{name: `train\beer\2.png`, content: p(2)},
		zipEntry{name: "train/\x82clair/1.png", content: p(3), edit: func(h *zip.FileHeader) { h.NonUTF8 = true }},
		zipEntry{name: "train/e\u0301clair/2.png", content: p(4)})), Options{ValFraction: 0.5})
	if !slices.Equal(d.Classes, []string{"beer", "éclair"}) || d.Train.Len() != 2 || d.Val.Len() != 2 {
		t.Errorf("classes %q, %d + %d", d.Classes, d.Train.Len(), d.Val.Len())
	}
}

// overlapping is an archive whose second entry is the first again.
func overlapping(t testing.TB, a, b zipEntry) []byte {
	whole := zipOf(t, a, b)
	first := bytes.Index(whole, []byte("PK\x01\x02"))
	second := first + 4 + bytes.Index(whole[first+4:], []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(whole[second+42:], 0)
	return whole
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tera is a tar with the header of a picture of a terabyte.
func tera(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&tar.Header{Name: "training/0_1.png", Mode: 0o644, Size: 1 << 40, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), make([]byte, 4096)...)
}

// A hostileArchive was made to hurt a reader, or is one that is not read.
type hostileArchive struct {
	name, file string
	data       []byte
	want       string
}

func hostileArchives(t testing.TB) []hostileArchive {
	good := zipEntries("", study(t))
	with := func(more ...zipEntry) []byte { return zipOf(t, append(slices.Clone(good), more...)...) }
	edited := func(edit func(h *zip.FileHeader)) []byte {
		return with(zipEntry{name: "training/0_50.png", content: paint(t, ".png", 50), edit: edit})
	}
	const size = 50 << 20
	zeros := make([]byte, size)
	bomb := zipOf(t, zipEntry{name: "training/0_50.bmp", content: zeros}, zipEntry{name: "training/0_51.bmp", content: zeros})
	var folds bytes.Buffer
	tw := tar.NewWriter(&folds)
	for i := range 2 {
		if err := tw.WriteHeader(&tar.Header{Name: fmt.Sprintf("training/0_%d.bmp", i), Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	whole := with()
	torn := slices.Clone(whole)
	torn[60] ^= 0x55
	return []hostileArchive{
		{"a zip bomb: 100 MB of zeros deflated", "bomb.zip", bomb, "more than 200 bytes for each"},
		{"an entry that announces a terabyte", "tera.zip", edited(func(h *zip.FileHeader) { h.UncompressedSize64 = 1 << 40 }), "too large to be read"},
		{"an entry that inflates to more than announced", "more.zip", edited(func(h *zip.FileHeader) { h.UncompressedSize64 = 5 }), "damaged or cut short"},
		{"an entry that inflates to less than announced", "less.zip", edited(func(h *zip.FileHeader) { h.UncompressedSize64 += 9 }), "damaged or cut short"},
		{"entries that overlap", "overlap.zip", overlapping(t, good[0], good[1]), "overlap"},
		{"an entry beyond the file", "beyond.zip", edited(func(h *zip.FileHeader) { h.CompressedSize64 = 1 << 30 }), "damaged or cut short"},
		{"an entry with a wrong sum", "torn.zip", torn, "damaged or cut short"},
		{"an encrypted entry", "secret.zip", edited(func(h *zip.FileHeader) { h.Flags |= 1 }), "is encrypted"},
		{"an entry compressed by LZMA", "lzma.zip", edited(func(h *zip.FileHeader) { h.Method = 14 }), "compressed in a way that is not read"},
		{"a zip archive cut short", "cut.zip", whole[:len(whole)/2], "damaged or cut short"},
		{"an empty zip archive", "empty.zip", zipOf(t), "no pictures in it"},
		{"a zip archive of archives", "nested.zip", zipOf(t, zipEntry{name: "train.zip", content: whole}), "there are archives"},
		{"entries that climb", "climb.zip", zipOf(t, zipEntry{name: "../../etc/0_1.png", content: []byte("x")}), "lead out of the archive"},
		{"entries of absolute and of Windows' paths", "paths.zip", zipOf(t, zipEntry{name: "/etc/0_1.png", content: []byte("x")}, zipEntry{name: `..\x\0_2.png`, content: []byte("x")}), "lead out of the archive"},
		{"a link out of the archive", "link.zip", zipOf(t, zipEntry{name: "training/0_1.png", content: []byte("/etc/passwd"), edit: asLink}), "special files"},
		{"a tar bomb: 100 MB of zeros gzipped", "bomb.tar.gz", gzipped(t, folds.Bytes()), "more than 200 bytes for each"},
		{"a tar whose entry announces a terabyte", "tera.tar", tera(t), "cut short"},
		{"a tar compressed by xz", "a.tar.xz", []byte("\xfd7zXZ\x00\x00\x04"), "compressed by xz"},
		{"a tar compressed by zstd", "a.tar.zst", []byte("\x28\xb5\x2f\xfd\x04\x58"), "compressed by zstd"},
		{"7z", "a.7z", []byte("7z\xbc\xaf\x27\x1c\x00\x04"), "a 7z archive"},
		{"RAR", "a.rar", []byte("Rar!\x1a\x07\x01\x00"), "a RAR archive"},
		{"a text", "a.tar", []byte(strings.Repeat("abc ", 300)), "is not a tar"},
		{"one picture", "a.png", paint(t, ".png", 1), "is one picture"},
		{"a label file", "labels.csv", []byte("file,label\na.png,0\n"), "is no archive"},
	}
}

// TestHostileArchives holds docs/hostile-archives.md to what the readers say, and
// the readers to leaving nothing behind.
func TestHostileArchives(t *testing.T) {
	var doc strings.Builder
	doc.WriteString(hostileIntro)
	for _, h := range hostileArchives(t) {
		path, cache := writeFile(t, h.file, h.data), t.TempDir()
		d, err := Open(context.Background(), path, Options{CacheDir: cache, Logger: slog.New(slog.DiscardHandler)})
		line := ""
		if err == nil {
			line = "(read) " + Summarize(d.LeftOut)
			d.Close()
		} else {
			line = strings.ReplaceAll(err.Error(), path, "FILE")
		}
		if !strings.Contains(line, h.want) || strings.Contains(line, "\n") {
			t.Errorf("%s: %q, want %q", h.name, line, h.want)
		}
		noTemps(t, cache)
		fmt.Fprintf(&doc, "| %s | `%s` |\n", h.name, strings.NewReplacer("|", `\|`, "`", "'").Replace(line))
	}
	path := filepath.FromSlash("../../docs/hostile-archives.md")
	if *update {
		if err := os.WriteFile(path, []byte(doc.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != doc.String() {
		t.Error("docs/hostile-archives.md is not what the readers say; run go test ./engine/data -run HostileArchives -update")
	}
}

const hostileIntro = `# Hostile archives

Data sets come from strangers too, as tar and zip archives. Nothing of an archive is ever written to disk under a name of its own, so that no name can
lead anywhere; entries with names that climb or are absolute, links and devices are left out and counted. An entry of more than 256 MiB is
not read, a picture of more than 100 megapixels not decoded; compressed archives may unfold to 200 bytes for each of their own
and 64 MiB more; the entries of a zip may not overlap. Archives of other kinds are recognized by their first bytes. Readers are fuzzed
(` + "`scripts/fuzz.sh`" + `). Hostile model files have [a page of their own](hostile-files.md).

Each archive below gets the line beside it (` + "`FILE`" + ` stands for its path; those that can be read in spite of it say what was left out).
This page is made by ` + "`go test ./engine/data -run HostileArchives -update`" + ` and held to the readers by the same test.

| archive | line |
|---|---|
`
