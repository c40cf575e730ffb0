package affine

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Weights in blocks come back within half a step of their own block, whatever the
// length of the last one, and an odd number of codes leaves half a byte of zeros.
func TestBlocks4(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, x := range []struct{ rows, each, block int }{{1, 1, 64}, {3, 64, 64}, {3, 65, 64}, {5, 7, 3}, {4, 147, 64}} {
		w := make([]float32, x.rows*x.each)
		for i := range w {
			w[i] = float32(rng.NormFloat64()) * float32(1+i/x.each*100)
		}
		codes, lo, hi, err := EncodeBlocks4(w, x.rows, x.block)
		if err != nil {
			t.Fatal(err)
		}
		if n := BlocksOf(len(w), x.rows, x.block); len(lo) != n || len(hi) != n || len(codes) != (len(w)+1)/2 {
			t.Fatalf("%+v: %d bytes, %d and %d ends of %d blocks", x, len(codes), len(lo), len(hi), n)
		}
		low, high := wide(lo), wide(hi)
		got := make([]float32, len(w))
		if err := DecodeBlocks4(codes, x.rows, x.block, low, high, got); err != nil {
			t.Fatal(err)
		}
		perRow := len(lo) / x.rows
		for i, v := range got {
			b := i/x.each*perRow + i%x.each/x.block
			bound := float64(hi[b]-lo[b])/30*(1+1e-6) + 1e-6*math.Max(math.Abs(low[b]), math.Abs(high[b]))
			if d := math.Abs(float64(v) - float64(w[i])); d > bound {
				t.Errorf("%+v: weight %d is %g, decoded %g, more than %g away", x, i, w[i], v, bound)
			}
		}
		again, lo2, hi2, err := EncodeBlocks4(got, x.rows, x.block)
		if err != nil || !slices.Equal(again, codes) || !slices.Equal(lo2, lo) || !slices.Equal(hi2, hi) {
			t.Errorf("%+v: what was decoded has other codes or ranges, %v", x, err)
		}
	}
}

// What does not fit is an error, and leaves the destination as it is.
func TestBlocks4Refuses(t *testing.T) {
	dst := []float32{1, 2, 3}
	for want, err := range map[string]error{
		"blocks of 0":     errorOf(EncodeBlocks4(dst, 1, 0)),
		"divide into 2":   errorOf(EncodeBlocks4(dst, 2, 4)),
		"row 0":           errorOf(EncodeBlocks4([]float32{float32(math.NaN())}, 1, 4)),
		"bytes of codes":  DecodeBlocks4([]byte{1}, 1, 4, []float64{0}, []float64{1}, dst),
		"for 1 blocks":    DecodeBlocks4([]byte{1, 2}, 1, 4, nil, nil, dst),
		"unused bits":     DecodeBlocks4([]byte{1, 0x12}, 1, 4, []float64{0}, []float64{1}, dst),
		"block 0":         DecodeBlocks4([]byte{1, 2}, 1, 4, []float64{1}, []float64{0}, dst),
		"into 0 channels": DecodeBlocks4([]byte{1, 2}, 0, 4, []float64{1}, []float64{0}, dst),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !slices.Equal(dst, []float32{1, 2, 3}) {
		t.Errorf("the destination is %v", dst)
	}
}

func errorOf(_ []byte, _, _ []float32, err error) error { return err }
