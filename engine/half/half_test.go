package half

import (
	"math"
	"testing"
)

// value16 computes the value of a finite binary16 from its definition.
func value16(h uint16) float64 {
	exponent, fraction := int(h>>10&0x1F), float64(h&0x3FF)
	v := math.Ldexp(fraction, -24)
	if exponent > 0 {
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func TestFloat16WidensExactly(t *testing.T) {
	for i := range 1 << 16 {
		h := uint16(i)
		got := Float16(h).Float32()
		switch {
		case h&0x7C00 != 0x7C00:
			want := value16(h)
			if float64(got) != want || math.Signbit(float64(got)) != (h&0x8000 != 0) {
				t.Fatalf("%#04x = %v, want %v", h, got, want)
			}
		case h&0x3FF == 0:
			if want := math.Inf(1 - int(h>>15)*2); float64(got) != want {
				t.Fatalf("%#04x = %v, want %v", h, got, want)
			}
		default:
			if !math.IsNaN(float64(got)) {
				t.Fatalf("%#04x = %v, want NaN", h, got)
			}
		}
	}
}

func TestFloat16RoundTrip(t *testing.T) {
	for i := range 1 << 16 {
		h := Float16(i)
		want := h
		if h&0x7C00 == 0x7C00 && h&0x3FF != 0 {
			want |= 0x0200 // signaling NaNs become quiet
		}
		if got := ToFloat16(h.Float32()); got != want {
			t.Fatalf("%#04x became %#04x", uint16(h), uint16(got))
		}
	}
}

// TestFloat16RoundsToNearestEven visits the midpoint between every two
// neighbors, and the float32 values next to it on either side.
func TestFloat16RoundsToNearestEven(t *testing.T) {
	for i := range uint16(0x7C00) {
		lower, upper := value16(i), math.Ldexp(1, 16)
		if i+1 < 0x7C00 {
			upper = value16(i + 1)
		}
		middle := float32((lower + upper) / 2)
		if float64(middle) != (lower+upper)/2 {
			t.Fatalf("midpoint above %#04x is not a float32", i)
		}
		even := i + i&1
		for _, c := range []struct {
			f    float32
			want uint16
		}{
			{math.Nextafter32(middle, 0), i},
			{middle, even},
			{math.Nextafter32(middle, math.MaxFloat32), i + 1},
		} {
			if got := ToFloat16(c.f); uint16(got) != c.want {
				t.Fatalf("%v became %#04x, want %#04x", c.f, uint16(got), c.want)
			}
			if got := ToFloat16(-c.f); uint16(got) != c.want|0x8000 {
				t.Fatalf("%v became %#04x, want %#04x", -c.f, uint16(got), c.want|0x8000)
			}
		}
	}
}

func TestFloat16Extremes(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		f    float32
		want Float16
	}{
		{0, 0}, {float32(math.Copysign(0, -1)), 0x8000},
		{inf, 0x7C00}, {-inf, 0xFC00},
		{MaxFloat16, 0x7BFF}, {65519.996, 0x7BFF}, {65520, 0x7C00}, {math.MaxFloat32, 0x7C00},
		{math.SmallestNonzeroFloat32, 0}, {0x1p-25, 0}, {0x1.000002p-25, 1}, {0x1p-24, 1},
		{0x1p-126, 0}, {0x1.ff8p-15, 0x03FF}, {0x1.ffbp-15, 0x03FF}, {0x1.ffcp-15, 0x0400}, {1, 0x3C00}, {-2, 0xC000},
	} {
		if got := ToFloat16(c.f); got != c.want {
			t.Errorf("%g became %#04x, want %#04x", c.f, uint16(got), uint16(c.want))
		}
	}
	for _, bits := range []uint32{0x7F80_0001, 0x7FC0_0000, 0xFFFF_FFFF, 0xFF80_0001} {
		h := ToFloat16(math.Float32frombits(bits))
		if h&0x7C00 != 0x7C00 || h&0x0200 == 0 || uint32(h)>>15 != bits>>31 {
			t.Errorf("NaN %#08x became %#04x", bits, uint16(h))
		}
	}
}

func TestOverflows(t *testing.T) {
	inf := float32(math.Inf(1))
	for f, want := range map[float32]bool{
		0: false, MaxFloat16: false, math.Nextafter32(65520, 0): false, 65520: true, math.MaxFloat32: true, inf: false,
	} {
		if Overflows(f) != want || Overflows(-f) != want {
			t.Errorf("%g overflows: %v and %v for its negative, want %v", f, Overflows(f), Overflows(-f), want)
		}
	}
	if Overflows(float32(math.NaN())) {
		t.Error("NaN overflows")
	}
}

func TestBFloat16(t *testing.T) {
	for i := range uint32(0x7F80) {
		lower := BFloat16(i).Float32()
		if math.Float32bits(lower) != i<<16 {
			t.Fatalf("%#04x widened to %#08x", i, math.Float32bits(lower))
		}
		middle := math.Float32frombits(i<<16 | 0x8000)
		for _, c := range []struct {
			f    float32
			want uint32
		}{
			{lower, i},
			{math.Nextafter32(middle, 0), i},
			{middle, i + i&1},
			{math.Float32frombits(i<<16 | 0x8001), i + 1},
		} {
			if got := ToBFloat16(c.f); uint32(got) != c.want {
				t.Fatalf("%g became %#04x, want %#04x", c.f, uint16(got), c.want)
			}
			if got := ToBFloat16(-c.f); uint32(got) != c.want|0x8000 {
				t.Fatalf("%g became %#04x, want %#04x", -c.f, uint16(got), c.want|0x8000)
			}
		}
	}
	if got := ToBFloat16(float32(math.Inf(-1))); got != 0xFF80 {
		t.Errorf("-Inf became %#04x", uint16(got))
	}
	if got := ToBFloat16(math.MaxFloat32); got != 0x7F80 {
		t.Errorf("the largest float32 became %#04x", uint16(got))
	}
	for _, bits := range []uint32{0x7F80_0001, 0x7FFF_FFFF, 0xFF80_0001} {
		got := ToBFloat16(math.Float32frombits(bits))
		if !math.IsNaN(float64(got.Float32())) || uint32(got)>>15 != bits>>31 {
			t.Errorf("NaN %#08x became %#04x", bits, uint16(got))
		}
	}
}
