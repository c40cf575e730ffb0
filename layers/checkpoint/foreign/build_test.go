package foreign

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
)

// header begins a pickle of protocol 2.
const header = "\x80\x02"

// storageOf is a persistent identifier of a storage of n floats.
func storageOf(key string, n int) string {
	return "(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + text(key) + text("cpu") + number(n) + "tQ"
}

func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

// number is an int of 8 bytes.
func number(n int) string {
	return "\x8a\x08" + string(binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func tuple(n ...int) string {
	s := "("
	for _, v := range n {
		s += number(v)
	}
	return s + "t"
}

// tensorOf is a tensor on a storage.
func tensorOf(storage string, offset int, size, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + size + stride + "\x89}tR"
}

// stateOf is a pickle of a dict with one tensor.
func stateOf(tensor string) string { return header + "}" + text("w") + tensor + "s." }

// plain is a sound state_dict of four floats on the storage "0".
func plain() string { return stateOf(tensorOf(storageOf("0", 4), 0, tuple(2, 2), tuple(2, 1))) }

type entry struct {
	name, content string
	edit          func(*zip.FileHeader)
	deflate       bool
}

// zipOf is a zip file of the entries, stored unless they say otherwise.
func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, e := range entries {
		content := e.content
		h := &zip.FileHeader{Name: e.name, CRC32: crc32.ChecksumIEEE([]byte(content)), UncompressedSize64: uint64(len(content))}
		if e.deflate {
			var packed bytes.Buffer
			w, err := flate.NewWriter(&packed, flate.BestCompression)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			h.Method, content = zip.Deflate, packed.String()
		}
		h.CompressedSize64 = uint64(len(content))
		if e.edit != nil {
			e.edit(h)
		}
		w, err := z.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// model is a zip file of a pickle and the storage "0" of 16 bytes.
func model(t testing.TB, pickle string, more ...entry) []byte {
	return zipOf(t, append([]entry{{name: "m/data.pkl", content: pickle}, {name: "m/data/0", content: "0123456789abcdef"}}, more...)...)
}

// legacyOf is a legacy file with the pickle, the keys and what follows them.
func legacyOf(pickle, keys, data string) []byte {
	return []byte(header + "\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + header + "M\xe9\x03." + header + "}" + text("little_endian") + "\x88s." + pickle + header + keys + "." + data)
}

const four = "\x04\x00\x00\x00\x00\x00\x00\x00" + "0123456789abcdef"

// edited returns the file with a text replaced wherever it is.
func edited(t testing.TB, b []byte, old, new string) []byte {
	t.Helper()
	if !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%q is not in the file", old)
	}
	return bytes.ReplaceAll(b, []byte(old), []byte(new))
}

// manyViews is a dict of n names for a tensor of four floats, each expanded.
func manyViews(n int) string {
	var b strings.Builder
	b.WriteString(header + "}" + tensorOf(storageOf("0", 4), 0, tuple(4, 500), tuple(1, 0)) + "q\x000(")
	for i := range n {
		b.WriteString(text(fmt.Sprintf("%04x", i)) + "h\x00")
	}
	return b.String() + "u."
}

// overlapping is a zip file of which an entry lies within another: the storage
// holds an entry of its own, to which the directory points.
func overlapping(t testing.TB) []byte {
	inner := zipOf(t, entry{name: "m/data/1", content: "inside"})
	local := inner[:bytes.Index(inner, []byte("PK\x01\x02"))]
	b := model(t, plain(), entry{name: "m/data/2", content: string(local)}, entry{name: "m/data/1", content: "inside"})
	at := bytes.Index(b, local)
	last := bytes.LastIndex(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[last+42:], uint32(at))
	return b
}

// nest is a list in a list in a list: the inner ones are appended to the outer
// at the end.
func nest(n int) string { return strings.Repeat("]", n) + strings.Repeat("a", n-1) }
