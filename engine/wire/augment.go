// Package wire has the formats in which packages that do not know each other
// hand data to one another.
package wire

// The fields of a row of engine.Augment's params, which data.Transform.Draw
// writes. A row has AugmentParams words of 32 bits, 64 bytes; the last word is
// not used. Signed fields are the bits of an int32, factors those of a float32.
const (
	AugmentY       = iota // row of the image under the crop's first one, signed
	AugmentX              // column of the image under the crop's first one, signed
	AugmentFlags          // AugmentFlip, AugmentSymmetric
	AugmentPadding        // lines on every side that the reflection makes first
	AugmentX0             // from here to AugmentBY: the map of a rotation, 16.16 fixed point, signed
	AugmentAX
	AugmentBX
	AugmentY0
	AugmentAY
	AugmentBY
	AugmentOrder // the adjustments, the first in the lowest byte

	// AugmentParams is the length of a row.
	AugmentParams = 16
)

// The bits of the field AugmentFlags.
const (
	AugmentFlip      = 1 // mirror the crop from left to right
	AugmentSymmetric = 2 // continue the image beyond its borders by reflection
)

// The adjustments that the bytes of the field AugmentOrder name; 0 is none. The
// field AugmentOrder + k is the amount of adjustment k: the factor of
// brightness, contrast or saturation; for the hue its shift in 1/256 of the
// circle.
const (
	AugmentBrightness = 1
	AugmentContrast   = 2
	AugmentSaturation = 3
	AugmentHue        = 4
)

// The shape of engine.Augment's table, layout [AugmentChannels,AugmentLevels]:
// the value that each byte of a channel becomes.
const (
	AugmentChannels = 3
	AugmentLevels   = 256
)
