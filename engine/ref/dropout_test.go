package ref

import (
	"math"
	"testing"

	"github.com/potstill/potstill/engine"
)

// The known answers of Random123's kat_vectors for philox4x32, 10 rounds.
func TestPhilox(t *testing.T) {
	const f = 0xffffffff
	for _, c := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{f, f, f, f}, [2]uint32{f, f}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	} {
		if got := Philox(c.counter, c.key); got != c.want {
			t.Errorf("Philox(%x, %x) = %x, want %x", c.counter, c.key, got, c.want)
		}
	}
}

// TestDropout holds the op's use of the generator to its doc comment: the first
// known answer serves elements 0 to 3, and 0x6627e8d5 is 0.399 of 2³².
func TestDropout(t *testing.T) {
	x := NewArray(engine.F32(1000, 10))
	for i := range x.V {
		x.V[i] = float64(i + 1)
	}
	out, err := Eval(engine.Dropout{P: 0.5}, []Array{x, NewArray(engine.DropoutCounter)})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0, 4, 6, 8} {
		if out[0].V[i] != want {
			t.Errorf("element %d is %g, want %g", i, out[0].V[i], want)
		}
	}
	dropped := 0
	for _, v := range out[0].V {
		if v == 0 {
			dropped++
		}
	}
	if math.Abs(float64(dropped)-5000) > 5*50 {
		t.Errorf("%d of 10000 elements dropped at P = 0.5", dropped)
	}
}
