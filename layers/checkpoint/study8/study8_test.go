package study8

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/named"
)

// net is a state_dict with random weights.
func net() []named.Tensor {
	r := rand.New(rand.NewPCG(3, 4))
	draw := func(name string, shape ...int) named.Tensor {
		t := named.Tensor{Name: name, Shape: shape, DType: "float32"}
		for range t.Len() {
			t.Float = append(t.Float, float32(r.NormFloat64()))
		}
		return t
	}
	return []named.Tensor{
		draw("conv.weight", 4, 3, 3, 3), draw("conv.bias", 4),
		{Name: "bn.num_batches_tracked", Shape: []int{}, DType: "int64", Int: []int64{64890}},
		draw("fc.weight", 2, 400), {Name: "equal", Shape: []int{3}, DType: "float32", Float: []float32{2, 2, 2}},
		{Name: "empty", Shape: []int{0, 2}, DType: "float32", Float: []float32{}},
		{Name: "index", Shape: []int{2}, DType: "int64", Int: []int64{-1, 1 << 40}},
		{Name: "flag", Shape: []int{2}, DType: "bool", Int: []int64{0, 1}},
	}
}

// TestWrite8 wants the codes and ranges of package affine back, scalars and
// integers as they were, and the same file from what was read.
func TestWrite8(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.pkl")
	n, err := Write8(path, net())
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || int64(len(b)) != n {
		t.Fatalf("%d bytes instead of %d, %v", len(b), n, err)
	}
	f, err := Decode(b)
	if err != nil || f.Format != Format8 || len(f.Notes) != 0 || len(f.Tensors) != len(net()) {
		t.Fatalf("read %+v, %v", f, err)
	}
	for i, w := range net() {
		got := &f.Tensors[i]
		if got.Name != w.Name || !slices.Equal(got.Shape, w.Shape) {
			t.Errorf("%s%v came back as %s%v", w.Name, w.Shape, got.Name, got.Shape)
		}
		switch {
		case len(w.Shape) == 0:
			if got.Coded || !slices.Equal(got.Double, []float64{64890}) {
				t.Errorf("%s is %+v", w.Name, got)
			}
		case w.Int != nil:
			if got.Coded || got.DType != w.DType || !slices.Equal(got.Int, w.Int) {
				t.Errorf("%s is %+v", w.Name, got)
			}
		default:
			codes, lo, hi, err := affine.Encode8(w.Float)
			decoded := make([]float32, len(codes))
			if err != nil || affine.Decode8(codes, float64(lo), float64(hi), decoded) != nil {
				t.Fatal(err)
			}
			if !got.Coded || got.Min != float64(lo) || got.Max != float64(hi) || !slices.Equal(got.Codes, codes) || !slices.Equal(got.Float, decoded) {
				t.Errorf("%s is %+v", w.Name, got)
			}
		}
	}
	again, err := Encode8(f.Tensors)
	if err != nil || !bytes.Equal(again, b) {
		t.Errorf("what was read gave another file, %v", err)
	}
}

func TestWrite16(t *testing.T) {
	tensors := append(net(), named.Tensor{Name: "large", Shape: []int{2}, DType: "float32", Float: []float32{1e9, float32(math.Inf(1))}},
		named.Tensor{Name: "small", Shape: []int{}, DType: "float32", Float: []float32{0.5}})
	path := filepath.Join(t.TempDir(), "model.pkl")
	if _, err := Write16(path, tensors); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(b)
	if err != nil || f.Format != Format16 {
		t.Fatalf("read %+v, %v", f, err)
	}
	for i, w := range tensors {
		got, dtype := &f.Tensors[i], "float16"
		switch {
		case w.Name == "large":
			dtype = "float32"
		case len(w.Shape) == 0 && w.Int != nil:
			dtype = "float64" // 64890 is no float16
		case w.Int != nil:
			dtype = w.DType
		}
		if got.DType != dtype || got.Coded {
			t.Errorf("%s is stored as %s, want %s", w.Name, got.DType, dtype)
		}
		if dtype == "float16" && w.Float != nil {
			codes, err := affine.Encode16(w.Float)
			want := make([]float32, len(codes))
			if err != nil || affine.Decode16(codes, want) != nil || !slices.Equal(got.Float, want) {
				t.Errorf("%s is %v, want %v (%v)", w.Name, got.Float, want, err)
			}
		}
		if dtype == "float32" && !slices.Equal(got.Float, w.Float) || !slices.Equal(got.Int, w.Int) && len(w.Shape) > 0 {
			t.Errorf("%s is %v %v", w.Name, got.Float, got.Int)
		}
	}
}

