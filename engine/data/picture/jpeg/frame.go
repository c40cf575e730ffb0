package jpeg

import "encoding/binary"

// component is one of a frame's planes.
type component struct {
	id      byte
	h, v    int // sampling factors
	table   byte
	quant   *quant    // as it was when the first scan began
	natural [64]int32 // the same row by row
	width   int       // samples that count
	height  int
	blocksX int // blocks that count
	blocksY int
	stride  int // of samples and, divided by 8, of coefficients: whole MCUs
	rows    int
	samples []uint8
	coefs   [][64]int16 // row by row within a block; nil where a block is transformed at once
	known   [64]int8    // of progressive files: the lowest bit known of each coefficient, -1: none
	before  [64]int8    // the same before the last scan
	scanned bool

	dc, ac    int      // numbers of the tables of the scan under way
	dcTab     *huffman // the tables
	acTab     *huffman
	pred      int32
	dcContext int
	blocksInX int // blocks of an MCU of the scan under way
	blocksInY int
}

// frame reads a frame header.
func (d *decoder) frame(m byte, s []byte) error {
	if d.comps != nil {
		return damaged("it has two frames")
	}
	if len(s) < 6 || len(s) != 6+3*int(s[5]) {
		return damaged("its frame header is %d bytes long", len(s))
	}
	d.progressive = m == markerSOF2 || m == markerSOF10
	d.arithmetic = m >= markerSOF9
	d.h, d.w = int(binary.BigEndian.Uint16(s[1:])), int(binary.BigEndian.Uint16(s[3:]))
	switch {
	case s[0] != 8:
		return unsupported("its samples have %d bits", s[0])
	case d.w == 0:
		return damaged("it has no pixels")
	case d.h == 0:
		return unsupported("its height is given after the picture (DNL)")
	case d.w > d.maxPixels/d.h:
		return ErrTooManyPixels
	}
	n := int(s[5])
	if n != 1 && n != 3 && n != 4 {
		return unsupported("it has %d components", n)
	}
	d.comps = make([]component, n)
	for i := range d.comps {
		p := s[6+3*i:]
		c := &d.comps[i]
		c.id, c.h, c.v, c.table = p[0], int(p[1]>>4), int(p[1]&15), p[2]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return damaged("component %d has the sampling factors %d×%d", i+1, c.h, c.v)
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	for i := range d.comps {
		c := &d.comps[i]
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return unsupported("component %d has %d×%d samples where another has %d×%d", i+1, c.h, c.v, d.maxH, d.maxV)
		}
		d.measure(c)
	}
	return nil
}

// measure computes a component's sizes.
func (d *decoder) measure(c *component) {
	c.width, c.height = ceilDiv(d.w*c.h, d.maxH), ceilDiv(d.h*c.v, d.maxV)
	c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
	c.stride = ceilDiv(d.w, 8*d.maxH) * 8 * c.h
	c.rows = ceilDiv(d.h, 8*d.maxV) * 8 * c.v
	for k := range c.known {
		c.known[k] = -1
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
