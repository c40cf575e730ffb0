package affine

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// TestEncode8ByHand uses ranges on which the codes are the weights themselves.
func TestEncode8ByHand(t *testing.T) {
	for _, c := range []struct {
		w     []float32
		codes []uint8
	}{
		{[]float32{0, 255, 1, 127, 254}, []uint8{0, 255, 1, 127, 254}},
		{[]float32{0, 0.5, 1.5, 2.5, 3.5, 254.5, 255}, []uint8{0, 0, 2, 2, 4, 254, 255}},
		{[]float32{0, 0.49999, 0.50001, 255}, []uint8{0, 0, 1, 255}},
		{[]float32{127, -128, 0}, []uint8{255, 0, 128}},
		{[]float32{-math.MaxFloat32, math.MaxFloat32, 0}, []uint8{0, 255, 128}},
		{[]float32{math.SmallestNonzeroFloat32, 0}, []uint8{255, 0}},
	} {
		codes, min, max, err := Encode8(c.w)
		if err != nil || !slices.Equal(codes, c.codes) {
			t.Errorf("%v: codes %v (%v), want %v", c.w, codes, err, c.codes)
		}
		if min != slices.Min(c.w) || max != slices.Max(c.w) {
			t.Errorf("%v: range %g to %g", c.w, min, max)
		}
	}
}

func TestDecode8ByHand(t *testing.T) {
	dst := make([]float32, 4)
	if err := Decode8([]uint8{0, 51, 128, 255}, -1, 4, dst); err != nil {
		t.Fatal(err)
	}
	if want := []float32{-1, 0, float32(128.0/255*5 - 1), 4}; !slices.Equal(dst, want) {
		t.Errorf("decoded %v, want %v", dst, want)
	}
}

func TestEqualWeightsAreExact(t *testing.T) {
	for _, v := range []float32{0, 1, -0.1, 1e-45, math.MaxFloat32} {
		codes, min, max, err := Encode8([]float32{v, v, v})
		if err != nil || min != v || max != v || !slices.Equal(codes, []uint8{0, 0, 0}) {
			t.Fatalf("%g: %v, %g to %g, %v", v, codes, min, max, err)
		}
		dst := []float32{nan, nan, nan}
		if err := Decode8(codes, float64(min), float64(max), dst); err != nil || dst[0] != v || dst[2] != v {
			t.Errorf("%g decoded to %v, %v", v, dst, err)
		}
	}
	codes, min, max, err := Encode8(nil)
	if len(codes) != 0 || min != 0 || max != 0 || err != nil {
		t.Errorf("no weights: %v, %g to %g, %v", codes, min, max, err)
	}
}

// drawn returns weights around an offset, spread on the given scale.
func drawn(r *rand.Rand, n int, offset, scale float64) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(offset + scale*r.NormFloat64())
	}
	return w
}

func TestEncode8WithinBound(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		offset, scale := r.NormFloat64(), math.Exp(r.NormFloat64()*12)
		w := drawn(r, 1+r.IntN(300), offset, scale)
		codes, min, max, err := Encode8(w)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]float32, len(w))
		if err := Decode8(codes, float64(min), float64(max), dst); err != nil {
			t.Fatal(err)
		}
		bound := Bound8(min, max)
		for i := range w {
			if e := math.Abs(float64(dst[i]) - float64(w[i])); !(e <= bound) {
				t.Fatalf("%g on %g to %g: error %g above %g", w[i], min, max, e, bound)
			}
		}
		again, lo, hi, err := Encode8(dst)
		if err != nil || lo != min || hi != max || (scale > 1e-3 && !slices.Equal(again, codes)) {
			t.Fatalf("scale %g: quantizing twice gave other codes or another range", scale)
		}
	}
}

// TestBound8IsTight shows that the bound is half a step and not more: weights
// halfway between two codes miss by 99 % of it at least.
func TestBound8IsTight(t *testing.T) {
	if b := Bound8(0, 255); b < 0.5 || b > 0.5001 {
		t.Errorf("bound on 0 to 255 is %g, want half a step", b)
	}
	codes, min, max, _ := Encode8([]float32{0, 100.5, 255})
	dst := make([]float32, 3)
	if err := Decode8(codes, float64(min), float64(max), dst); err != nil || math.Abs(float64(dst[1])-100.5) < 0.99*Bound8(min, max) {
		t.Errorf("100.5 decoded to %g, %v", dst[1], err)
	}
}

