package jpeg

// arith is an arithmetic decoder (T.81 annex D) with the statistics of a scan.
// A statistic is the number of its state, and in the upper bit its more probable
// symbol.
type arith struct {
	c, a   uint32
	count  int  // bits of c left before the next byte
	bad    bool // the data make no sense up to the next restart marker
	zeros  int  // bytes read after the end of the data
	beyond int  // and after the end of the file
	dc     [16][64]uint8
	ac     [16][256]uint8

	low, high [16]uint8 // bounds of the small DC differences
	kx        [16]uint8 // bound of the low AC coefficients
}

// init sets the conditioning that holds where a file defines none (T.81
// F.1.4.4.1.4 and F.1.4.4.2.1).
func (a *arith) init() {
	for i := range a.kx {
		a.low[i], a.high[i], a.kx[i] = 0, 1, 5
	}
}

// reset forgets all statistics of a scan's components. The first two bytes are
// read with the first decision.
func (a *arith) reset(p *scanParams) {
	for _, c := range p.comps {
		if p.start == 0 && p.high == 0 {
			a.dc[c.dc] = [64]uint8{}
		}
		if p.end > 0 {
			a.ac[c.ac] = [256]uint8{}
		}
	}
	a.a, a.bad, a.zeros = 0, false, 0
}

// maxZeros is the number of bytes that may be left out at the end of a scan. Even
// an empty picture of the largest size needs fewer.
const maxZeros = 1024

// arithByte returns the next byte of the scan's data, or 0 after its end, as the
// encoder leaves out zeros there.
func (d *decoder) arithByte() uint32 {
	if d.marker == 0 {
		if c, ok := d.dataByte(); ok {
			return uint32(c)
		}
	}
	if d.arith.zeros++; d.arith.zeros == maxZeros {
		d.arith.bad = true
		d.damage |= dataEnd
	}
	if d.ended {
		d.arith.beyond++
	}
	return 0
}

// decide decodes a binary decision by a statistic (T.81 D.2).
func (d *decoder) decide(stat *uint8) bool {
	a := &d.arith
	if a.a == 0 {
		a.c = d.arithByte() << 24
		a.c |= d.arithByte() << 16
		a.a, a.count = 0x10000, 0
		if a.zeros == 2 { // there are none
			a.bad = true
			d.damage |= dataEnd
		}
	}
	s := *stat
	t := &arithStates[s&127]
	qe := uint32(t.qe)
	a.a -= qe
	if a.c>>16 < a.a {
		if a.a >= 0x8000 {
			return s>>7 != 0
		}
		if a.a < qe { // the more probable symbol has the smaller part
			*stat = s&128 ^ t.lps ^ t.flip<<7
			s ^= 128
		} else {
			*stat = s&128 | t.mps
		}
	} else {
		a.c -= a.a << 16
		if a.a < qe {
			*stat = s&128 | t.mps
		} else {
			*stat = s&128 ^ t.lps ^ t.flip<<7
			s ^= 128
		}
		a.a = qe
	}
	for a.a < 0x8000 {
		if a.count == 0 {
			a.c |= d.arithByte() << 8
			a.count = 8
		}
		a.a <<= 1
		a.c <<= 1
		a.count--
	}
	return s>>7 != 0
}

// evenBit decodes a bit of probability ½.
func (d *decoder) evenBit() bool {
	stat := uint8(half)
	return d.decide(&stat)
}

// magnitude decodes the absolute value, less one, of a coefficient (T.81 figures
// F.23 and F.24). m is what is known of it, in powers of two: 0 is 0, 1 is 1, and
// further ones are told by the statistics from number x on; the bits below
// follow, by the one 14 on. The value is false where there is no end to it.
func (d *decoder) magnitude(stats []uint8, x, m int) (v, category int, ok bool) {
	for ; d.decide(&stats[x]); x++ {
		if m <<= 1; m == 0x8000 {
			return 0, 0, false
		}
	}
	return d.amplitude(stats, x, m), m, true
}

// amplitude decodes the bits below the uppermost one, m.
func (d *decoder) amplitude(stats []uint8, x, m int) int {
	v := m
	for m >>= 1; m > 0; m >>= 1 {
		if d.decide(&stats[x+14]) {
			v |= m
		}
	}
	return v
}
