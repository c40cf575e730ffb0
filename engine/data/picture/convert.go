package picture

import (
	"fmt"
	"image"
	"image/color"
)

// rgb flattens any image that a decoder returns. Alpha is dropped.
func (d *decoder) rgb(m image.Image) Image {
	r := m.Bounds()
	out := Image{H: r.Dy(), W: r.Dx(), Pix: make([]uint8, r.Dx()*r.Dy()*3)}
	switch m := m.(type) {
	case *image.Gray:
		out.each(func(x, y int, p []uint8) {
			v := m.Pix[y*m.Stride+x]
			p[0], p[1], p[2] = v, v, v
		})
	case *image.Gray16:
		d.gray16(out, m)
	case *image.Paletted:
		table := paletteRGB(m.Palette)
		out.each(func(x, y int, p []uint8) { copy(p, table[m.Pix[y*m.Stride+x]][:]) })
	case *image.NRGBA:
		out.take(m.Pix, m.Stride, 1)
	case *image.RGBA:
		out.take(m.Pix, m.Stride, 1)
		out.unmultiply(m.Pix, m.Stride, 1)
	case *image.NRGBA64:
		out.take(m.Pix, m.Stride, 2)
	case *image.RGBA64:
		out.take(m.Pix, m.Stride, 2)
		out.unmultiply(m.Pix, m.Stride, 2)
	default:
		out.each(func(x, y int, p []uint8) {
			c := color.NRGBAModel.Convert(m.At(r.Min.X+x, r.Min.Y+y)).(color.NRGBA)
			p[0], p[1], p[2] = c.R, c.G, c.B
		})
	}
	return out
}

func (m Image) each(f func(x, y int, p []uint8)) {
	i := 0
	for y := range m.H {
		for x := range m.W {
			f(x, y, m.Pix[i:i+3:i+3])
			i += 3
		}
	}
}

// take takes the first byte of each of the first three of four channels, whose
// samples have the given width in bytes, most significant first.
func (m Image) take(pix []uint8, stride, width int) {
	m.each(func(x, y int, p []uint8) {
		q := pix[y*stride+4*width*x:]
		p[0], p[1], p[2] = q[0], q[width], q[2*width]
	})
}

// unmultiply divides by alpha, with Pillow's rounding.
func (m Image) unmultiply(pix []uint8, stride, width int) {
	m.each(func(x, y int, p []uint8) {
		a := int(pix[y*stride+4*width*x+3*width])
		if a == 0 || a == 255 {
			return
		}
		for i, c := range p {
			p[i] = uint8(min(255*int(c)/a, 255))
		}
	})
}

// paletteRGB gives all indices a color; those beyond the palette are black.
func paletteRGB(p color.Palette) (table [256][3]uint8) {
	for i, c := range p[:min(len(p), 256)] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = [3]uint8{n.R, n.G, n.B}
	}
	return table
}

// nearlyBlack is the value of 16 bits of which the high byte is a sixteenth of
// the range.
const nearlyBlack = 0x1000

// gray16 keeps the high bytes of 16-bit gray, and says so.
func (d *decoder) gray16(out Image, m *image.Gray16) {
	out.each(func(x, y int, p []uint8) {
		v := m.Pix[y*m.Stride+2*x]
		p[0], p[1], p[2] = v, v, v
	})
	d.noteGray16(largest16(m.Pix, m.Stride, out, 2), 65535)
}

// largest16 returns the largest first sample of pixels of some bytes each.
func largest16(pix []uint8, stride int, m Image, size int) (largest int) {
	for y := range m.H {
		for x := range m.W {
			q := pix[y*stride+size*x:]
			largest = max(largest, int(q[0])<<8|int(q[1]))
		}
	}
	return largest
}

// noteGray16 says what became of gray whose values go to limit.
func (d *decoder) noteGray16(largest, limit int) {
	d.note(`16-bit gray was reduced to its upper 8 bits, where Pillow's convert("RGB") clips it at 255`, "")
	if limit == 65535 && largest < nearlyBlack {
		d.note("16-bit gray uses only the lower bits, so that the picture is nearly black; scale its values up",
			fmt.Sprintf("its largest value is %d of 65535", largest))
	}
}