// TestAsPython writes what CPython's pickler and NumPy wrote, byte for byte.
func TestAsPython(t *testing.T) {
	for name, encode := range map[string]func([]named.Tensor) ([]byte, error){"study8_protocol3_old.pkl": Encode8, "study16_protocol3_old.pkl": Encode16} {
		want, err := os.ReadFile(filepath.Join("../foreign/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := Decode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := encode(f.Tensors)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, Python wrote %d, %v", name, len(got), len(want), err)
		}
	}
}

// TestMany writes more entries than the pickler sets at once, and names that
// need large numbers in the memo.
func TestMany(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 1001, 2001} {
		var tensors []named.Tensor
		for i := range n {
			tensors = append(tensors, named.Tensor{Name: strings.Repeat("x", i%7) + string(rune('a'+i%26)) + strings.Repeat("y", i/26), Shape: []int{1}, Float: []float32{float32(i)}})
		}
		b, err := Encode8(tensors)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Decode(b)
		if n == 0 {
			if err == nil || !strings.Contains(err.Error(), "an empty dict") {
				t.Errorf("nothing: %v", err)
			}
			continue
		}
		if err != nil || len(f.Tensors) != n || f.Tensors[n-1].Float[0] != float32(n-1) {
			t.Errorf("%d tensors: %v", n, err)
		}
	}
}

// TestWideRange keeps codes on a range that no float32 holds, and its float64.
func TestWideRange(t *testing.T) {
	w := named.Tensor{Name: "w", Shape: []int{2}, Coded: true, Codes: []uint8{0, 51}, Min: 0, Max: 1}
	b, err := Encode8([]named.Tensor{w})
	if err != nil {
		t.Fatal(err)
	}
	const one, tenth = "\x00\x00\x00\x00\x00\x00\xf0\x3f", "\x9a\x99\x99\x99\x99\x99\xb9\x3f"
	if !bytes.Contains(b, []byte(one)) {
		t.Fatal("the maximum is not in the file")
	}
	f, err := Decode(bytes.Replace(b, []byte(one), []byte(tenth), 1))
	if err != nil {
		t.Fatal(err)
	}
	hi := 0.1
	if got := f.Tensors[0]; !got.Coded || got.Max != hi || !slices.Equal(got.Codes, w.Codes) || !slices.Equal(got.Float, []float32{0, float32(51.0 / 255 * hi)}) || len(f.Notes) != 0 {
		t.Errorf("read %+v, %q", got, f.Notes)
	}
	again, err := Encode8(f.Tensors)
	if err != nil || !bytes.Contains(again, []byte(tenth)) {
		t.Errorf("the range is not written as it was read (%v)", err)
	}
}

func TestWriteRefuses(t *testing.T) {
	one := func(x named.Tensor) []named.Tensor { x.Name = "w"; return []named.Tensor{x} }
	nan := float32(math.NaN())
	for want, tensors := range map[string][]named.Tensor{
		`two tensors are named "w"`: {{Name: "w", Shape: []int{0}}, {Name: "w", Shape: []int{0}}},
		"not UTF-8":                 {{Name: "\xff", Shape: []int{0}}},
		"too large":                 one(named.Tensor{Shape: []int{1 << 40}}),
		"has 1 values, but the shape [2] needs 2": one(named.Tensor{Shape: []int{2}, Float: []float32{1}}),
		"has 0 values, but the shape [] needs 1":  one(named.Tensor{Shape: []int{}}),
		`tensor "w": affine: weight 1 is NaN`:     one(named.Tensor{Shape: []int{2}, Float: []float32{1, nan}}),
	} {
		path := filepath.Join(t.TempDir(), "model.pkl")
		if _, err := Write8(path, tensors); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q left a file", want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../foreign/testdata/*.pkl")
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
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Decode(b)
		if err != nil {
			var format *named.FormatError
			if !errors.As(err, &format) || strings.ContainsAny(err.Error(), "\n\r") {
				t.Fatalf("error %q", err)
			}
			return
		}
		again, err := Encode8(got.Tensors)
		if err != nil {
			if strings.Contains(err.Error(), "affine: weight") || strings.Contains(err.Error(), "not UTF-8") {
				return
			}
			t.Fatal(err)
		}
		twice, err := Decode(again)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.Tensors {
			x, y := &got.Tensors[i], &twice.Tensors[i]
			if x.Coded && (!y.Coded || x.Min != y.Min || x.Max != y.Max || !slices.Equal(x.Codes, y.Codes)) {
				t.Fatalf("%+v came back as %+v", x, y)
			}
		}
	})
}
