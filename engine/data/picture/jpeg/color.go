package jpeg

// colorSpace is what a file's components mean.
type colorSpace int

const (
	gray colorSpace = iota
	ycc
	rgb
	cmyk
	ycck
)

// space guesses the meaning of the components as libjpeg does: by JFIF's and
// Adobe's markers, else by the components' numbers.
func (d *decoder) space() colorSpace {
	switch len(d.comps) {
	case 1:
		return gray
	case 3:
		ids := [3]byte{d.comps[0].id, d.comps[1].id, d.comps[2].id}
		if !d.jfif && (d.adobe && d.transform == 0 || !d.adobe && ids == [3]byte{'R', 'G', 'B'}) {
			return rgb
		}
		return ycc
	}
	if d.adobe && d.transform != 0 {
		return ycck
	}
	return cmyk
}

// Factors of JFIF's YCbCr → RGB in 16-bit fixed point, rounded as libjpeg rounds
// them.
const (
	fixCrR = 91881  // 1.40200
	fixCbB = 116130 // 1.77200
	fixCrG = 46802  // 0.71414
	fixCbG = 22554  // 0.34414
	half16 = 1 << 15
)

// pixels returns the picture, three bytes a pixel.
func (d *decoder) pixels() []uint8 {
	pix := make([]uint8, 3*d.w*d.h)
	var bufs [4][]uint8
	for i := range d.comps {
		bufs[i] = make([]uint8, d.w+8)
	}
	space := d.space()
	for y := range d.h {
		var rows [4][]uint8
		for i := range d.comps {
			rows[i] = d.row(&d.comps[i], y, bufs[i])[:d.w]
		}
		dst := pix[3*y*d.w : 3*(y+1)*d.w]
		switch space {
		case gray:
			threeOf(dst, rows[0], rows[0], rows[0])
		case rgb:
			threeOf(dst, rows[0], rows[1], rows[2])
		case ycc:
			fromYCC(dst, rows[0], rows[1], rows[2])
		case ycck:
			fromYCC(dst, rows[0], rows[1], rows[2])
			overBlack(dst, rows[3], 255)
		case cmyk:
			threeOf(dst, rows[0], rows[1], rows[2])
			overBlack(dst, rows[3], 0)
		}
	}
	return pix
}

// threeOf interleaves three rows.
func threeOf(dst, a, b, c []uint8) {
	b, c = b[:len(a)], c[:len(a)]
	for x, v := range a {
		p := dst[3*x : 3*x+3 : 3*x+3]
		p[0], p[1], p[2] = v, b[x], c[x]
	}
}

// fromYCC converts a row of YCbCr.
func fromYCC(dst, yy, cb, cr []uint8) {
	cb, cr = cb[:len(yy)], cr[:len(yy)]
	for x, v := range yy {
		l, b, r := int32(v), int32(cb[x])-128, int32(cr[x])-128
		p := dst[3*x : 3*x+3 : 3*x+3]
		p[0] = clamp(l + (fixCrR*r+half16)>>16)
		p[1] = clamp(l + (half16-fixCbG*b-fixCrG*r)>>16)
		p[2] = clamp(l + (fixCbB*b+half16)>>16)
	}
}

// overBlack multiplies a row of inverted cyan, magenta and yellow by inverted
// black, with Pillow's rounding. Adobe, whom all follow, stores CMYK inverted;
// what comes out of YCCK is CMY, to be inverted by flip = 255.
func overBlack(dst, k []uint8, flip uint8) {
	for x, v := range k {
		p := dst[3*x : 3*x+3 : 3*x+3]
		for i, c := range p {
			t := uint32(255-c^flip)*uint32(v) + 128
			p[i] = v - uint8((t>>8+t)>>8)
		}
	}
}
