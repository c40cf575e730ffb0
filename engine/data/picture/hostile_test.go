package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/hostile-pictures.md")

// hostile is a file that was made to hurt.
type hostile struct {
	name string
	file []byte
}

// join puts a JPEG's parts together.
func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// segment makes a segment of a JPEG.
func segment(marker byte, content ...byte) []byte {
	return append([]byte{0xFF, marker, byte((len(content) + 2) >> 8), byte(len(content) + 2)}, content...)
}

// frame makes a frame header; factors are the sampling factors of the components.
func frame(marker byte, w, h int, factors ...byte) []byte {
	c := []byte{8, byte(h >> 8), byte(h), byte(w >> 8), byte(w), byte(len(factors))}
	for i, f := range factors {
		c = append(c, byte(i+1), f, 0)
	}
	return segment(marker, c...)
}

var (
	soi, eoi = []byte{0xFF, 0xD8}, []byte{0xFF, 0xD9}
	quant    = segment(0xDB, make([]byte, 65)...)
	scan3    = segment(0xDA, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0)
	scan1    = segment(0xDA, 1, 1, 0, 0, 63, 0)
)

func hostileJPEGs(t *testing.T) []hostile {
	whole := testdata(t, "made/jpeg-420.jpg")
	scans := join(soi, quant, frame(0xC2, 8000, 8000, 0x11), segment(0xDA, 1, 1, 0, 0, 0, 0))
	for range 100 {
		scans = join(scans, segment(0xDA, 1, 1, 0, 1, 63, 0), []byte{0xFF, 0x00})
	}
	return []hostile{
		{"65535×65535 pixels", join(soi, quant, frame(0xC0, 65535, 65535, 0x11), scan1, eoi)},
		{"a hundred scans of next to nothing", join(scans, eoi)},
		{"no data but a header", join(soi, quant, frame(0xC0, 4000, 4000, 0x22, 0x11, 0x11), scan3, eoi)},
		{"no data but a header, coded arithmetically", join(soi, quant, frame(0xC9, 4000, 4000, 0x22, 0x11, 0x11), scan3, eoi)},
		{"no pixels", join(soi, quant, frame(0xC0, 0, 5, 0x11), scan1, eoi)},
		{"a height that comes after the picture", join(soi, quant, frame(0xC0, 5, 0, 0x11), scan1, eoi)},
		{"a sampling factor of zero", join(soi, quant, frame(0xC0, 5, 5, 0x10), scan1, eoi)},
		{"sampling factors of 3 and 2", join(soi, quant, frame(0xC0, 5, 5, 0x31, 0x21, 0x11), scan3, eoi)},
		{"an MCU of 12 blocks", join(soi, quant, frame(0xC0, 5, 5, 0x22, 0x22, 0x22), scan3, eoi)},
		{"five components", join(soi, quant, frame(0xC0, 5, 5, 0x11, 0x11, 0x11, 0x11, 0x11), scan1, eoi)},
		{"no quantization table", join(soi, frame(0xC0, 5, 5, 0x11), scan1, eoi)},
		{"a Huffman table that is none", join(soi, quant, frame(0xC0, 5, 5, 0x11), segment(0xC4, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3), scan1, eoi)},
		{"a Huffman table beyond its segment", join(soi, segment(0xC4, append(make([]byte, 16), 255, 1)...), eoi)},
		{"12 bits", join(soi, bytes.Replace(frame(0xC1, 5, 5, 0x11), []byte{8, 0, 5}, []byte{12, 0, 5}, 1), eoi)},
		{"a lossless JPEG", join(soi, frame(0xC3, 5, 5, 0x11), eoi)},
		{"a hierarchical JPEG", join(soi, frame(0xC5, 5, 5, 0x11), eoi)},
		{"two frames", join(soi, frame(0xC0, 5, 5, 0x11), frame(0xC0, 5, 5, 0x11), eoi)},
		{"a scan before the frame", join(soi, quant, scan1, eoi)},
		{"a progressive scan beyond 63", join(soi, quant, frame(0xC2, 5, 5, 0x11), segment(0xDA, 1, 1, 0, 1, 64, 0), eoi)},
		{"a segment beyond the file", join(soi, []byte{0xFF, 0xE0, 0xFF, 0xFF})},
		{"nothing but tables", join(soi, quant, eoi)},
		{"nothing but padding", join(soi, bytes.Repeat([]byte{0xFF}, 1000))},
		{"cut in the middle", whole[:len(whole)/2]},
		{"cut in the first row, with an end", join(whole[:len(whole)/2], eoi)},
	}
}

