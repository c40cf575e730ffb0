package safetensors

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sample is a small file with every awkward thing that is allowed.
func sample() *File {
	return &File{
		Metadata: map[string]string{"family": "cnn-dwpw", "a \"quoted\" key": "ü\n<&> \u2028", "": ""},
		Tensors: []Tensor{
			FromUint8("codes", []int{3}, []uint8{0, 7, 255}),
			FromFloat32("cnn.0.weight", []int{2, 1, 1, 1}, []float32{1.5, -2}),
			FromInt64("cnn.1.num_batches_tracked", nil, []int64{-9}),
			FromFloat16("half", []int{1, 3}, []float32{1, 2, 3}),
			FromFloat32("no elements", []int{0, 4}, nil),
			FromFloat64("Ωmega", []int{1}, []float64{math.Pi}),
		},
	}
}

func encode(t testing.TB, f *File) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Encode(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func equal(a, b *File) bool {
	return maps.Equal(a.Metadata, b.Metadata) && slices.EqualFunc(a.Tensors, b.Tensors, func(x, y Tensor) bool {
		return x.Name == y.Name && x.DType == y.DType && slices.Equal(x.Shape, y.Shape) && bytes.Equal(x.Data, y.Data)
	})
}

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]*File{
		"sample": sample(),
		"empty":  {},
		"one":    {Tensors: []Tensor{FromFloat32("", nil, []float32{1})}},
	} {
		b := encode(t, f)
		got, err := Decode(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !equal(got, f) {
			t.Errorf("%s came back as %+v", name, got)
		}
		if again := encode(t, got); !bytes.Equal(again, b) {
			t.Errorf("%s: writing what was read gives other bytes", name)
		}
	}
}

// TestRoundTripOfRandomFiles is the same property on arbitrary content.
func TestRoundTripOfRandomFiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	types := []DType{F64, F32, F16, BF16, I64, I32, I16, I8, U8, BOOL}
	for range 300 {
		f := &File{Metadata: map[string]string{}}
		for i := range r.IntN(8) {
			f.Metadata[fmt.Sprint("key", i, string(rune(r.IntN(0xD000))))] = strings.Repeat(string(rune(r.IntN(128))), r.IntN(5))
		}
		for i := range r.IntN(12) {
			shape := make([]int, r.IntN(4))
			for j := range shape {
				shape[j] = r.IntN(5)
			}
			d := types[r.IntN(len(types))]
			n, _ := byteLen(d, shape)
			data := make([]byte, n)
			for j := range data {
				data[j] = byte(r.Uint32())
			}
			f.Tensors = append(f.Tensors, Tensor{fmt.Sprint(string(rune(r.IntN(0xD000))), i), d, shape, data})
		}
		b := encode(t, f)
		got, err := Decode(b)
		if err != nil || !equal(got, f) {
			t.Fatalf("%+v came back as %+v, %v", f, got, err)
		}
		if !bytes.Equal(encode(t, got), b) {
			t.Fatalf("%+v: writing what was read gives other bytes", f)
		}
	}
}

func TestEncodeLayout(t *testing.T) {
	b := encode(t, sample())
	n, err := headerLen(b, len(b))
	if err != nil || n%8 != 0 {
		t.Fatalf("header of %d bytes, %v", n, err)
	}
	h, err := parseHeader(b[8 : 8+n])
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range h.spans {
		if d := h.tensors[i].DType; s.begin%d.Size() != 0 {
			t.Errorf("%s begins at %d, not aligned to %s", h.tensors[i].Name, s.begin, d)
		}
	}
	for range 20 { // map order must not show
		if !bytes.Equal(encode(t, sample()), b) {
			t.Fatal("the same content gave two different files")
		}
	}
	changed := sample()
	changed.Tensors[0].Data[1]++
	if bytes.Equal(encode(t, changed)[:8+n], b[:8+n]) {
		t.Error("other data have the same seal")
	}
}

func TestLookup(t *testing.T) {
	f := sample()
	got, ok := f.Lookup("half")
	if !ok || got != &f.Tensors[3] {
		t.Errorf("found %v, %v", got, ok)
	}
	if got, ok := f.Lookup("hal"); ok || got != nil {
		t.Errorf("found %v", got)
	}
}

