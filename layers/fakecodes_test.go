package layers_test

import (
	"slices"
	"testing"

	"github.com/potstill/potstill/layers"
)

func TestPackCodes(t *testing.T) {
	for bits := 2; bits <= 8; bits++ {
		least := -1 << (bits - 1)
		for n := range 20 {
			q := make([]int8, n)
			for i := range q {
				q[i] = int8(least + (i*5+n)%(1<<bits))
			}
			b := layers.PackCodes(q, bits)
			if want := (n*bits + 7) / 8; len(b) != want {
				t.Fatalf("%d codes of %d bits take %d bytes, want %d", n, bits, len(b), want)
			}
			got, err := layers.UnpackCodes(b, n, bits)
			if err != nil || !slices.Equal(got, q) {
				t.Fatalf("%d bits: %v come back as %v, %v", bits, q, got, err)
			}
			if _, err := layers.UnpackCodes(append(slices.Clone(b), 0), n, bits); err == nil {
				t.Fatal("a byte too many is accepted")
			}
		}
	}
	// By hand: -1, 2, -4 in three bits are 111, 010, 100, the first in the lowest bits.
	if got := layers.PackCodes([]int8{-1, 2, -4}, 3); !slices.Equal(got, []byte{0b00_010_111, 0b1}) {
		t.Errorf("%08b", got)
	}
	if _, err := layers.UnpackCodes([]byte{0b00_010_111, 0b11}, 3, 3); err == nil {
		t.Error("bits behind the last code are accepted")
	}
}