// pngFile makes a PNG of chunks, each a type and content.
func pngFile(chunks ...string) []byte {
	b := []byte(pngMagic)
	for i := 0; i < len(chunks); i += 2 {
		kind, data := chunks[i], chunks[i+1]
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		b = append(b, kind+data...)
		b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE([]byte(kind+data)))
	}
	return b
}

func ihdr(w, h uint32, depth, color byte) string {
	b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	return string(append(b, depth, color, 0, 0, 0))
}

func deflated(n int) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	for range n >> 16 {
		_, _ = z.Write(make([]byte, 1<<16))
	}
	_, _ = z.Write(make([]byte, n&0xFFFF))
	_ = z.Close()
	return b.String()
}

func hostilePNGs(t *testing.T) []hostile {
	whole := testdata(t, "made/png-rgb.png")
	flip := func(at int) []byte {
		b := bytes.Clone(whole)
		b[at] ^= 1
		return b
	}
	data := bytes.Index(whole, []byte("IDAT"))
	return []hostile{
		{"2147483647×2147483647 pixels", pngFile("IHDR", ihdr(1<<31-1, 1<<31-1, 8, 2), "IDAT", deflated(100), "IEND", "")},
		{"4294967295×1 pixels", pngFile("IHDR", ihdr(1<<32-1, 1, 8, 2), "IDAT", deflated(100), "IEND", "")},
		{"10000×9999 pixels, and data for none", pngFile("IHDR", ihdr(10000, 9999, 16, 6), "IDAT", deflated(0), "IEND", "")},
		{"64 MB of data behind one pixel, and a wrong end", append(pngFile("IHDR", ihdr(1, 1, 8, 2), "IDAT", deflated(64<<20)), 1)},
		{"a chunk of 4 GB", append(pngFile("IHDR", ihdr(1, 1, 8, 2)), "\xff\xff\xff\xffIDATxyz"...)},
		{"a color type of 5", pngFile("IHDR", ihdr(4, 4, 8, 5), "IDAT", deflated(100), "IEND", "")},
		{"no palette", pngFile("IHDR", ihdr(4, 4, 8, 3), "IDAT", deflated(20), "IEND", "")},
		{"a palette of four bytes", pngFile("IHDR", ihdr(4, 4, 8, 3), "PLTE", "abcd", "IDAT", deflated(20), "IEND", "")},
		{"no data", pngFile("IHDR", ihdr(4, 4, 8, 2), "IEND", "")},
		{"a filter of 9", pngFile("IHDR", ihdr(1, 1, 8, 0), "IDAT", "x\x01\x01\x02\x00\xfd\xff\x09\x00\x00\x13\x00\x0a", "IEND", "")},
		{"a flipped bit in the header", flip(20)},
		{"a flipped bit in the pixels", flip(data + 20)},
		{"cut in the pixels", whole[:data+30]},
	}
}

