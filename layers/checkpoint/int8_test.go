package checkpoint

import (
	"math/rand/v2"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/layers/checkpoint/affine"
)

// TestQuantizeWeightGivesTheFilesCodes: engine.QuantizeWeight gets from decoded
// weights the codes that the file holds.
func TestQuantizeWeightGivesTheFilesCodes(t *testing.T) {
	const in, out = 45, 37
	r := rand.New(rand.NewPCG(1, 1))
	w := make([]float32, in*out) // [O, I], as in PyTorch
	for i := range w {
		w[i] = float32(r.NormFloat64() * 0.1 * float64(1+i/in))
	}
	for _, quant := range []string{Affine8, Affine8PerChannel} {
		channels, how := 1, Int8(quant)
		if how == engine.Int8PerChannel {
			channels = out
		}
		codes, lo, hi, err := affine.EncodeChannels8(w, channels)
		if err != nil {
			t.Fatal(err)
		}
		decoded := make([]float32, len(w))
		if err := affine.DecodeChannels8(codes, lo, hi, decoded); err != nil {
			t.Fatal(err)
		}
		a := ref.NewArray(engine.F32(1, 1, in, out))
		for i, v := range decoded {
			a.V[i%in*out+i/in] = float64(v)
		}
		got, err := ref.Eval(engine.QuantizeWeight{PerChannel: how == engine.Int8PerChannel}, []ref.Array{a})
		if err != nil {
			t.Fatal(err)
		}
		quads := got[0].Shape[1]
		for k, q := range codes {
			o, i := k/in, k%in
			if c := got[0].V[((o/16*quads+i/4)*16+o%16)*4+i%4]; uint8(c) != q-128 {
				t.Fatalf("%s: code of output %d, input %d is %g, in the file %d", quant, o, i, c, q)
			}
		}
	}
	if Int8(Float32) != engine.NoInt8 || Int8(Float16) != engine.NoInt8 {
		t.Error("integers for floats")
	}
}
