package engine

import (
	"fmt"

	"github.com/potstill/potstill/engine/wire"
)

// Augment makes a training batch on the device, from images that stay there:
// each image of the batch is a crop of one of the images, mirrored, turned,
// jittered in its colors, and normalized, in 8 bits up to the last step, as
// torchvision does it on PIL images.
//
// Inputs: images [N,H,W,3] uint8; index [B] uint32, the image that each of the
// batch is made from (N or more counts as N-1); params [B,AugmentParams] uint32,
// a row of random choices an image; table [3,256] float32, the value that each
// byte of a channel becomes. Output: [B,Height,Width,3] float32, or with BFloat16 bfloat16.
//
// A row of params holds these fields, whose numbers package wire has. Signed ones are the bits of an int32,
// factors those of a float32; a row of zeros but for AugmentAX = AugmentBY = 1<<16
// and AugmentX0 = AugmentY0 = 1<<15 is a crop at the upper left corner.
//
//	AugmentY, AugmentX    the image's row and column under the crop's first one, signed
//	AugmentFlags          AugmentFlip mirrors the crop from left to right;
//	                      AugmentSymmetric continues the image beyond its borders by reflection
//	AugmentPadding        lines on every side that the reflection makes first
//	AugmentX0 … AugmentBY the map of a rotation, six signed numbers in 16.16 fixed point
//	AugmentOrder          the adjustments, the first in the lowest byte: AugmentBrightness …
//	                      AugmentHue, each at most once; 0 is none
//	AugmentOrder + k      the amount of adjustment k: the factor of brightness, contrast or
//	                      saturation; for AugmentHue the shift in 1/256 of the circle, below 256
//
// Output pixel (y, x) shows pixel (Y, X) of the mirrored crop,
//
//	X = (X0 + AX·x + BX·y) >> 16,   Y = (Y0 + AY·x + BY·y) >> 16,
//
// in int32, or three zero bytes where that is outside of the crop, which is
// Height×Width. The crop's pixel is row AugmentY + Y and column AugmentX + X, or mirrored
// AugmentX + Width-1 - X, of the image. Beyond the borders a pixel is zero. With
// AugmentSymmetric a line of n pixels goes on by reflection instead, its ends
// repeated (sym(i, n), NumPy's "symmetric"): first for p = AugmentPadding pixels on
// either side, and the line of n + 2p pixels then without end, so that pixel i is
// pixel sym(sym(i + p, n + 2p) - p, n).
//
// The crop's pixels (r, g, b), those beyond the borders too, are adjusted in the
// given order, with blend(a, b, f) = a + f·(b-a) in float32, cut off to 0…255 and
// truncated, and luma = (19595·r + 38470·g + 7471·b + 0x8000) >> 16:
//
//	brightness  each v becomes blend(0, v, f)
//	contrast    blend(m, v, f), m the mean luma of the whole crop, rounded, halves up
//	saturation  blend(luma, v, f)
//	hue         the hue in 8-bit HSV (A. R. Smith, 1978) is shifted, with wrap-around
//
// The bytes of channel c are looked up in row c of the table.
type Augment struct {
	Height, Width int
	// Jitter is false if AugmentOrder is 0 in every row.
	Jitter bool
	// BFloat16 rounds the output to bfloat16, as a Cast behind it would: the
	// planner sets it where the backend has that (Fuser).
	BFloat16 bool
}

// augmentSide is the largest output side: coordinates in 16.16 stay in range.
const augmentSide = 1 << 13

// AugmentTable is the spec of Augment's last input.
var AugmentTable = F32(wire.AugmentChannels, wire.AugmentLevels)

// Infer implements Op.
func (op Augment) Infer(in []Spec) ([]Spec, error) {
	if len(in) != 4 {
		return nil, fmt.Errorf("%w: takes images, index, params and table, got %d inputs", ErrShape, len(in))
	}
	if op.Height < 1 || op.Width < 1 || max(op.Height, op.Width) > augmentSide {
		return nil, fmt.Errorf("%w: an output of %dx%d pixels is not in 1…%d", ErrShape, op.Height, op.Width, augmentSide)
	}
	n, h, w, c, ok := in[0].NHWC()
	if !ok || in[0].DType != Uint8 || c != 3 || min(n, h, w) < 1 {
		return nil, fmt.Errorf("%w: images are [N,H,W,3] in bytes, not %v", ErrShape, in[0])
	}
	if len(in[1].Shape) != 1 || in[1].DType != Uint32 {
		return nil, fmt.Errorf("%w: index is a vector of uint32, not %v", ErrShape, in[1])
	}
	b := in[1].Shape[0]
	if params := (Spec{Shape: []int{b, wire.AugmentParams}, DType: Uint32}); !in[2].Equal(params) || !in[3].Equal(AugmentTable) {
		return nil, fmt.Errorf("%w: params and table are %v and %v, not %v and %v", ErrShape, params, AugmentTable, in[2], in[3])
	}
	y := F32(b, op.Height, op.Width, 3)
	if op.BFloat16 {
		y.DType = BFloat16
	}
	return []Spec{y}, nil
}
