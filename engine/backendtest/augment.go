package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/wire"
)

func init() { register(augmentCases) }

func augmentCases() (cases []testCase) {
	for _, s := range []struct{ n, h, w, batch, oh, ow int }{
		{1, 1, 1, 1, 1, 1}, {1, 1, 1, 2, 5, 3}, {3, 1, 9, 2, 4, 4}, {2, 7, 5, 5, 1, 1}, {4, 16, 16, 3, 16, 16},
		{5, 31, 33, 4, 29, 31}, {2, 13, 11, 2, 33, 37}, {7, 17, 19, 1, 8, 32},
	} {
		for _, jitter := range []bool{false, true} {
			for _, what := range []string{"plain", "symmetric", "turned"} {
				if jitter && what == "plain" && s.n > 3 {
					continue
				}
				images := input{engine.Spec{Shape: []int{s.n, s.h, s.w, 3}, DType: engine.Uint8},
					func(rng *rand.Rand, _ int) float64 { return float64(rng.IntN(256)) }}
				index := input{engine.Spec{Shape: []int{s.batch}, DType: engine.Uint32},
					func(rng *rand.Rand, i int) float64 {
						if i == 3 {
							return 4e9 // counts as the last image
						}
						return float64(rng.IntN(s.n)) // of more images than there are, some twice
					}}
				table := input{engine.AugmentTable, func(rng *rand.Rand, _ int) float64 { return rng.NormFloat64() }}
				params := choices(s.batch, s.h, s.w, s.oh, s.ow, what, jitter)
				cases = append(cases, testCase{
					label:    fmt.Sprintf("%v_%dx%dx%d_%s_jitter%v", images.Spec, s.batch, s.oh, s.ow, what, jitter),
					op:       engine.Augment{Height: s.oh, Width: s.ow, Jitter: jitter},
					in:       []input{images, index, params, table},
					optional: true,
				})
				if what == "plain" { // the same in bfloat16
					half := cases[len(cases)-1]
					op := half.op.(engine.Augment)
					op.BFloat16 = true
					half.label, half.op, half.fused = "bf16_"+half.label, op, true
					cases = append(cases, half)
				}
			}
		}
	}
	return append(cases, greyCases()...)
}

// greyCases jitters pixels whose three channels are close to each other or
// equal, for which hue and saturation are special, at the ends of their range.
func greyCases() (cases []testCase) {
	for _, step := range []float64{1, 254} {
		images := input{engine.Spec{Shape: []int{2, 12, 12, 3}, DType: engine.Uint8}, func(rng *rand.Rand, i int) float64 {
			return min(255, float64(i/3*5%256)+step*float64(rng.IntN(2)))
		}}
		cases = append(cases, testCase{
			label: fmt.Sprintf("grey_%g", step), op: engine.Augment{Height: 12, Width: 12, Jitter: true}, optional: true,
			in: []input{images, given(engine.Spec{Shape: []int{4}, DType: engine.Uint32}, 1, 0, 1, 1),
				choices(4, 12, 12, 12, 12, "plain", true), scaled(1, 0, 3, 256)},
		})
	}
	return cases
}

// choices is an input of rows of Augment's params.
func choices(batch, h, w, oh, ow int, what string, jitter bool) input {
	var row [wire.AugmentParams]uint32
	fill := func(rng *rand.Rand) {
		clear(row[:])
		within := func(least, most int) uint32 { return uint32(int32(least + rng.IntN(most-least+1))) }
		row[wire.AugmentY], row[wire.AugmentX] = within(-2*oh, 2*h), within(-2*ow, 2*w)
		if what == "plain" {
			row[wire.AugmentY], row[wire.AugmentX] = within(min(0, h-oh), max(0, h-oh)), within(min(0, w-ow), max(0, w-ow))
		}
		row[wire.AugmentFlags] = uint32(rng.IntN(2)) * wire.AugmentFlip
		if what != "plain" && rng.IntN(3) > 0 {
			row[wire.AugmentFlags] |= wire.AugmentSymmetric
			row[wire.AugmentPadding] = uint32(rng.IntN(5) * rng.IntN(2))
		}
		row[wire.AugmentX0], row[wire.AugmentAX] = 1<<15, 1<<16
		row[wire.AugmentY0], row[wire.AugmentBY] = 1<<15, 1<<16
		if what == "turned" {
			for _, i := range []int{wire.AugmentX0, wire.AugmentAX, wire.AugmentBX, wire.AugmentY0, wire.AugmentAY, wire.AugmentBY} {
				row[i] += within(-80000, 80000)
			}
		}
		if jitter {
			drawJitter(rng, row[wire.AugmentOrder:])
		}
	}
	return input{engine.Spec{Shape: []int{batch, len(row)}, DType: engine.Uint32}, func(rng *rand.Rand, i int) float64 {
		if i%len(row) == 0 {
			fill(rng)
		}
		return float64(row[i%len(row)])
	}}
}

// drawJitter draws adjustments in some order, one or two of them nothing, and
// their amounts.
func drawJitter(rng *rand.Rand, row []uint32) {
	for i, k := range rng.Perm(4) {
		if rng.IntN(4) > 0 {
			row[0] |= uint32(k+1) << (8 * i)
		}
	}
	for k := wire.AugmentBrightness; k <= wire.AugmentSaturation; k++ {
		row[k] = math.Float32bits(float32(2.5 * rng.Float64()))
	}
	row[wire.AugmentHue] = uint32(rng.IntN(256))
}
