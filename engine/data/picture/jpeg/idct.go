package jpeg

// Constants of the inverse DCT, in 13-bit fixed point: the cosines of Loeffler,
// Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11
// multiplications", ICASSP 1989, in the arrangement of libjpeg's accurate integer
// method, whose roundings are kept.
const (
	fix0298 = 2446  // √2·(-c1+c3+c5-c7)
	fix0390 = 3196  // √2·(c3-c5)
	fix0541 = 4433  // √2·c6
	fix0765 = 6270  // √2·(c2-c6)
	fix0899 = 7373  // √2·(c3-c7)
	fix1175 = 9633  // √2·c3
	fix1501 = 12299 // √2·(c1+c3-c5-c7)
	fix1847 = 15137 // √2·(c2+c6)
	fix1961 = 16069 // √2·(c3+c5)
	fix2053 = 16819 // √2·(c1+c3-c5+c7)
	fix2562 = 20995 // √2·(c1+c3)
	fix3072 = 25172 // √2·(c1+c3+c5-c7)

	constBits = 13
	passBits  = 2 // that the first pass keeps beyond its integers
	shift1    = constBits - passBits
	shift2    = constBits + passBits + 3
	round1    = 1 << (shift1 - 1)
	round2    = 1<<(shift2-1) + 128<<shift2 // and from -128…127 to 0…255
)

// idct writes the samples of a block of dequantized coefficients (row by row)
// into dst, whose rows are stride apart. last is the number of the last
// coefficient that is not zero, in the file's order.
func idct(dst []uint8, stride int, b *[64]int32, last int) {
	if last == 0 {
		flat(dst, stride, clamp((wrap(b[0]<<passBits)+16)>>5+128))
		return
	}
	var ws [64]int32
	if last < 10 { // all lie within the first four rows and columns
		for c := range 4 {
			column4(&ws, b, c)
		}
		for y := range 8 {
			row4((*[8]uint8)(dst[y*stride:]), (*[8]int32)(ws[y*8:]))
		}
		return
	}
	for c := range 8 {
		column(&ws, b, c)
	}
	for y := range 8 {
		row((*[8]uint8)(dst[y*stride:]), (*[8]int32)(ws[y*8:]))
	}
}

// flat fills a block.
func flat(dst []uint8, stride int, v uint8) {
	for y := range 8 {
		row := (*[8]uint8)(dst[y*stride:])
		for x := range row {
			row[x] = v
		}
	}
}

// column transforms a column of eight coefficients.
func column(ws, b *[64]int32, c int) {
	c &= 7
	x1, x2, x3, x4, x5, x6, x7 := b[8+c], b[16+c], b[24+c], b[32+c], b[40+c], b[48+c], b[56+c]
	if x1|x2|x3|x4|x5|x6|x7 == 0 {
		v := limit(b[c] << passBits)
		ws[c], ws[8+c], ws[16+c], ws[24+c] = v, v, v, v
		ws[32+c], ws[40+c], ws[48+c], ws[56+c] = v, v, v, v
		return
	}
	e0, e1, e2, e3 := even(b[c], x2, x4, x6)
	o0, o1, o2, o3 := odd(x1, x3, x5, x7)
	ws[c] = limit((e0 + o0 + round1) >> shift1)
	ws[56+c] = limit((e0 - o0 + round1) >> shift1)
	ws[8+c] = limit((e1 + o1 + round1) >> shift1)
	ws[48+c] = limit((e1 - o1 + round1) >> shift1)
	ws[16+c] = limit((e2 + o2 + round1) >> shift1)
	ws[40+c] = limit((e2 - o2 + round1) >> shift1)
	ws[24+c] = limit((e3 + o3 + round1) >> shift1)
	ws[32+c] = limit((e3 - o3 + round1) >> shift1)
}

// row transforms a row of what the columns gave.
func row(dst *[8]uint8, w *[8]int32) {
	e0, e1, e2, e3 := even(w[0], w[2], w[4], w[6])
	o0, o1, o2, o3 := odd(w[1], w[3], w[5], w[7])
	dst[0] = clamp((e0 + o0 + round2) >> shift2)
	dst[7] = clamp((e0 - o0 + round2) >> shift2)
	dst[1] = clamp((e1 + o1 + round2) >> shift2)
	dst[6] = clamp((e1 - o1 + round2) >> shift2)
	dst[2] = clamp((e2 + o2 + round2) >> shift2)
	dst[5] = clamp((e2 - o2 + round2) >> shift2)
	dst[3] = clamp((e3 + o3 + round2) >> shift2)
	dst[4] = clamp((e3 - o3 + round2) >> shift2)
}

