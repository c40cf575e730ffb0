package jpeg

// firstDC decodes a block of the first DC scan.
func (d *decoder) firstDC(c *component, b *[64]int16) {
	r := &d.reader
	if r.n < 32 {
		r.fill()
	}
	v, l := d.difference(c.dcTab, r.acc)
	r.acc <<= l & 63
	r.n -= l
	c.pred += v
	b[0] = int16(c.pred << d.params.low)
}

// refineDC decodes one more bit of a block's DC coefficient.
func (d *decoder) refineDC(_ *component, b *[64]int16) {
	if d.bit() {
		b[0] |= 1 << d.params.low
	}
}

// firstAC decodes a block of the first scan of a band.
func (d *decoder) firstAC(c *component, b *[64]int16) {
	if d.eobRun > 0 {
		d.eobRun--
		return
	}
	r, h := &d.reader, c.acTab
	end, low := d.params.end, uint(d.params.low)
	for k := d.params.start; k <= end; k++ {
		if r.n < 32 {
			if x, ok := plain(r.data, r.pos); ok && r.marker == 0 {
				r.acc |= x >> (r.n & 63)
				r.pos += int(63-r.n) >> 3
				r.n |= 56
			} else {
				r.fill()
			}
		}
		if e := h.look[r.acc>>(64-lookBits)]; e&15 != 0 {
			r.acc <<= e & 15
			r.n -= uint(e & 15)
			k += int(e >> 12 & 15)
			b[zigzag[k&127]&63] = int16(int32(e) >> 16 << low)
			continue
		}
		sym := d.symbol(h)
		run, size := uint(sym>>4), uint(sym&15)
		if size == 0 {
			if run == 15 {
				k += 15
				continue
			}
			d.setRun(run)
			d.eobRun--
			return
		}
		k += int(run)
		v := extend(r.acc, size)
		r.acc <<= size
		r.n -= size
		b[zigzag[k&127]&63] = int16(v << low)
	}
}

// setRun reads how many bands end here, this block's among them: 2^size and as
// many bits more.
func (d *decoder) setRun(size uint) {
	d.eobRun = 1 << size
	if size > 0 {
		d.eobRun += int(d.bits(size))
	}
}

// refineAC decodes one more bit of a block's band (T.81 G.1.2.3): a correction
// bit for every coefficient that has a value already, and between them, in runs
// of those that have none, new ones of ±1 in the position coded.
func (d *decoder) refineAC(c *component, b *[64]int16) {
	bit := int16(1) << d.params.low
	k := d.params.start
	if d.eobRun == 0 {
		for ; k <= d.params.end; k++ {
			sym := d.symbol(c.acTab)
			run, value := int(sym>>4), int16(0)
			switch {
			case sym&15 != 0:
				if sym&15 != 1 {
					d.damage |= badCodes
				}
				if value = -bit; d.bit() {
					value = bit
				}
			case run < 15:
				d.setRun(uint(run))
				d.correct(b, k, 64, bit)
				d.eobRun--
				return
			}
			k = d.correct(b, k, run, bit)
			if value != 0 {
				b[zigzag[k&127]&63] = value
			}
		}
		return
	}
	d.correct(b, k, 64, bit)
	d.eobRun--
}

// correct reads correction bits for the coefficients of the band from number k
// on, up to the one after run zeros, whose number it returns.
func (d *decoder) correct(b *[64]int16, k, run int, bit int16) int {
	for ; k <= d.params.end; k++ {
		v := &b[zigzag[k&127]&63]
		if *v == 0 {
			if run--; run < 0 {
				break
			}
			continue
		}
		if d.bit() && *v&bit == 0 {
			if *v >= 0 {
				*v += bit
			} else {
				*v -= bit
			}
		}
	}
	return k
}
