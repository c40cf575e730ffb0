package named

import (
	"math"
	"slices"
	"strings"
	"testing"
)

func TestVolume(t *testing.T) {
	for _, c := range []struct {
		shape []int
		n     int
		ok    bool
	}{
		{nil, 1, true}, {[]int{2, 3}, 6, true}, {[]int{0, math.MaxInt}, 0, true}, {[]int{math.MaxInt}, math.MaxInt, true},
		{[]int{math.MaxInt, 2}, 0, false}, {[]int{0, math.MaxInt, 2}, 0, false}, {[]int{-1}, 0, false}, {make([]int, 65), 0, false},
	} {
		if n, ok := Volume(c.shape); n != c.n || ok != c.ok {
			t.Errorf("%v has the volume %d, %t", c.shape, n, ok)
		}
	}
}

// TestBudget wants the last byte given and not one more, whatever overflows.
func TestBudget(t *testing.T) {
	const size = 1000
	whole := Expansion*size + Allowance
	for _, c := range [][2]int{{-1, 1}, {math.MaxInt, math.MaxInt}, {math.MaxInt, 1}, {whole, 1}} {
		if err := NewBudget(size).Take(c[0], c[1]); err == nil || !strings.Contains(err.Error(), "64 bytes for each of its 1000 bytes") {
			t.Errorf("%d of %d bytes: %v", c[0], c[1], err)
		}
	}
	b, n := NewBudget(size), 0
	for ; b.Take(1, 8) == nil; n += 9 {
	}
	if n > whole || n < whole-9 {
		t.Errorf("%d of %d bytes were given", n, whole)
	}
}

func TestContiguous(t *testing.T) {
	if v := Contiguous([]int{2, 3, 4}, false); !slices.Equal(v.Stride, []int{12, 4, 1}) || !v.contiguous() {
		t.Errorf("row-major: %+v", v)
	}
	if v := Contiguous([]int{2, 3, 4}, true); !slices.Equal(v.Stride, []int{1, 2, 6}) || v.contiguous() {
		t.Errorf("column-major: %+v", v)
	}
}

func TestUnwrap(t *testing.T) {
	for names, want := range map[string]string{
		"module.a module.b":         "a b",
		"_orig_mod.module.a":        "a",
		"module._orig_mod.module.a": "a",
		"module.a b":                "module.a b",
		"module. module.a":          "module. module.a",
		"":                          "",
	} {
		f := &File{}
		for _, n := range strings.Fields(names) {
			f.Tensors = append(f.Tensors, Tensor{Name: n})
		}
		f.Unwrap()
		var got []string
		for i := range f.Tensors {
			got = append(got, f.Tensors[i].Name)
		}
		if s := strings.Join(got, " "); s != want || (s == names) != (len(f.Notes) == 0) {
			t.Errorf("%q became %q with the notes %q", names, s, f.Notes)
		}
	}
}

// TestPlain wants names shown as they are only where they are harmless.
func TestPlain(t *testing.T) {
	for name, want := range map[string]string{
		"os.system": "os.system", "": `""`, "a\nb": `"a\nb"`, "a\x1b[31m": `"a\x1b[31m"`, "a\u202eb": `"a\u202eb"`, "\xff": `"\xff"`,
		strings.Repeat("x", 200): `"` + strings.Repeat("x", 120) + `"…`,
	} {
		if got := Plain(name); got != want {
			t.Errorf("%q is shown as %s, want %s", name, got, want)
		}
	}
}

// TestToFloat8 wants the nearest code, the even one of two, for values that are
// none of the type's.
func TestToFloat8(t *testing.T) {
	table := float8s["float8_e4m3fn"]
	for v, want := range map[float32]byte{1.06: 0x38, 1.0625: 0x38, 1.07: 0x39, 1.1875: 0x3a, -1e9: 0xfe, 1e-9: 0} {
		if got := toFloat8(table, v); got != want {
			t.Errorf("%g is 0x%02x, want 0x%02x", v, got, want)
		}
	}
	if b := toFloat8(table, float32(math.NaN())); b&0x7f != 0x7f {
		t.Errorf("NaN is 0x%02x", b)
	}
}

// TestNegate wants integers to wrap round in their type, as PyTorch's do.
func TestNegate(t *testing.T) {
	for dtype, want := range map[string][]int64{"int8": {-1, -128}, "uint8": {255, 128}, "int64": {-1, -128}} {
		x := Tensor{DType: dtype, Int: []int64{1, map[string]int64{"int8": -128}[dtype]}}
		if dtype != "int8" {
			x.Int[1] = 128
		}
		if x.Negate(); !slices.Equal(x.Int, want) {
			t.Errorf("%s: %v, want %v", dtype, x.Int, want)
		}
	}
}

func TestWord(t *testing.T) {
	for name, want := range map[string]string{"ema.module": "ema.module", "a b": "'a b'", "": "NAME", "$(x)": "'$(x)'", "é": "'é'", "a';b": "NAME", "a\nb": "NAME"} {
		if got := Word(name); got != want {
			t.Errorf("%q is the word %s, want %s", name, got, want)
		}
	}
}
