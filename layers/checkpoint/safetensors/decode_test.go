package safetensors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// raw builds a file of any header and data.
func raw(header, data string) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func TestDecodeForeignFile(t *testing.T) {
	f, err := Decode(raw(`{"b": {"shape": [2], "data_offsets": [1, 5], "dtype": "F16"}, "a":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}, "__metadata__":{"format":"pt"}}    `, "\x01\x00\x3c\x00\xc0"))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Metadata) != 1 || f.Metadata["format"] != "pt" || len(f.Tensors) != 2 || f.Tensors[0].Name != "b" {
		t.Errorf("decoded %+v", f)
	}
	if v, err := Float32s(&f.Tensors[0]); err != nil || v[0] != 1 || v[1] != -2 {
		t.Errorf("b is %v, %v", v, err)
	}
}

// TestDecodeRefuses feeds one fault after another and wants it named.
func TestDecodeRefuses(t *testing.T) {
	tensor := func(shape, offsets string) string {
		return `{"w":{"dtype":"F32","shape":` + shape + `,"data_offsets":` + offsets + `}}`
	}
	pair := func(first, second string) string {
		return `{"v":{"dtype":"U8","shape":[4],"data_offsets":` + first + `},"w":{"dtype":"U8","shape":[4],"data_offsets":` + second + `}}`
	}
	deep := strings.Repeat("[", 1_000_000)
	for name, c := range map[string]struct {
		b    []byte
		want string
	}{
		"nothing":            {nil, "0 bytes are too few"},
		"seven bytes":        {make([]byte, 7), "7 bytes are too few"},
		"header beyond file": {raw("{}", "")[:9], "a header of 2 bytes is announced, but only 1 bytes follow"},
		"header huge":        {append([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"), "{}"...), "announced, but only 2 bytes follow"},
		"header too large":   {append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), make([]byte, maxHeader+1)...), "more than the 100000000 allowed"},
		"no header":          {raw("", "abc"), "does not begin with a brace"},
		"space first":        {raw(" {}", ""), "does not begin with a brace"},
		"list":               {raw("[]", ""), "does not begin with a brace"},
		"not UTF-8":          {raw("{\"\xff\":0}", ""), "not UTF-8"},
		"not JSON":           {raw("{what}", ""), "not valid JSON"},
		"trailing comma":     {raw(`{"__metadata__":{},}`, ""), "not valid JSON"},
		"missing comma":      {raw(`{"__metadata__":{} "w":0}`, ""), "not valid JSON"},
		"ends early":         {raw(`{"__metadata__":{"a":"b"`, ""), "the header ends within"},
		"text after header":  {raw(`{} {}`, ""), "goes on after its closing brace"},
		"newline after":      {raw("{}\n", ""), "goes on after its closing brace"},
		"deep in tensor":     {raw(`{"w":`+deep, ""), `tensor "w" lacks "{"`},
		"deep in shape":      {raw(`{"w":{"dtype":"F32","shape":`+deep, ""), "something other than numbers"},
		"deep in metadata":   {raw(`{"__metadata__":{"a":`+deep, ""), "is not a string"},
		"metadata number":    {raw(`{"__metadata__":{"a":1}}`, ""), `metadata entry "a" is not a string`},
		"metadata null":      {raw(`{"__metadata__":null}`, ""), "lacks"},
		"metadata key twice": {raw(`{"__metadata__":{"a":"1","a":"1"}}`, ""), `two entries "a"`},
		"metadata twice":     {raw(`{"__metadata__":{},"__metadata__":{}}`, ""), `two entries "__metadata__"`},
		"name twice":         {raw(`{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0077":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""), `two entries "w"`},
		"field twice":        {raw(`{"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, ""), `two fields "dtype"`},
		"unknown field":      {raw(`{"w":{"dtype":"U8","Shape":[0],"data_offsets":[0,0]}}`, ""), `unknown field "Shape"`},
		"no dtype":           {raw(`{"w":{"shape":[0],"data_offsets":[0,0]}}`, ""), "has no dtype"},
		"no shape":           {raw(`{"w":{"dtype":"U8","data_offsets":[0,0]}}`, ""), "has no shape"},
		"no offsets":         {raw(`{"w":{"dtype":"U8","shape":[0]}}`, ""), "has no data_offsets"},
		"dtype number":       {raw(`{"w":{"dtype":8,"shape":[0],"data_offsets":[0,0]}}`, ""), "dtype is not a string"},
		"shape string":       {raw(tensor(`"1"`, "[0,4]"), "data"), `shape lacks "["`},
		"negative shape":     {raw(tensor("[-1]", "[0,4]"), "data"), `"-1" is not a size`},
		"minus zero":         {raw(tensor("[-0]", "[0,0]"), ""), `"-0" is not a size`},
		"fraction":           {raw(tensor("[1.0]", "[0,4]"), "data"), `"1.0" is not a size`},
		"number too long":    {raw(tensor("[99999999999999999999]", "[0,4]"), "data"), "is not a size"},
		"overflow":           {raw(tensor("[4294967296,4294967296]", "[0,0]"), ""), "impossible shape"},
		"overflow in bytes":  {raw(tensor("[4611686018427387904]", "[0,0]"), ""), "impossible shape"},
		"overflow by zero":   {raw(tensor("[0,4294967296,4294967296]", "[0,0]"), ""), "impossible shape"},
		"rank":               {raw(tensor("["+strings.Repeat("1,", 64)+"1]", "[0,4]"), "data"), "more than 64 numbers"},
		"one offset":         {raw(tensor("[1]", "[0]"), "data"), "1 data_offsets instead of 2"},
		"three offsets":      {raw(tensor("[1]", "[0,4,4]"), "data"), "more than 2 numbers"},
		"negative offset":    {raw(tensor("[1]", "[-4,0]"), "data"), `"-4" is not a size`},
		"reversed offsets":   {raw(tensor("[1]", "[4,0]"), "data"), "end at byte 0 before they begin at 4"},
		"beyond the data":    {raw(tensor("[2]", "[0,8]"), "data"), "end at byte 8, but the file holds 4 bytes"},
		"absurd offsets":     {raw(tensor("[2]", "[9223372036854775799,9223372036854775807]"), "data"), "but the file holds 4 bytes"},
		"size mismatch":      {raw(tensor("[2]", "[0,4]"), "data"), "has 4 bytes of data, but F32[2] needs 8"},
		"trailing bytes":     {raw(tensor("[1]", "[0,4]"), "data!"), "1 bytes follow the last tensor"},
		"only data":          {raw("{}", "abc"), "3 bytes follow the last tensor"},
		"overlap":            {raw(pair("[0,4]", "[3,7]"), "1234567"), `data of tensor "w" overlap`},
		"same place":         {raw(pair("[0,4]", "[0,4]"), "1234"), "overlap"},
		"gap":                {raw(pair("[0,4]", "[5,9]"), "123456789"), `1 bytes before tensor "w" belong to no tensor`},
		"gap first":          {raw(tensor("[1]", "[1,5]"), "!data"), "belong to no tensor"},
		"empty in the midst": {raw(`{"v":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}}`, "1234"), "overlap"},
		"half a seal":        {raw(`{"__metadata__":{"potstill.format":"1"}}`, ""), "only one of"},
		"the other half":     {raw(`{"__metadata__":{"potstill.sha256":"00"}}`, ""), "only one of"},
		"short seal":         {raw(`{"__metadata__":{"potstill.format":"1","potstill.sha256":"00"}}`, ""), "not 64 plain digits"},
		"escaped seal":       {raw(`{"__metadata__":{"potstill.format":"1","potstill.sha256":"\u0061`+strings.Repeat("0", 63)+`"}}`, ""), "not 64 plain digits"},
		"wrong seal":         {raw(`{"__metadata__":{"potstill.format":"1","potstill.sha256":"`+strings.Repeat("0", 64)+`"}}`, ""), "does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Decode(c.b)
			refused(t, err, c.want, copyAgain)
		})
	}
	_, err := Decode(raw(`{"w":{"dtype":"F4","shape":[0],"data_offsets":[0,0]}}`, ""))
	refused(t, err, `unknown type "F4"`, "store it as one of F64 F32")
	_, err = Decode(raw(`{"__metadata__":{"potstill.format":"2","potstill.sha256":""}}`, ""))
	refused(t, err, `is "2", not "1"`, "use the version of potstill that wrote it")
}

// copyAgain is the advice for damaged files.
const copyAgain = "the file is damaged or cut short; copy it again"

// refused wants a *FormatError of one short line with the reason and what to do.
func refused(t *testing.T, err error, reason, fix string) {
	t.Helper()
	var format *FormatError
	if !errors.As(err, &format) {
		t.Fatalf("error %v, want a *FormatError with %q", err, reason)
	}
	line := err.Error()
	if !strings.Contains(line, reason) || !strings.Contains(line, fix) || strings.Contains(line, "\n") || len(line) > 600 {
		t.Errorf("error %q, want one line with %q and %q", line, reason, fix)
	}
}

// TestEveryByteIsSealed puts every other value in the place of every byte.
func TestEveryByteIsSealed(t *testing.T) {
	b := encode(t, &File{
		Metadata: map[string]string{"k": "v"},
		Tensors:  []Tensor{FromFloat32("w", []int{1}, []float32{1}), FromUint8("q", []int{1, 2}, []uint8{1, 2})},
	})
	if _, err := Decode(b); err != nil {
		t.Fatal(err)
	}
	for i, right := range b {
		for flip := 1; flip < 256; flip++ {
			b[i] = right ^ byte(flip)
			if f, err := Decode(b); err == nil {
				t.Errorf("byte %d of %d, %q changed to %q, was not noticed: %+v", i, len(b), right, b[i], f)
			}
		}
		b[i] = right
	}
}

func TestEveryCutIsFound(t *testing.T) {
	b := encode(t, sample())
	for n := range b {
		if _, err := Decode(b[:n]); err == nil {
			t.Errorf("the first %d of %d bytes were taken for the file", n, len(b))
		}
	}
	if _, err := Decode(append(b, 0)); err == nil {
		t.Error("a trailing byte was not noticed")
	}
}

// TestAllocationIsBounded decodes small files that claim, or are made, to be
// expensive.
func TestAllocationIsBounded(t *testing.T) {
	var entries strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&entries, `"%d":"",`, i)
	}
	for name, b := range map[string][]byte{
		"huge shape":    raw(`{"w":{"dtype":"U8","shape":[4611686018427387904],"data_offsets":[0,4611686018427387904]}}`, ""),
		"many entries":  raw(`{"__metadata__":{`+entries.String()+`"":""}}`, ""),
		"many ones":     raw(`{"w":{"dtype":"U8","data_offsets":[0,1],"shape":[`+strings.Repeat("1,", 50_000)+`1]}}`, "x"),
		"long name":     raw(`{"`+strings.Repeat("x", 100_000)+`":0}`, ""),
		"deep nesting":  raw(`{"w":`+strings.Repeat(`{"w":`, 20_000), ""),
		"large garbage": append([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, make([]byte, 100_000)...),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = Decode(b)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(40*len(b)+1<<16) {
			t.Errorf("%s: %d bytes made the decoder allocate %d", name, len(b), used)
		}
	}
}

func TestRead(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "model.safetensors")
	b := encode(t, sample())
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(b)
	f, err := Read(path)
	if err != nil || !equal(f, sample()) {
		t.Fatalf("read %+v, %v", f, err)
	}
	flipped := append([]byte(nil), b...)
	flipped[len(b)-1] ^= 1
	for want, b := range map[string][]byte{
		"does not match its potstill.sha256": flipped,
		"but the file holds":                 b[:len(b)-1],
		"1 bytes follow the last tensor":     append(append([]byte(nil), b...), 0),
		"0 bytes are too few":                {},
		"3 bytes are too few":                b[:3],
		"but only 92 bytes follow":           b[:100],
	} {
		put(b)
		_, err := Read(path)
		refused(t, err, want, copyAgain)
		if !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("error %q does not begin with the file", err)
		}
	}
	if _, err := Read(folder); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("reading a folder: %v", err)
	}
	_, err = Read(filepath.Join(folder, "absent"))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(folder, "absent")+": ") {
		t.Errorf("reading nothing: %v", err)
	}
}