func hostileOthers(t *testing.T) []hostile {
	tiff := testdata(t, "made/tiff-raw.tif")
	patched := func(name string, at int, with string) []byte {
		b := testdata(t, name)
		copy(b[at:], with)
		return b
	}
	return []hostile{
		{"GIF: a screen of 65535×65535", patched("made/gif-plain.gif", 6, "\xff\xff\xff\xff")},
		{"GIF: a picture beyond its screen", patched("made/gif-plain.gif", 6, "\x02\x00\x02\x00")},
		{"WebP: a canvas of 16777216×16777216", patched("made/webp-alpha.webp", 24, "\xff\xff\xff\xff\xff\xff")},
		{"WebP: cut", testdata(t, "made/webp-even.webp")[:100]},
		{"BMP: 2147483647×1 pixels", patched("made/bmp-rgb.bmp", 18, "\xff\xff\xff\x7f\x01\x00\x00\x00")},
		{"BMP: cut", testdata(t, "made/bmp-rgb.bmp")[:100]},
		{"TIFF: a directory beyond the file", patched("made/tiff-raw.tif", 4, "\xff\xff\xff\xff")},
		{"TIFF: cut", tiff[:len(tiff)/2]},
		{"PPM: 100000×100000 pixels", []byte("P6 100000 100000 255\nxyz")},
		{"PPM: 10000×9999 pixels, and data for one", []byte("P6 10000 9999 255\nxyz")},
		{"PGM: plain, 10000×9999 pixels, and data for one", []byte("P2 10000 9999 255\n1")},
		{"PGM: a sample beyond the largest value", []byte("P2 1 1 255\n256")},
		{"PGM: a largest value of 70000", []byte("P5 1 1 70000\nxy")},
		{"PBM: no size", []byte("P4 \nxy")},
		{"an empty file", nil},
		{"a page of HTML", []byte("<!DOCTYPE html><html></html>")},
		{"HEIC", []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic")},
	}
}

// line is what a file gives: its error, or its notes.
func (h hostile) line(t *testing.T) string {
	m, notes, err := Decode(h.file, Options{})
	if err != nil {
		if s := err.Error(); strings.ContainsAny(s, "\n\r") || !strings.ContainsAny(s, ";") {
			t.Errorf("%s: %q is not one line that says what to do", h.name, s)
		}
		return err.Error()
	}
	s := fmt.Sprintf("read as %d×%d", m.W, m.H)
	for _, n := range notes {
		s += "; " + n.String()
	}
	return s
}

// TestHostilePictures holds docs/hostile-pictures.md to what the decoder says, and
// its time and memory to little.
func TestHostilePictures(t *testing.T) {
	var b strings.Builder
	b.WriteString(hostileIntro)
	for _, c := range []struct {
		title string
		files []hostile
	}{{"JPEG", hostileJPEGs(t)}, {"PNG", hostilePNGs(t)}, {"Other files", hostileOthers(t)}} {
		fmt.Fprintf(&b, "\n## %s\n\n| file | what it gives |\n|---|---|\n", c.title)
		for _, h := range c.files {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			line := h.line(t)
			runtime.ReadMemStats(&after)
			fmt.Fprintf(&b, "| %s | `%s` |\n", h.name, strings.NewReplacer("|", `\|`, "`", "'").Replace(line))
			// The two of 10000×9999 pixels are within the limit, and announced.
			if used := after.TotalAlloc - before.TotalAlloc; used > 400<<20 && !strings.Contains(h.name, "10000×9999") {
				t.Errorf("%s: %d MiB were allocated", h.name, used>>20)
			}
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("%s: it took %v", h.name, d)
			}
		}
	}
	path := filepath.FromSlash("../../../docs/hostile-pictures.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/hostile-pictures.md is not what the decoder says; run go test ./engine/data/picture -run HostilePictures -update")
	}
}

// TestLimits checks the limits that can be tested for.
func TestLimits(t *testing.T) {
	if _, _, err := Decode(make([]byte, MaxFileSize+1), Options{}); !errors.Is(err, ErrFileTooLarge) {
		t.Error(err)
	}
	for name := range goldens(t) {
		m, _, err := Decode(testdata(t, name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := decode(testdata(t, name), Options{}, m.W*m.H); err != nil {
			t.Errorf("%s: within the limit: %v", name, err)
		}
		if _, _, err := decode(testdata(t, name), Options{}, m.W*m.H-1); m.W*m.H > 1 && !errors.Is(err, ErrTooManyPixels) {
			t.Errorf("%s: beyond the limit: %v", name, err)
		}
	}
	if _, _, err := Decode([]byte("text"), Options{}); !errors.Is(err, ErrNotAPicture) {
		t.Error(err)
	}
}

const hostileIntro = `# Hostile pictures

Pictures come from strangers. Each file below was made to hurt a decoder; beside it is the line that it gives, or the note with
which it is read. The number of pixels (at most 100 million) and the size of the file (at most 256 MiB) are checked before memory
is allocated, which is at most 24 bytes a pixel, twice the file and a few MiB; the scans of a JPEG may visit 64 times as
many blocks as it has. The decoder is fuzzed (` + "`scripts/fuzz.sh`" + `), and every file of the tests is also read cut short.

This page is made by ` + "`go test ./engine/data/picture -run HostilePictures -update`" + ` and held to the decoder by the same test.
`
