package foreign

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/hostile-files.md again")

// A hostile file, and a part of the line that it must get.
type hostile struct {
	name, want string
	data       []byte
}

func hostileArchives(t testing.TB) []hostile {
	bloated := func(f *zip.FileHeader) { f.UncompressedSize64 = 1 << 40 }
	return []hostile{
		{"a zip bomb: 64 MB of zeros deflated", "unfolds to more than 64 bytes for each", model(t, plain(), entry{name: "m/byteorder", content: strings.Repeat("\x00", 64<<20), deflate: true})},
		{"an entry that announces a terabyte", "unfolds to more than 64 bytes for each", model(t, plain(), entry{name: "m/byteorder", content: "little", deflate: true, edit: bloated})},
		{"an entry that inflates to more than announced", "goes on after the 2 bytes announced", model(t, plain(), entry{name: "m/byteorder", content: "little", deflate: true, edit: func(f *zip.FileHeader) { f.UncompressedSize64 = 2 }})},
		{"an entry that inflates to less than announced", "cannot be inflated to the 7 bytes announced", model(t, plain(), entry{name: "m/byteorder", content: "little", deflate: true, edit: func(f *zip.FileHeader) { f.UncompressedSize64 = 7 }})},
		{"a stored entry of two sizes", "stored, but with two sizes", model(t, plain(), entry{name: "m/byteorder", content: "little", edit: bloated})},
		{"a stored entry beyond the file", "are not in the file", model(t, plain(), entry{name: "m/byteorder", content: "little", edit: func(f *zip.FileHeader) { f.CompressedSize64 = 1 << 30 }})},
		{"two entries of one name", `two zip entries "m/data/0"`, model(t, plain(), entry{name: "m/data/0", content: "fedcba9876543210"})},
		{"two pickles", "two zip entries data.pkl", model(t, plain(), entry{name: "n/data.pkl", content: plain()})},
		{"an entry that climbs", "leads out of the archive", model(t, plain(), entry{name: "m/../../etc/passwd", content: "x"})},
		{"an entry of an absolute path", "leads out of the archive", model(t, plain(), entry{name: "/etc/passwd", content: "x"})},
		{"an entry of a Windows path", "leads out of the archive", model(t, plain(), entry{name: `m\..\x`, content: "x"})},
		{"a storage whose key climbs", "leads out of the archive", model(t, stateOf(tensorOf(storageOf("../../data", 4), 0, tuple(4), tuple(1))))},
		{"entries that overlap", "overlap", overlapping(t)},
		{"an encrypted entry", "is encrypted", model(t, plain(), entry{name: "m/byteorder", content: "little", edit: func(f *zip.FileHeader) { f.Flags = 1 }})},
		{"an entry compressed by bzip2", "unknown method 12", model(t, plain(), entry{name: "m/byteorder", content: "little", edit: func(f *zip.FileHeader) { f.Method = 12 }})},
		{"a storage with a wrong sum", "does not match its sum", edited(t, model(t, plain()), "0123456789abcdef", "0123456789abcdeg")},
		{"a big-endian file", "it is big-endian", model(t, plain(), entry{name: "m/byteorder", content: "big"})},
		{"a byte order of its own", `its byteorder is "middle"`, model(t, plain(), entry{name: "m/byteorder", content: "middle"})},
		{"a missing storage", `no zip entry "m/data/7"`, model(t, stateOf(tensorOf(storageOf("7", 4), 0, tuple(4), tuple(1))))},
		{"no pickle", "a zip file without a data.pkl", zipOf(t, entry{name: "m/data/0", content: "x"})},
		{"an empty zip file", "a zip file without a data.pkl", zipOf(t)},
		{"NumPy's npz", "a zip file of NumPy arrays", zipOf(t, entry{name: "w.npy", content: "\x93NUMPY"})},
		{"TorchScript", "is a TorchScript archive", model(t, plain(), entry{name: "m/constants.pkl", content: ")."})},
		{"a zip file cut short", "its zip directory cannot be read", model(t, plain())[:200]},
		{"bytes after the pickle", "3 bytes follow the pickle", model(t, plain()+"abc")},
	}
}