func TestEncodeRefuses(t *testing.T) {
	one := func(t Tensor) *File { return &File{Tensors: []Tensor{t}} }
	deep := make([]int, maxRank+1)
	for name, c := range map[string]struct {
		f    *File
		want string
	}{
		"length":     {one(FromFloat32("w", []int{3}, []float32{1})), "has 4 bytes of data, but F32[3] needs 12"},
		"type":       {one(Tensor{Name: "w", DType: "F31"}), `unknown type "F31"`},
		"negative":   {one(Tensor{"w", U8, []int{-1}, nil}), "impossible shape"},
		"overflow":   {one(Tensor{"w", F32, []int{math.MaxInt, 2, 0}, nil}), "impossible shape"},
		"rank":       {one(Tensor{"w", U8, deep, nil}), "65 dimensions"},
		"twice":      {&File{Tensors: []Tensor{{"w", U8, []int{0}, nil}, {"w", U8, []int{0}, nil}}}, `two tensors are named "w"`},
		"reserved":   {one(Tensor{"__metadata__", U8, []int{0}, nil}), "reserved"},
		"seal":       {&File{Metadata: map[string]string{KeySHA256: "0"}}, "reserved"},
		"format":     {&File{Metadata: map[string]string{KeyFormat: "1"}}, "reserved"},
		"name UTF-8": {one(Tensor{"\xff", U8, []int{0}, nil}), "not UTF-8"},
		"key UTF-8":  {&File{Metadata: map[string]string{"\xff": ""}}, "not UTF-8"},
		"text UTF-8": {&File{Metadata: map[string]string{"k": "\xff"}}, "not UTF-8"},
		"too large":  {&File{Metadata: map[string]string{"k": strings.Repeat("x", maxHeader)}}, "more than the 100000000 allowed"},
	} {
		var b bytes.Buffer
		err := c.f.Encode(&b)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes were written", name, b.Len())
		}
	}
}

// failing is a writer that fails after n bytes.
type failing struct{ n int }

func (w *failing) Write(b []byte) (int, error) {
	if len(b) > w.n {
		return w.n, io.ErrShortWrite
	}
	w.n -= len(b)
	return len(b), nil
}

func TestEncodeReportsTheWriter(t *testing.T) {
	size := len(encode(t, sample()))
	for n := range size {
		if err := sample().Encode(&failing{n}); err != io.ErrShortWrite {
			t.Fatalf("writer that fails after %d of %d bytes: error %v", n, size, err)
		}
	}
}

func TestValues(t *testing.T) {
	check := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	}
	shape, floats := []int{3}, []float32{1.0 / 3, -65504, 0x1p-24}
	f32, f16, bf16 := FromFloat32("t", shape, floats), FromFloat16("t", shape, floats), FromBFloat16("t", shape, floats)
	f64 := FromFloat64("t", shape, []float64{1.0 / 3, -1e300, 5e-324})
	got, err := Float32s(&f32)
	check("F32", got, err, floats)
	got, err = Float32s(&f16)
	check("F16", got, err, []float32{0x1.554p-2, -65504, 0x1p-24})
	got, err = Float32s(&bf16)
	check("BF16", got, err, []float32{0x1.56p-2, -65536, 0x1p-24})
	wide, err := Float64s(&f64)
	check("F64", wide, err, []float64{1.0 / 3, -1e300, 5e-324})
	wide, err = Float64s(&f32)
	check("F32 widened", wide, err, []float64{float64(floats[0]), -65504, 0x1p-24})
	bits, err := Uint16s(&f16)
	check("F16 bits", bits, err, []uint16{0x3555, 0xFBFF, 1})
	back := FromFloat16Bits("t", shape, bits)
	check("F16 from bits", back, nil, f16)

	i64, i32 := FromInt64("t", nil, []int64{math.MinInt64}), FromInt32("t", []int{2}, []int32{-5, math.MaxInt32})
	u8 := FromUint8("t", []int{2}, []uint8{0, 255})
	ints, err := Int64s(&i64)
	check("I64", ints, err, []int64{math.MinInt64})
	ints, err = Int64s(&i32)
	check("I32", ints, err, []int64{-5, math.MaxInt32})
	ints, err = Int64s(&Tensor{"t", I16, []int{1}, []byte{0xFE, 0xFF}})
	check("I16", ints, err, []int64{-2})
	ints, err = Int64s(&Tensor{"t", I8, []int{1}, []byte{0x80}})
	check("I8", ints, err, []int64{-128})
	ints, err = Int64s(&Tensor{"t", BOOL, []int{2}, []byte{1, 0}})
	check("BOOL", ints, err, []int64{1, 0})
	ints, err = Int64s(&u8)
	check("U8 as integers", ints, err, []int64{0, 255})
	bytes, err := Uint8s(&u8)
	check("U8", bytes, err, []uint8{0, 255})
}

func TestValuesOfTheWrongKind(t *testing.T) {
	f32, u8 := FromFloat32("t", nil, []float32{1}), FromUint8("t", nil, []uint8{1})
	short := Tensor{"t", F32, []int{2}, make([]byte, 4)}
	for what, call := range map[string]func() error{
		"Float32s of U8":     func() error { _, err := Float32s(&u8); return err },
		"Float64s of U8":     func() error { _, err := Float64s(&u8); return err },
		"Int64s of F32":      func() error { _, err := Int64s(&f32); return err },
		"Uint8s of F32":      func() error { _, err := Uint8s(&f32); return err },
		"Uint16s of F32":     func() error { _, err := Uint16s(&f32); return err },
		"too little data":    func() error { _, err := Float32s(&short); return err },
		"no type":            func() error { _, err := Float32s(&Tensor{}); return err },
		"Uint16s of nothing": func() error { _, err := Uint16s(&Tensor{}); return err },
	} {
		if call() == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
