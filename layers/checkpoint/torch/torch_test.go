package torch

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
)

// sample has every type that can be written, and shapes of 0 to 5 dimensions.
func sample() []named.Tensor {
	nan := math.Float32frombits(0x7fa00000) // signalling, and a float16's
	return []named.Tensor{
		{Name: "w", Shape: []int{2, 1, 2}, DType: "float32", Float: []float32{1, float32(math.Copysign(0, -1)), float32(math.Inf(1)), nan}},
		{Name: "0", Shape: []int{}, DType: "float64", Double: []float64{math.Pi}, Float: []float32{math.Pi}},
		{Name: "half", Shape: []int{1, 1, 1, 2, 1}, DType: "float16", Float: []float32{nan, 65504}},
		{Name: "brain", Shape: []int{3}, DType: "bfloat16", Float: []float32{nan, 1.5, -2}},
		{Name: "count", Shape: []int{}, DType: "int64", Int: []int64{math.MinInt64}},
		{Name: "a", Shape: []int{2}, DType: "int32", Int: []int64{math.MinInt32, math.MaxInt32}},
		{Name: "b", Shape: []int{2}, DType: "int16", Int: []int64{math.MinInt16, math.MaxInt16}},
		{Name: "c", Shape: []int{2}, DType: "int8", Int: []int64{-128, 127}},
		{Name: "d", Shape: []int{2}, DType: "uint64", Int: []int64{0, math.MaxInt64}},
		{Name: "e", Shape: []int{1}, DType: "uint32", Int: []int64{math.MaxUint32}},
		{Name: "f", Shape: []int{1}, DType: "uint16", Int: []int64{math.MaxUint16}},
		{Name: "g", Shape: []int{1}, DType: "uint8", Int: []int64{255}},
		{Name: "h", Shape: []int{2}, DType: "bool", Int: []int64{0, 1}},
		{Name: "empty", Shape: []int{0, 3}, DType: "float32", Float: []float32{}},
		{Name: "größe", Shape: []int{300}, DType: "float32", Float: make([]float32, 300)},
	}
}

// TestWrite writes every type and wants it back bit by bit, from a file whose
// entries are stored and aligned as PyTorch's are.
func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.pt")
	n, err := Write(path, sample())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != n {
		t.Fatalf("%d bytes instead of %d, %v", len(b), n, err)
	}
	f, err := Read(path)
	if err != nil || f.Format != FormatZip || f.Path != path || len(f.Notes) != 0 {
		t.Fatalf("read %+v, %v", f, err)
	}
	for i, want := range sample() {
		got := &f.Tensors[i]
		x, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		y, err := got.Encode()
		if err != nil || !bytes.Equal(x, y) || got.Name != want.Name || got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("%+v came back as %+v, %v", want, *got, err)
		}
	}
	z, err := zip.NewReader(bytes.NewReader(b), n)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range z.File {
		at, err := e.DataOffset()
		if err != nil || at%alignment != 0 || e.Method != zip.Store {
			t.Errorf("%s lies at %d, by method %d, %v", e.Name, at, e.Method, err)
		}
	}
	var again bytes.Buffer
	if err := Encode(&again, sample()); err != nil || !bytes.Equal(again.Bytes(), b) {
		t.Errorf("the same tensors gave other bytes, %v", err)
	}
}

// TestWriteCoded wants a coded tensor written as what it decodes to.
func TestWriteCoded(t *testing.T) {
	var b bytes.Buffer
	if err := Encode(&b, []named.Tensor{{Name: "w", Shape: []int{2}, DType: "uint8", Coded: true, Codes: []uint8{0, 255}, Min: -1, Max: 1, Float: []float32{-1, 1}}}); err != nil {
		t.Fatal(err)
	}
	f, err := Decode(b.Bytes())
	if err != nil || f.Tensors[0].DType != "float32" || !slices.Equal(f.Tensors[0].Float, []float32{-1, 1}) {
		t.Errorf("read %+v, %v", f, err)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := func(x named.Tensor) []named.Tensor { x.Name = "w"; return []named.Tensor{x} }
	for want, tensors := range map[string][]named.Tensor{
		`two tensors are named "w"`: {{Name: "w", Shape: []int{0}}, {Name: "w", Shape: []int{0}}},
		"not UTF-8":                 {{Name: "\xff", Shape: []int{0}}},
		"too large":                 one(named.Tensor{Shape: []int{1 << 40}}),
		"has 1 values of float32, but the shape [2] needs 2": one(named.Tensor{Shape: []int{2}, Float: []float32{1}}),
		"the value 256, which is no uint8":                   one(named.Tensor{Shape: []int{1}, DType: "uint8", Int: []int64{256}}),
		"the value -1, which is no uint64":                   one(named.Tensor{Shape: []int{1}, DType: "uint64", Int: []int64{-1}}),
		"the value 2, which is no bool":                      one(named.Tensor{Shape: []int{1}, DType: "bool", Int: []int64{2}}),
		"unknown type complex64":                             one(named.Tensor{Shape: []int{1}, DType: "complex64", Float: []float32{1}}),
	} {
		path := filepath.Join(t.TempDir(), "model.pt")
		if _, err := Write(path, tensors); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q left a file", want)
		}
	}
}