// TestReadSpendsNothingOnOtherFiles reads a sparse terabyte of zeros.
func TestReadSpendsNothingOnOtherFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse")
	if err := os.WriteFile(path, []byte("\x00\x00\x00\x00\x01\x00\x00\x00"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<40); err != nil {
		t.Skip("no sparse files here: ", err)
	}
	_, err := Read(path)
	refused(t, err, "more than the 100000000 allowed", copyAgain)
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, sample()))
	f.Add(encode(f, &File{}))
	f.Add(raw(`{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  `, "data"))
	f.Add(raw(`{"w":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"v":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]}}`, "\x01"))
	f.Add(raw(`{"__metadata__":{"\ud800":"\u0000"}}`, ""))
	f.Add(raw(`{"a":[[[[{}]]]]}`, ""))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("error %q", err)
			}
			return
		}
		total := 0
		for i := range got.Tensors {
			if err := got.Tensors[i].check(); err != nil {
				t.Fatal(err)
			}
			total += len(got.Tensors[i].Data)
		}
		if n, _ := headerLen(b, len(b)); 8+n+total != len(b) {
			t.Fatalf("%d of %d bytes are accounted for", 8+n+total, len(b))
		}
		again, err := Decode(encode(t, got))
		if err != nil || !equal(again, got) {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
	})
}