func hostileTensors(t testing.TB) []hostile {
	one := func(offset int, size, stride string) []byte {
		return model(t, stateOf(tensorOf(storageOf("0", 4), offset, size, stride)))
	}
	const huge = 1 << 62
	return []hostile{
		{"a shape larger than its storage", "reaches to element 4 of a storage of 4", one(0, tuple(5), tuple(1))},
		{"an offset beyond its storage", "reaches to element 4 of a storage of 4", one(4, tuple(1), tuple(1))},
		{"a negative offset", "begins at element -1", one(-1, tuple(1), tuple(1))},
		{"a stride beyond its storage", "reaches to element 4611686018427387904", one(0, tuple(2), tuple(huge))},
		{"strides that overflow", "reaches beyond its storage", one(0, tuple(9, 9), tuple(huge, huge))},
		{"a negative stride", "has the stride -1", one(3, tuple(2), tuple(-1))},
		{"fewer strides than dimensions", "has 1 strides for 2 dimensions", one(0, tuple(2, 2), tuple(1))},
		{"a negative size", "impossible shape", one(0, tuple(-2), tuple(1))},
		{"a shape whose product overflows", "impossible shape", one(0, tuple(huge, huge), tuple(0, 0))},
		{"a shape whose product overflows but for a zero", "impossible shape", one(0, tuple(huge, huge, 0), tuple(0, 0, 0))},
		{"a stride of zero that unfolds to exabytes", "unfolds to more than 64 bytes for each", one(0, tuple(huge), tuple(0))},
		{"65 dimensions", "or are too many", one(0, "("+strings.Repeat("K\x01", 65)+"t", "("+strings.Repeat("K\x01", 65)+"t")},
		{"a float as a size", "are not ints", one(0, "G\x00\x00\x00\x00\x00\x00\x00\x00\x85", tuple(1))},
		{"one storage under many names", "unfolds to more than 64 bytes for each", model(t, manyViews(40_000))},
		{"a storage shorter than announced", "16 bytes for 5 elements of 4", model(t, stateOf(tensorOf(storageOf("0", 5), 0, tuple(5), tuple(1))))},
		{"a storage of exabytes", "16 bytes for 4611686018427387904 elements of 4", model(t, stateOf(tensorOf(storageOf("0", huge), 0, tuple(4), tuple(1))))},
		{"a storage of a negative size", "refers to a storage in an unknown way", model(t, stateOf(tensorOf(storageOf("0", -4), 0, tuple(4), tuple(1))))},
		{"a storage of two sizes", "described in two ways", model(t, header+"}("+text("v")+tensorOf(storageOf("0", 4), 0, tuple(4), tuple(1))+text("w")+tensorOf(storageOf("0", 3), 0, tuple(3), tuple(1))+"u.")},
		{"a tensor of complex numbers", "is of type complex64", model(t, stateOf(tensorOf(strings.Replace(storageOf("0", 2), "FloatStorage", "ComplexFloatStorage", 1), 0, tuple(2), tuple(1))))},
		{"complex numbers under many names", "unfolds to more than 64 bytes for each", model(t, strings.ReplaceAll(manyViews(20_000), "FloatStorage", "ComplexFloatStorage"))},
		{"a tensor of odd metadata", `the metadata of a tensor say "odd", which is not understood`, model(t, withMetadata("FloatStorage", 4, "}"+text("odd")+"\x88s"))},
		{"a single tensor", "holds a single tensor", model(t, header+tensorOf(storageOf("0", 4), 0, tuple(4), tuple(1))+".")},
		{"no tensors", `a dict without tensors ("epoch")`, model(t, header+"}"+text("epoch")+"K\x03s.")},
		{"two state_dicts", "more than one state_dict", model(t, header+"}("+text("a")+plain()[2:len(plain())-1]+text("b")+plain()[2:len(plain())-1]+"u.")},
		{"a dict within itself", "nested more than 4 times", model(t, header+"}q\x00"+text("model")+"h\x00s.")},
		{"a legacy file with a wrong magic number", "its magic number is not PyTorch's", bytes.Replace(legacyOf(plain(), "]"+text("0")+"a", four), []byte("\x8a\x0al\xfc"), []byte("\x8a\x0bl\xfc\x9cF\xf9 j\xa8P\x19\x01.\x8a\x0al\xfc"), 1)},
		{"a legacy file of another version", "version of PyTorch's legacy format other than 1001", edited(t, legacyOf(plain(), "]"+text("0")+"a", four), "M\xe9\x03.", "M\xea\x03.")},
		{"a big-endian legacy file", "it is big-endian", edited(t, legacyOf(plain(), "]"+text("0")+"a", four), "little_endian\x88", "little_endian\x89")},
		{"a legacy storage of exabytes", "does not fit into the 16 bytes left", legacyOf(stateOf(tensorOf(storageOf("0", huge), 0, tuple(4), tuple(1))), "]"+text("0")+"a", "\x00\x00\x00\x00\x00\x00\x00\x40"+four[8:])},
		{"a legacy storage of another size than announced", "has 4 elements, but 3 are announced", legacyOf(stateOf(tensorOf(storageOf("0", 3), 0, tuple(3), tuple(1))), "]"+text("0")+"a", four)},
		{"a legacy storage listed twice", "twice", legacyOf(plain(), "]("+text("0")+text("0")+"e", four+four)},
		{"a legacy storage of no tensor", "which no tensor has", legacyOf(plain(), "]"+text("9")+"a", four)},
		{"a legacy file without its storage", "no data for storage", legacyOf(plain(), "]", "")},
		{"bytes after a legacy file", "1 bytes follow the last storage", legacyOf(plain(), "]"+text("0")+"a", four+"!")},
		{"a part beyond its storage", "lies beyond its 4 elements", legacyOf(stateOf(tensorOf(strings.Replace(storageOf("0", 4), "tQ", "("+text("1")+"K\x02K\x03ttQ", 1), 0, tuple(3), tuple(1))), "]"+text("0")+"a", four)},
		{"a whole pickled module", "a whole pickled module", legacyOf(header+"("+text("module")+"Ntq\x01Q.", "]", "")},
		{"PyTorch's tar format", "tar format of PyTorch before 0.1.10", append(make([]byte, 257), "ustar  \x00"+strings.Repeat("\x00", 300)...)},
	}
}