// floats are the bytes of 0, 1, … n-1.
func floats(n int) string {
	var b []byte
	for i := range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(i)))
	}
	return string(b)
}

// legacy builds a legacy file of one tensor, the pickle of which args writes.
func legacy(n int, tensor func(w *pickle.Writer, storage func(view func()))) []byte {
	w := pickle.NewWriter(2)
	w.Ops("}")
	w.Text("w")
	tensor(w, func(view func()) {
		w.Ops("(")
		w.Text("storage")
		w.Global("torch FloatStorage")
		w.Text("key")
		w.Text("cuda:1")
		w.Int(n)
		view()
		w.Ops("tQ")
	})
	w.Ops("s")
	keys := pickle.NewWriter(2)
	keys.Ops("](")
	keys.Text("key")
	keys.Ops("e")
	b := []byte("\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.")
	b = append(append(b, w.Stop()...), keys.Stop()...)
	return append(binary.LittleEndian.AppendUint64(b, uint64(n)), floats(n)...)
}

// TestStrides decodes views of all kinds and holds them against the definition:
// element (i, j) is that at offset + i·s₀ + j·s₁.
func TestStrides(t *testing.T) {
	const n = 24
	for _, c := range []struct {
		offset           int
		rows, cols, s, u int
	}{
		{0, 4, 6, 6, 1}, {0, 6, 4, 1, 6}, {5, 3, 2, 6, 2}, {23, 1, 1, 99, 99}, {2, 3, 4, 0, 1}, {2, 3, 4, 1, 0}, {0, 2, 2, 20, 3}, {24, 0, 5, 1, 1}, {0, 1, 6, 17, 4}, {7, 5, 1, 2, 40},
	} {
		b := legacy(n, func(w *pickle.Writer, storage func(func())) {
			w.Global("torch._utils _rebuild_tensor")
			w.Ops("(")
			storage(func() {})
			w.Int(c.offset)
			w.Ints([]int{c.rows, c.cols})
			w.Ints([]int{c.s, c.u})
			w.Ops("tR")
		})
		f, err := Decode(b)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		want := []float32{}
		for i := range c.rows {
			for j := range c.cols {
				want = append(want, float32(c.offset+i*c.s+j*c.u))
			}
		}
		if got := f.Tensors[0]; f.Format != FormatLegacy || !slices.Equal(got.Float, want) || !slices.Equal(got.Shape, []int{c.rows, c.cols}) {
			t.Errorf("%+v is %v%v, want %v", c, got.Shape, got.Float, want)
		}
	}
}

// TestParts decodes what PyTorch before 0.4 wrote for a storage within another.
func TestParts(t *testing.T) {
	b := legacy(10, func(w *pickle.Writer, storage func(func())) {
		w.Global("torch._utils _rebuild_tensor_v2")
		w.Ops("(")
		storage(func() {
			w.Ops("(")
			w.Text("part")
			w.Int(4)
			w.Int(5)
			w.Ops("t")
		})
		w.Int(1)
		w.Ints([]int{2, 2})
		w.Ints([]int{2, 1})
		w.Bool(true)
		w.Ops("}tR")
	})
	f, err := Decode(b)
	if err != nil || !slices.Equal(f.Tensors[0].Float, []float32{5, 6, 7, 8}) {
		t.Errorf("read %+v, %v", f, err)
	}
}

func TestSniff(t *testing.T) {
	for head, want := range map[string]string{
		"PK\x03\x04": FormatZip, "PK\x05\x06": FormatZip, "L" + magicNumber + "L\n.": FormatLegacy,
		"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.": FormatLegacy, "": "", "PK": "", "\x80\x02}.": "",
		strings.Repeat("x", 257) + "ustar": FormatLegacy,
	} {
		if got := Sniff([]byte(head)); got != want {
			t.Errorf("%q is %q, want %q", head, got, want)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pt")
	if err := os.WriteFile(path, []byte("\x80\x02}."), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Read(path)
	var format *named.FormatError
	if !errors.As(err, &format) || !strings.HasPrefix(err.Error(), path+": it does not begin as a file of PyTorch does; ") {
		t.Errorf("reading a pickle: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../foreign/testdata/*.pt")
	if err != nil || len(files) < 10 {
		f.Fatalf("%d seeds, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	var b bytes.Buffer
	if err := Encode(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			var format *named.FormatError
			if !errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error %q", err)
			}
			return
		}
		var out bytes.Buffer
		if err := Encode(&out, got.Tensors); err != nil {
			if strings.Contains(err.Error(), "not UTF-8") {
				return
			}
			t.Fatal(err)
		}
		again, err := Decode(out.Bytes())
		if err != nil || len(again.Tensors) < 1 || len(again.Tensors) != len(got.Tensors) {
			t.Fatalf("%+v came back as %+v, %v", got, again, err)
		}
		for i := range got.Tensors {
			x, xerr := got.Tensors[i].Encode()
			y, yerr := again.Tensors[i].Encode()
			if xerr != nil || yerr != nil || !bytes.Equal(x, y) {
				t.Fatalf("tensor %q: %x came back as %x", got.Tensors[i].Name, x, y)
			}
		}
	})
}