func TestChannelsAreTensorsOfTheirOwn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, channels := range []int{1, 3, 11} {
		const n = 31
		var w []float32
		for c := range channels {
			w = append(w, drawn(r, n, float64(c), math.Pow(10, float64(c-5)))...)
		}
		codes, min, max, err := EncodeChannels8(w, channels)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]float32, len(w))
		if err := DecodeChannels8(codes, wide(min), wide(max), dst); err != nil {
			t.Fatal(err)
		}
		for c := range channels {
			q, lo, hi, _ := Encode8(w[c*n : (c+1)*n])
			one := make([]float32, n)
			if err := Decode8(q, float64(lo), float64(hi), one); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(q, codes[c*n:(c+1)*n]) || lo != min[c] || hi != max[c] || !slices.Equal(one, dst[c*n:(c+1)*n]) {
				t.Errorf("channel %d of %d differs from the same weights as a tensor", c, channels)
			}
		}
	}
}

func TestEncode16(t *testing.T) {
	codes, err := Encode16([]float32{0, 1, -2, 65504, 65519, 0x1p-24, 0x1p-25, 1 + 0x1p-11, 1 + 0x3p-11})
	want := []uint16{0, 0x3C00, 0xC000, 0x7BFF, 0x7BFF, 1, 0, 0x3C00, 0x3C02}
	if err != nil || !slices.Equal(codes, want) {
		t.Errorf("codes %#x (%v), want %#x", codes, err, want)
	}
	r := rand.New(rand.NewPCG(5, 6))
	w := drawn(r, 2000, 0, 1)
	for i := range w {
		w[i] *= float32(math.Exp2(r.Float64()*40 - 28))
	}
	codes, err = Encode16(w)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, len(w))
	if err := Decode16(codes, dst); err != nil {
		t.Fatal(err)
	}
	for i := range w {
		v := float64(w[i])
		if e := math.Abs(float64(dst[i]) - v); !(e <= math.Max(0x1p-11*math.Abs(v), 0x1p-25)) {
			t.Fatalf("%g decoded to %g", w[i], dst[i])
		}
	}
}

// wide returns the ends of ranges as Decode8 takes them.
func wide(v []float32) []float64 {
	out := make([]float64, len(v))
	for i := range v {
		out[i] = float64(v[i])
	}
	return out
}

func TestErrors(t *testing.T) {
	one, two, range1, range2 := []uint8{1}, make([]float32, 2), []float64{1}, make([]float64, 2)
	for name, err := range map[string]error{
		"16 too large":     second(Encode16([]float32{65520})),
		"16 length":        Decode16([]uint16{1}, two),
		"8 length":         Decode8(one, 0, 1, two),
		"8 reversed":       Decode8(one, 1, 0, two[:1]),
		"8 NaN range":      Decode8(one, float64(nan), 1, two[:1]),
		"8 infinite range": Decode8(one, 0, float64(inf), two[:1]),
		"no channels":      channelsError([]float32{1, 2}, 0),
		"negative":         channelsError([]float32{1, 2}, -1),
		"indivisible":      channelsError([]float32{1, 2, 3}, 2),
		"ranges differ":    DecodeChannels8(one, range1, range2, two[:1]),
		"channel length":   DecodeChannels8(one, range1, range1, two),
		"no ranges":        DecodeChannels8(one, nil, nil, two[:1]),
		"bad share":        DecodeChannels8([]uint8{1, 2, 3}, range2, range2, make([]float32, 3)),
		"channel reversed": DecodeChannels8(one, range1, []float64{0}, two[:1]),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for _, bad := range []float32{nan, inf, -inf} {
		for at := range 3 {
			w := []float32{1, 2, 3}
			w[at] = bad
			_, _, _, err8 := Encode8(w)
			for _, err := range []error{err8, channelsError(w, 3), second(Encode16(w))} {
				if err == nil {
					t.Errorf("%g at %d: no error", bad, at)
				}
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

func channelsError(w []float32, channels int) error {
	_, _, _, err := EncodeChannels8(w, channels)
	return err
}

func Example() {
	w := []float32{-1, -0.25, 0, 0.5, 1}
	codes, min, max, err := Encode8(w)
	if err != nil {
		fmt.Println(err)
		return
	}
	back := make([]float32, len(w))
	if err := Decode8(codes, float64(min), float64(max), back); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(codes, min, max)
	fmt.Printf("%.4f\n", back)
	// Output:
	// [0 96 128 191 255] -1 1
	// [-1.0000 -0.2471 0.0039 0.4980 1.0000]
}
