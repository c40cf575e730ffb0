package jpeg

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestIDCT holds the inverse DCT to its definition in float64 (T.81 A.3.3), within
// what rounding to integers twice allows, and the short cut for few coefficients
// to the long way.
func TestIDCT(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	worst := 0.0
	for range 3000 {
		var b [64]int32
		last := r.IntN(64)
		for k := range last + 1 {
			if r.IntN(3) == 0 || k == last {
				b[zigzag[k]] = int32(r.IntN(301) - 150)
			}
		}
		if b[zigzag[last]] == 0 {
			b[zigzag[last]] = 1
		}
		var got, long [64]uint8
		idct(got[:], 8, &b, last)
		idct(long[:], 8, &b, 63)
		if got != long {
			t.Fatalf("with %d coefficients the short cut gives %v, the long way %v", last+1, got, long)
		}
		for i, v := range definition(&b) {
			worst = max(worst, math.Abs(v-float64(got[i])))
		}
	}
	if worst > 0.75 { // half a level is the rounding of the result
		t.Errorf("up to %.3f levels from the definition", worst)
	}
}

// definition is the inverse DCT, with 128 added and limited to 0…255.
func definition(b *[64]int32) (out [64]float64) {
	c := func(k int) float64 {
		if k == 0 {
			return math.Sqrt2 / 2
		}
		return 1
	}
	for i := range out {
		y, x := float64(i/8), float64(i%8)
		for j, v := range b {
			if v != 0 {
				out[i] += c(j/8) * c(j%8) * float64(v) / 4 *
					math.Cos((2*y+1)*float64(j/8)*math.Pi/16) * math.Cos((2*x+1)*float64(j%8)*math.Pi/16)
			}
		}
		out[i] = min(max(out[i]+128, 0), 255)
	}
	return out
}

// TestZigzag checks that the order visits every place once, each beside the one
// before.
func TestZigzag(t *testing.T) {
	seen := map[uint8]bool{}
	for k, z := range zigzag[:64] {
		if seen[z] {
			t.Fatalf("place %d comes twice", z)
		}
		seen[z] = true
		if k > 0 {
			dy, dx := int(z)/8-int(zigzag[k-1])/8, int(z)%8-int(zigzag[k-1])%8
			if max(dy, -dy) > 1 || max(dx, -dx) > 1 {
				t.Errorf("from number %d to %d it goes by %d, %d", k-1, k, dy, dx)
			}
		}
	}
	if zigzag[2] != 8 || zigzag[63] != 63 || zigzag[127] != 63 {
		t.Error("the order is not T.81's")
	}
}

// TestHuffman decodes every code of the standard's tables, with every amplitude
// of a few bits, and compares with the definitions of T.81 annex C and F.2.2.1.
func TestHuffman(t *testing.T) {
	for class, specs := range standardSpecs {
		for _, s := range specs {
			h := new(huffman)
			if err := h.build(s, class == 0); err != nil {
				t.Fatal(err)
			}
			code, index := uint64(0), 0
			for l := 1; l <= 16; l++ {
				for range s.counts[l] {
					d := &decoder{}
					d.acc, d.n = code<<(64-l), 64
					if got := d.symbol(h); got != s.values[index] || d.n != uint(64-l) {
						t.Fatalf("code %b of %d bits is %x, want %x", code, l, got, s.values[index])
					}
					code++
					index++
				}
				code <<= 1
			}
		}
	}
	for size := uint(1); size < 8; size++ {
		for v := range 1 << size {
			want := int32(v)
			if v < 1<<(size-1) {
				want = int32(v) - 1<<size + 1
			}
			if got := extend(uint64(v)<<(64-size), size); got != want {
				t.Errorf("amplitude %b of %d bits is %d, want %d", v, size, got, want)
			}
		}
	}
}

func TestBadHuffmanTables(t *testing.T) {
	for name, s := range map[string]*huffmanSpec{
		"all ones":       {counts: [17]uint8{1: 2}},
		"too many codes": {counts: [17]uint8{2: 5}},
		"a DC size":      {counts: [17]uint8{1: 1}, values: [256]uint8{16}},
	} {
		if err := new(huffman).build(s, true); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
