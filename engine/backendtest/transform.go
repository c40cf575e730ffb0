package backendtest

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/random"
	"github.com/potstill/potstill/engine/ref"
	"github.com/potstill/potstill/engine/wire"
)

// checkTransform holds Augment, with what data.Transform.Draw draws, to
// data.Transform.Apply, bit for bit, over many settings: training sees the same
// pixels whether the loader or the device makes them.
func checkTransform(t reporter, b engine.Backend) {
	for n := range uint64(80) {
		switch err := compareTransform(b, rand.New(rand.NewPCG(n, 4))); {
		case errors.Is(err, engine.ErrUnsupported):
			t.Logf("%s does not have Augment", b.Name())
			return
		case err != nil:
			t.Errorf("%s, setting %d: %v", b.Name(), n, err)
		}
	}
}

// randomTransform returns a transform that a device can do, for images of h×w.
func randomTransform(rng *rand.Rand, h, w int) data.Transform {
	some := func(v float64) float64 { return v * rng.Float64() * float64(rng.IntN(3)) / 2 }
	t := data.Transform{HFlip: some(1)}
	if rng.IntN(8) > 0 {
		t.Size = 1 + rng.IntN(45)
		t.Rotation = some(360)
		if t.RandomCrop = rng.IntN(3) > 0; t.RandomCrop {
			t.Padding = rng.IntN(6) * rng.IntN(2)
		}
		if rng.IntN(2) > 0 {
			t.Jitter = &data.ColorJitter{Brightness: some(2), Contrast: some(2), Saturation: some(2), Hue: some(0.5)}
		}
	}
	if rng.IntN(2) > 0 {
		t.Mean, t.Std = []float32{0.4, rng.Float32(), 0.6}, []float32{0.2, 0.1 + rng.Float32(), 0.4}
	}
	if rng.IntN(8) == 0 {
		t.Resize = min(h, w) // to the size that they have
	}
	return t
}

// compareTransform makes one batch in both ways.
func compareTransform(b engine.Backend, rng *rand.Rand) error {
	n, h, w, batch := 1+rng.IntN(4), 1+rng.IntN(40), 1+rng.IntN(40), 5
	tr := randomTransform(rng, h, w)
	if err := tr.Validate(); err != nil {
		return err
	}
	what := fmt.Sprintf("%d images of %dx%d, %+v", n, h, w, tr)
	if !tr.OnDevice(h, w) {
		return fmt.Errorf("%s: not OnDevice", what)
	}
	oh, ow := tr.OutSize(h, w)
	images, size := make([]byte, n*h*w*3), oh*ow*3
	for i := range images {
		images[i] = byte(rng.Uint32())
	}
	chosen, params := make([]uint32, batch), make([]uint32, batch*wire.AugmentParams)
	want := make([]float32, batch*size)
	for k := range chosen {
		i := rng.IntN(n)
		chosen[k] = uint32(i)
		src := data.Image{Pix: images[i*h*w*3 : (i+1)*h*w*3], H: h, W: w}
		apply := random.New(rng.Uint64(), 1, i, random.UseAugment)
		draw, r := apply, [2]*random.Rand{&apply, nil}[rng.IntN(6)/5]
		tr.Apply(want[k*size:(k+1)*size], src, r)
		if r != nil {
			r = &draw
		}
		tr.Draw(params[k*wire.AugmentParams:], h, w, r)
		if r != nil && apply != draw {
			return fmt.Errorf("%s: Draw has drawn other numbers than Apply", what)
		}
	}
	op := engine.Augment{Height: oh, Width: ow, Jitter: tr.Jitter != nil}
	in := []ref.Array{
		ref.Decode(engine.Spec{Shape: []int{n, h, w, 3}, DType: engine.Uint8}, images),
		ref.Decode(engine.Spec{Shape: []int{batch}, DType: engine.Uint32}, engine.Bytes(chosen)),
		ref.Decode(engine.Spec{Shape: []int{batch, wire.AugmentParams}, DType: engine.Uint32}, engine.Bytes(params)),
		ref.Decode(engine.AugmentTable, engine.Bytes(tr.Table())),
	}
	spec := engine.F32(batch, oh, ow, 3)
	r, err := newRig(b, op, in, []ref.Array{ref.NewArray(spec)})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer r.close()
	got, err := r.run(r.enqueue)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if at := changed(engine.Bytes(want), r.output(got, 0), 0, 4*len(want)); at >= 0 {
		return fmt.Errorf("%s: other bits than Apply has at %v", what, index(spec, at/4))
	}
	return nil
}
