package jpeg

// arithmeticFunc returns the function that decodes a scan's blocks.
func (d *decoder) arithmeticFunc(p *scanParams) blockFunc {
	f := d.arithRefineAC
	switch {
	case !d.progressive:
		f = func(c *component, b *[64]int16) {
			if d.arithDC(c, b); !d.arith.bad {
				d.arithAC(c, b)
			}
		}
	case p.start == 0 && p.high == 0:
		f = d.arithDC
	case p.start == 0:
		return func(_ *component, b *[64]int16) {
			if d.evenBit() {
				b[0] |= 1 << p.low
			}
		}
	case p.high == 0:
		f = d.arithAC
	}
	return func(c *component, b *[64]int16) {
		if !d.arith.bad {
			f(c, b)
		}
	}
}

// senseless gives up the data up to the next restart marker.
func (d *decoder) senseless() {
	d.arith.bad = true
	d.damage |= badCodes
}

// arithDC decodes a block's DC coefficient, or its upper bits (T.81 F.1.4.1 and
// F.1.4.4.1). The statistics are chosen by the difference before: zero, or small
// or large and positive or negative.
func (d *decoder) arithDC(c *component, b *[64]int16) {
	stats := d.arith.dc[c.dc][:]
	if s := c.dcContext; !d.decide(&stats[s]) {
		c.dcContext = 0
	} else {
		negative := 0
		if d.decide(&stats[s+1]) {
			negative = 1
		}
		v, m, ok := 0, 0, true
		if d.decide(&stats[s+2+negative]) {
			if v, m, ok = d.magnitude(stats, 20, 1); !ok {
				d.senseless()
				return
			}
		}
		switch {
		case m < 1<<d.arith.low[c.dc]>>1:
			c.dcContext = 0
		case m > 1<<d.arith.high[c.dc]>>1:
			c.dcContext = 12 + 4*negative
		default:
			c.dcContext = 4 + 4*negative
		}
		if v++; negative == 1 {
			v = -v
		}
		c.pred = (c.pred + int32(v)) & 0xFFFF
	}
	b[0] = int16(c.pred << d.params.low)
}

// arithAC decodes the band of a block, or its upper bits (T.81 F.1.4.2 and
// F.1.4.4.2). Each coefficient has three statistics: is it the last, is it zero,
// and the beginning of its magnitude.
func (d *decoder) arithAC(c *component, b *[64]int16) {
	stats := d.arith.ac[c.ac][:]
	for k := max(d.params.start, 1); k <= d.params.end; k++ {
		if d.decide(&stats[3*k-3]) {
			return // the others are zero
		}
		for !d.decide(&stats[3*k-2]) {
			if k++; k > d.params.end {
				d.senseless()
				return
			}
		}
		negative, v, ok := d.evenBit(), 0, true
		if s := 3*k - 1; d.decide(&stats[s]) {
			if v = 1; d.decide(&stats[s]) {
				x := 217
				if k <= int(d.arith.kx[c.ac]) {
					x = 189
				}
				if v, _, ok = d.magnitude(stats, x, 2); !ok {
					d.senseless()
					return
				}
			}
		}
		if v++; negative {
			v = -v
		}
		b[zigzag[k]&63] = int16(v << d.params.low)
	}
}

// arithRefineAC decodes one more bit of a block's band (T.81 G.1.3.3).
func (d *decoder) arithRefineAC(c *component, b *[64]int16) {
	stats := d.arith.ac[c.ac][:]
	bit := int16(1) << d.params.low
	before := d.params.end // the last coefficient that has a value already
	for before > 0 && b[zigzag[before]&63] == 0 {
		before--
	}
	for k := d.params.start; k <= d.params.end; k++ {
		if k > before && d.decide(&stats[3*k-3]) {
			return
		}
		for !d.refineOne(stats[3*k-3:3*k], &b[zigzag[k]&63], bit) {
			if k++; k > d.params.end {
				d.senseless()
				return
			}
		}
	}
}

// refineOne decodes the next bit of a coefficient, and reports whether it has a
// value then.
func (d *decoder) refineOne(stats []uint8, v *int16, bit int16) bool {
	switch {
	case *v > 0:
		if d.decide(&stats[2]) {
			*v += bit
		}
	case *v < 0:
		if d.decide(&stats[2]) {
			*v -= bit
		}
	case !d.decide(&stats[1]):
		return false
	case d.evenBit():
		*v = -bit
	default:
		*v = bit
	}
	return true
}
