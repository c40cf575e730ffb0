package ref

import (
	"math"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/wire"
)

func init() { define(augment) }

// A rgb is a pixel of three bytes.
type rgb [3]uint8

// augment makes the images one by one. Everything is exact: bytes, and values
// of the table.
func augment(op engine.Augment, in, out []Array) {
	table, size := in[3].V, op.Height*op.Width*3
	for b := range in[1].V {
		row := make([]uint32, wire.AugmentParams)
		for i := range row {
			row[i] = uint32(in[2].V[b*len(row)+i])
		}
		pixels := augmented(op, in[0], int(in[1].V[b]), row)
		for i, p := range pixels {
			for c := range 3 {
				v := table[256*c+int(p[c])]
				if op.BFloat16 {
					v = toBFloat16(v)
				}
				out[0].set(b*size+3*i+c, exact(v))
			}
		}
	}
}

// augmented returns the pixels of one output: crop, jitter, rotation.
func augmented(op engine.Augment, images Array, index int, row []uint32) []rgb {
	crop := make([]rgb, op.Height*op.Width)
	for y := range op.Height {
		for x := range op.Width {
			crop[y*op.Width+x] = cropped(op, images, index, row, y, x)
		}
	}
	if op.Jitter {
		jitter(crop, row)
	}
	out := make([]rgb, len(crop))
	at := func(first, i, j int, y, x int32) int {
		return int((int32(row[first]) + int32(row[i])*x + int32(row[j])*y) >> 16)
	}
	for y := range op.Height {
		for x := range op.Width {
			cx := at(wire.AugmentX0, wire.AugmentAX, wire.AugmentBX, int32(y), int32(x))
			cy := at(wire.AugmentY0, wire.AugmentAY, wire.AugmentBY, int32(y), int32(x))
			if cx >= 0 && cx < op.Width && cy >= 0 && cy < op.Height {
				out[y*op.Width+x] = crop[cy*op.Width+cx]
			}
		}
	}
	return out
}

// cropped returns pixel (y, x) of the mirrored crop.
func cropped(op engine.Augment, images Array, index int, row []uint32, y, x int) (p rgb) {
	n, h, w, _, _ := images.NHWC()
	if row[wire.AugmentFlags]&wire.AugmentFlip != 0 {
		x = op.Width - 1 - x
	}
	y += int(int32(row[wire.AugmentY]))
	x += int(int32(row[wire.AugmentX]))
	if row[wire.AugmentFlags]&wire.AugmentSymmetric != 0 {
		pad := int(int32(row[wire.AugmentPadding]))
		y = reflected(reflected(y+pad, h+2*pad)-pad, h)
		x = reflected(reflected(x+pad, w+2*pad)-pad, w)
	}
	if y < 0 || y >= h || x < 0 || x >= w {
		return p
	}
	from := ((min(index, n-1)*h+y)*w + x) * 3
	for c := range p {
		p[c] = uint8(images.V[from+c])
	}
	return p
}

// reflected returns the place, among n samples that go on by reflection with
// their ends repeated, of the sample that is seen at i.
func reflected(i, n int) int {
	for i < 0 || i >= n {
		if i < 0 {
			i = -1 - i
		} else {
			i = 2*n - 1 - i
		}
	}
	return i
}

// jitter adjusts the colors of a crop in the row's order.
func jitter(crop []rgb, row []uint32) {
	for order := row[wire.AugmentOrder]; order != 0; order >>= 8 {
		kind := order & 255
		if kind < wire.AugmentBrightness || kind > wire.AugmentHue {
			continue
		}
		amount := row[wire.AugmentOrder+kind]
		f := math.Float32frombits(amount)
		mean := meanLuma(crop)
		for i, p := range crop {
			switch kind {
			case wire.AugmentBrightness:
				crop[i] = p.mixed(0, f)
			case wire.AugmentContrast:
				crop[i] = p.mixed(mean, f)
			case wire.AugmentSaturation:
				crop[i] = p.mixed(p.luma(), f)
			case wire.AugmentHue:
				h, s, v := p.hsv()
				crop[i] = fromHSV(h+uint8(amount), s, v)
			}
		}
	}
}

// mixed returns blend(a, v, f) of each channel's v.
func (p rgb) mixed(a uint8, f float32) rgb {
	for c, v := range p {
		product := float32(f * (float32(v) - float32(a))) // rounded on its own
		p[c] = uint8(min(max(float32(a)+product, 0), 255))
	}
	return p
}

// luma is ITU-R 601-2's, in 16 bits of fraction, rounded.
func (p rgb) luma() uint8 {
	return uint8((19595*int(p[0]) + 38470*int(p[1]) + 7471*int(p[2]) + 0x8000) >> 16)
}

func meanLuma(crop []rgb) uint8 {
	sum := 0
	for _, p := range crop {
		sum += int(p.luma())
	}
	return uint8((2*sum + len(crop)) / (2 * len(crop)))
}

// hsv is the hexagonal cone of A. R. Smith (1978), each value in 8 bits,
// truncated, with float32 where PIL has it.
func (p rgb) hsv() (h, s, v uint8) {
	v = max(p[0], p[1], p[2])
	low := min(p[0], p[1], p[2])
	if v == low {
		return 0, 0, v
	}
	span := float32(v - low)
	from := func(c int) float32 { return float32(v-p[c]) / span }
	var turn float32 // in sixths
	switch v {
	case p[0]:
		turn = from(2) - from(1)
	case p[1]:
		turn = float32(2 + float64(from(0)) - float64(from(2)))
	default:
		turn = float32(4 + float64(from(1)) - float64(from(0)))
	}
	share := float64(turn)/6 + 1
	return uint8(float64(float32(share-math.Floor(share))) * 255), uint8(float64(span/float32(v)) * 255), v
}

func fromHSV(h, s, v uint8) rgb {
	if s == 0 {
		return rgb{v, v, v}
	}
	turn := float32(float64(h) * 6 / 255)
	sixth := math.Floor(float64(turn))
	f, fs := float64(turn)-sixth, float64(float32(float64(s)/255))
	less := func(share float64) uint8 { return uint8(math.Round(float64(v) * (1 - share))) }
	p, q, t := less(fs), less(fs*f), less(fs*(1-f))
	return [6]rgb{{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}}[int(sixth)%6]
}