// column4 is column for four coefficients; the others are zero.
func column4(ws, b *[64]int32, c int) {
	c &= 7
	e0, e1, e2, e3 := even4(b[c], b[16+c])
	o0, o1, o2, o3 := odd4(b[8+c], b[24+c])
	ws[c] = limit((e0 + o0 + round1) >> shift1)
	ws[56+c] = limit((e0 - o0 + round1) >> shift1)
	ws[8+c] = limit((e1 + o1 + round1) >> shift1)
	ws[48+c] = limit((e1 - o1 + round1) >> shift1)
	ws[16+c] = limit((e2 + o2 + round1) >> shift1)
	ws[40+c] = limit((e2 - o2 + round1) >> shift1)
	ws[24+c] = limit((e3 + o3 + round1) >> shift1)
	ws[32+c] = limit((e3 - o3 + round1) >> shift1)
}

// row4 is row for four values; the others are zero.
func row4(dst *[8]uint8, w *[8]int32) {
	e0, e1, e2, e3 := even4(w[0], w[2])
	o0, o1, o2, o3 := odd4(w[1], w[3])
	dst[0] = clamp((e0 + o0 + round2) >> shift2)
	dst[7] = clamp((e0 - o0 + round2) >> shift2)
	dst[1] = clamp((e1 + o1 + round2) >> shift2)
	dst[6] = clamp((e1 - o1 + round2) >> shift2)
	dst[2] = clamp((e2 + o2 + round2) >> shift2)
	dst[5] = clamp((e2 - o2 + round2) >> shift2)
	dst[3] = clamp((e3 + o3 + round2) >> shift2)
	dst[4] = clamp((e3 - o3 + round2) >> shift2)
}

// even transforms coefficients 0, 2, 4 and 6, scaled by 2^constBits.
func even(x0, x2, x4, x6 int32) (e0, e1, e2, e3 int32) {
	z := (x2 + x6) * fix0541
	t2, t3 := z-x6*fix1847, z+x2*fix0765
	t0, t1 := wrap(x0+x4)<<constBits, wrap(x0-x4)<<constBits
	return t0 + t3, t1 + t2, t1 - t2, t0 - t3
}

// odd transforms coefficients 1, 3, 5 and 7, scaled by 2^constBits.
func odd(x1, x3, x5, x7 int32) (o0, o1, o2, o3 int32) {
	y3, y4 := wrap(x7+x3), wrap(x5+x1)
	z := (y3 + y4) * fix1175
	z3, z4 := z-y3*fix1961, z-y4*fix0390
	z1, z2 := (x7+x1)*fix0899, (x5+x3)*fix2562
	return x1*fix1501 - z1 + z4, x3*fix3072 - z2 + z3, x5*fix2053 - z2 + z4, x7*fix0298 - z1 + z3
}

// even4 is even with x4 = x6 = 0.
func even4(x0, x2 int32) (e0, e1, e2, e3 int32) {
	t0, t2, t3 := x0<<constBits, x2*fix0541, x2*(fix0541+fix0765)
	return t0 + t3, t0 + t2, t0 - t2, t0 - t3
}

// odd4 is odd with x5 = x7 = 0.
func odd4(x1, x3 int32) (o0, o1, o2, o3 int32) {
	return x1*(fix1175+fix1501-fix0899-fix0390) + x3*fix1175,
		x3*(fix1175+fix3072-fix2562-fix1961) + x1*fix1175,
		(x3+x1)*fix1175 - x3*fix2562 - x1*fix0390,
		(x3+x1)*fix1175 - x1*fix0899 - x3*fix1961
}

// wrap keeps 16 bits, and limit limits to 16 bits: what libjpeg-turbo's vector
// code does with values that only a damaged file has.
func wrap(v int32) int32 { return int32(int16(v)) }

func limit(v int32) int32 {
	if v != int32(int16(v)) {
		return 1<<15 - 1 ^ v>>31
	}
	return v
}

// clamp limits v to 0…255.
func clamp(v int32) uint8 {
	if uint32(v) > 255 {
		return uint8(^v >> 31)
	}
	return uint8(v)
}