func hostilePickles(t testing.TB) []hostile {
	p := func(s string) []byte { return []byte(header + s) }
	array := func(dtype, state string) []byte {
		return p("}" + text("w") + "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01" + tuple(4) + "cnumpy\ndtype\n" + text(dtype) + "\x89\x88\x87R(K\x03" + state + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89C\x04abcdtbs.")
	}
	coded := func(lo, hi string) []byte {
		scalar := func(v string) string {
			return "cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n" + text("f8") + "\x89\x88\x87RC\x08" + v + "tR"
		}
		return p("}" + text("w") + scalar(lo) + scalar(hi) + string(array("u1", text("|"))[2+1+6:len(array("u1", text("|")))-2]) + "\x87s.")
	}
	const nan, one, zero = "\x00\x00\x00\x00\x00\x00\xf8\x7f", "\x00\x00\x00\x00\x00\x00\xf0\x3f", "\x00\x00\x00\x00\x00\x00\x00\x00"
	return []hostile{
		{"os.system", "names os.system, which is not on the list", p("cos\nsystem\n" + text("touch /tmp/owned") + "\x85R.")},
		{"builtins.eval", "names builtins.eval, which is not on the list", p("cbuiltins\neval\n" + text("1") + "\x85R.")},
		{"posix.system by STACK_GLOBAL", "names posix.system", p("\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.")},
		{"subprocess.Popen by INST", "names subprocess.Popen", p("(" + text("ls") + "isubprocess\nPopen\n.")},
		{"os.system in a state_dict", "names os.system", model(t, header+"cos\nsystem\n"+text("ls")+"\x85R.")},
		{"os.system in a legacy file", "names os.system", legacyOf(header+"cos\nsystem\n"+text("ls")+"\x85R.", "]", "")},
		{"os.system in the magic number's place", "names os.system", append([]byte(header+"cos\nsystem\n\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\x85R."), "..."...)},
		{"a class of the user's", "names __main__.StudentNet", model(t, header+"c__main__\nStudentNet\n)\x81.")},
		{"torch.load within torch.load", "names torch.storage._load_from_bytes", model(t, header+"ctorch.storage\n_load_from_bytes\nC\x01x\x85R.")},
		{"a name with a newline's likeness", `names "os\u2028.system"`, p("\x8c\x05os\u2028\x8c\x06system\x93.")},
		{"a storage class that is called", "which may only be named", model(t, header+"ctorch\nFloatStorage\n)R.")},
		{"the extension registry", "uses the extension registry", p("\x82\x01.")},
		{"buffers from elsewhere", "expects buffers from elsewhere", p("\x97.")},
		{"an object outside", "refers to objects outside of it", p("K\x01Q.")},
		{"a bytes object of exabytes", "announces 4611686018427387904 bytes", p("\x8e\x00\x00\x00\x00\x00\x00\x00\x40.")},
		{"a str of 4 GB", "announces 4294967295 bytes", p("X\xff\xff\xff\xff.")},
		{"a frame of exabytes", "a frame of 4611686018427387904 bytes", p("\x95\x00\x00\x00\x00\x00\x00\x00\x40.")},
		{"an integer of 2 GB", "announces 2147483647 bytes", p("\x8b\xff\xff\xff\x7f.")},
		{"an integer of 10,000 bytes", "an integer of 10000 bytes", p("\x8b\x10\x27\x00\x00" + strings.Repeat("\x7f", 10000) + ".")},
		{"an integer of a million digits", "an integer of 1000000 digits", p("I" + strings.Repeat("9", 1_000_000) + "\n.")},
		{"ten thousand lists within one another", "a list, not a dict", p(nest(10_000) + ".")},
		{"a million lists within one another", "unfolds to more than 64 bytes for each", p(nest(1_000_000) + ".")},
		{"a list within itself", "a list, not a dict", p("]q\x00h\x00a.")},
		{"a memo of index 4,294,967,295", "a list, not a dict", p("]r\xff\xff\xff\xff.")},
		{"a memo never set", "asks for memo 7", p("h\x07.")},
		{"a million marks", "unfolds to more than 64 bytes for each", p(strings.Repeat("(", 1_000_000))},
		{"a million empty dicts", "unfolds to more than 64 bytes for each", p(strings.Repeat("}", 1_000_000) + ".")},
		{"a text encoded over and over", "unfolds to more than 64 bytes for each", p("c_codecs\nencode\nq\x00" + text(strings.Repeat("a", 100_000)) + text("latin1") + "\x86q\x01" + strings.Repeat("h\x00h\x01R", 20_000) + ".")},
		{"an empty stack", "takes more from the stack", p(".")},
		{"a mark that is not there", "looks for a mark", p("t.")},
		{"an opcode unknown", "unknown opcode 0xff", p("\xff.")},
		{"protocol 9", "is of protocol 9", []byte("\x80\x09}.")},
		{"a pickle cut short", "ends at byte 3 without a STOP", p("}")},
		{"two pickles", "2 bytes follow its pickle", p("}" + text("w") + "K\x01s.N.")},
		{"a pickled list", "holds a list, not a dict", p("].")},
		{"a NumPy array of objects", `a NumPy array of objects (dtype "O8")`, array("O8", text("|"))},
		{"a big-endian NumPy array", `a big-endian NumPy array (dtype ">f4")`, array("f4", text(">"))},
		{"a NumPy array of records", `dtype "V8"`, array("V8", text("|"))},
		{"a NumPy array of too few bytes", "float64[4] has 4 bytes of data", array("f8", text("<"))},
		{"codes on a range of NaN", "impossible range from NaN to 1", coded(nan, one)},
		{"codes on a reversed range", "impossible range from 1 to 0", coded(one, zero)},
		{"under a name a list", `under the name "w" it has a list`, p("}" + text("w") + "]s.")},
		{"a tuple of two", "a tuple of 2", p("}" + text("w") + "K\x01K\x02\x86s.")},
	}
}

func hostileOthers() []hostile {
	tensors := func(s string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...)
	}
	return []hostile{
		{"safetensors: a shape of exabytes", "impossible shape", tensors(`{"w":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,4]}}`)},
		{"safetensors: data beyond the file", "but the file holds 0 bytes of data", tensors(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`)},
		{"safetensors: tensors that overlap", "overlap", append(tensors(`{"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}`), "abcdef"...)},
		{"safetensors: a header of exabytes", "is announced", []byte("\x00\x00\x00\x00\x00\xff\x00\x00{}")},
		{"safetensors: a header nested without end", "lacks", tensors(`{"w":` + strings.Repeat("[", 100_000))},
		{"an empty file", "the file is empty", nil},
		{"HDF5", "a file of HDF5", []byte("\x89HDF\r\n\x1a\n")},
		{"GGUF", "a file of GGUF", []byte("GGUF\x03\x00\x00\x00")},
		{"gzip", "compressed by gzip", []byte("\x1f\x8b\x08\x00")},
		{"a text", "of no known format", []byte("hello, world\n")},
	}
}

// chapters are the hostile files, as docs/hostile-files.md lists them.
func chapters(t testing.TB) []struct {
	title string
	files []hostile
} {
	return []struct {
		title string
		files []hostile
	}{
		{"Zip archives", hostileArchives(t)},
		{"Tensors, storages and state_dicts", hostileTensors(t)},
		{"Pickles", hostilePickles(t)},
		{"ONNX", hostileONNX()},
		{"Other files", hostileOthers()},
	}
}

// TestHostileFiles reads every hostile file, wants the line it must get, and no
// more memory than is stated.
func TestHostileFiles(t *testing.T) {
	for _, c := range chapters(t) {
		for _, h := range c.files {
			t.Run(h.name, func(t *testing.T) {
				line := h.line(t)
				if !strings.Contains(line, h.want) {
					t.Errorf("got %q, want %q in it", line, h.want)
				}
				allocated(t, h.data)
			})
		}
	}
}

// line returns the error of a hostile file, which must be one of ours.
func (h hostile) line(t testing.TB) string {
	t.Helper()
	err := decodeONNX(h.data)
	var format *FormatError
	if !errors.As(err, &format) {
		t.Fatalf("%s: error %v, want a *FormatError", h.name, err)
	}
	format.Path = "FILE"
	line := format.Error()
	if strings.ContainsAny(line, "\n\r") || len(line) > 500 {
		t.Errorf("%s: %q is not one short line", h.name, line)
	}
	return line
}

// allocated decodes b and holds the memory allocated, live or not, against the
// limit stated; 256 KiB are for what the test itself and the runtime do.
func allocated(t testing.TB, b []byte) {
	t.Helper()
	allocatedBy(t, b, func(b []byte) { _, _ = Decode(b) })
}

func allocatedBy(t testing.TB, b []byte, decode func(b []byte)) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode(b)
	runtime.ReadMemStats(&after)
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(Expansion*len(b)+1<<20+1<<18); used > most {
		t.Errorf("%d bytes made the reader allocate %d, more than %d", len(b), used, most)
	}
}

// TestHostileDoc holds docs/hostile-files.md to what the readers say.
func TestHostileDoc(t *testing.T) {
	const path = "../../../docs/hostile-files.md"
	var b strings.Builder
	b.WriteString(intro)
	for _, c := range chapters(t) {
		fmt.Fprintf(&b, "\n## %s\n\n| file | line |\n|---|---|\n", c.title)
		for _, h := range c.files {
			fmt.Fprintf(&b, "| %s | `%s` |\n", h.name, strings.NewReplacer("|", `\|`, "`", "'").Replace(h.line(t)))
		}
	}
	if *update {
		if err := os.WriteFile(filepath.FromSlash(path), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != b.String() {
		t.Error("docs/hostile-files.md is not what the readers say; run go test ./layers/checkpoint/foreign -run HostileDoc -update")
	}
}

const intro = `# Hostile files

Model files come from strangers. Each file below was made to hurt a reader, and is refused with the line beside it
(` + "`FILE`" + ` stands for its path). Nothing in a file is executed; every length, shape, offset and stride is held against the
file before memory is allocated; reading allocates at most 64 bytes for each byte of the file and 1 MiB beside the file itself, and
pickles and zip archives of more than 4 GiB, or files of no known format, are refused after their first 512 bytes. Constants that an ONNX file
announces and does not hold, or that are computed from others, have 2^28 numbers in all at most. Readers are fuzzed (` + "`scripts/fuzz.sh`" + `),
and every file of the tests is also read cut short at every byte.

This page is made by ` + "`go test ./layers/checkpoint/foreign -run HostileDoc -update`" + ` and held to the readers by the same test.
`
