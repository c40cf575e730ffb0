package jpeg

// scanParams is what a scan header says beside the components.
type scanParams struct {
	comps      []*component
	start, end int // the band of coefficients, in the file's order
	high, low  int // successive approximation: bit positions before and after
	mcusX      int
	mcusY      int
}

// scan reads a scan header and the scan.
func (d *decoder) scan() error {
	s, err := d.segment()
	if err != nil {
		return err
	}
	if d.comps == nil {
		return damaged("a scan comes before the frame header")
	}
	p, err := d.scanHeader(s)
	if err != nil {
		return err
	}
	if err := d.limit(p); err != nil {
		return err
	}
	d.scans++
	if d.scans == 1 {
		d.allocate(len(p.comps))
	}
	for _, c := range p.comps {
		if c.quant == nil {
			if int(c.table) >= len(d.quant) || d.quant[c.table] == nil {
				return damaged("it lacks quantization table %d", c.table)
			}
			c.quant = d.quant[c.table]
			for k, q := range c.quant[:64] {
				c.natural[zigzag[k]] = q
			}
		}
	}
	d.drop()
	decode, err := d.entropy(p)
	if err != nil {
		return err
	}
	d.short = false
	d.toGo, d.nextRestart = d.interval, 0
	if d.comps[0].coefs == nil {
		err = d.transformMCUs(p, decode)
	} else {
		err = d.storeMCUs(p, decode)
	}
	d.skip(d.drop())
	return err
}

// scanHeader checks a scan header and works out the scan's MCUs.
func (d *decoder) scanHeader(s []byte) (*scanParams, error) {
	if len(s) < 1 || s[0] < 1 || s[0] > 4 || len(s) != 4+2*int(s[0]) {
		return nil, damaged("its scan header is %d bytes long", len(s))
	}
	p := &scanParams{comps: make([]*component, s[0])}
	for i := range p.comps {
		id, tables := s[1+2*i], s[2+2*i]
		for j := range d.comps {
			// Of several components with one number, each comes once.
			if d.comps[j].id == id && (j >= len(p.comps) || p.comps[j] == nil) {
				p.comps[i] = &d.comps[j]
				break
			}
		}
		if p.comps[i] == nil {
			return nil, damaged("a scan is of component %d, which the frame does not have", id)
		}
		p.comps[i].dc, p.comps[i].ac = int(tables>>4), int(tables&15)
		for _, c := range p.comps[:i] {
			if c == p.comps[i] {
				return nil, damaged("a scan has component %d twice", id)
			}
		}
	}
	t := s[1+2*len(p.comps):]
	p.start, p.end, p.high, p.low = int(t[0]), int(t[1]), int(t[2]>>4), int(t[2]&15)
	if d.progressive {
		if bad := p.end > 63 || p.start > p.end || p.start == 0 && p.end > 0 || p.start > 0 && len(p.comps) > 1 ||
			p.high > 0 && p.low != p.high-1 || p.low > 13; bad {
			return nil, damaged("a progressive scan is of coefficients %d to %d, bits %d to %d", p.start, p.end, p.high, p.low)
		}
	} else {
		p.start, p.end, p.high, p.low = 0, 63, 0, 0 // some files have zeros there
	}
	return p, d.mcus(p)
}

// mcus works out how many MCUs a scan has and what is in one.
func (d *decoder) mcus(p *scanParams) error {
	if len(p.comps) == 1 {
		c := p.comps[0]
		p.mcusX, p.mcusY, c.blocksInX, c.blocksInY = c.blocksX, c.blocksY, 1, 1
		return nil
	}
	p.mcusX, p.mcusY = ceilDiv(d.w, 8*d.maxH), ceilDiv(d.h, 8*d.maxV)
	n := 0
	for _, c := range p.comps {
		c.blocksInX, c.blocksInY = c.h, c.v
		n += c.h * c.v
	}
	if n > 10 { // T.81 B.2.3
		return damaged("a scan has %d blocks in an MCU", n)
	}
	return nil
}

// blocks returns the number of blocks that a scan visits.
func (p *scanParams) blocks() int {
	n := 0
	for _, c := range p.comps {
		n += p.mcusX * p.mcusY * c.blocksInX * c.blocksInY
	}
	return n
}

// limit refuses files that would take forever: a scan of many blocks can be a
// few bytes.
func (d *decoder) limit(p *scanParams) error {
	n := 0
	for i := range d.comps {
		n += d.comps[i].blocksX * d.comps[i].blocksY
	}
	d.visited += p.blocks()
	if d.visited > max(64*n, 1<<22) {
		return damaged("it has %d scans, more than any picture needs", d.scans+1)
	}
	return nil
}

// allocate makes the planes. A file whose first scan has all there is needs no
// coefficients.
func (d *decoder) allocate(inScan int) {
	whole := !d.progressive && inScan == len(d.comps)
	for i := range d.comps {
		c := &d.comps[i]
		c.samples = make([]uint8, c.stride*c.rows)
		if !whole {
			c.coefs = make([][64]int16, c.stride/8*(c.rows/8))
		}
	}
}

// blockFunc decodes a block of a scan into coefficients that it may already
// have.
type blockFunc func(c *component, b *[64]int16)

// transformMCUs decodes a sequential scan that is the whole picture, block by
// block into samples.
func (d *decoder) transformMCUs(p *scanParams, decode blockFunc) error {
	var block [64]int32
	for my := range p.mcusY {
		for mx := range p.mcusX {
			d.beginMCU()
			for _, c := range p.comps {
				at := my*c.blocksInY*8*c.stride + mx*c.blocksInX*8
				for range c.blocksInY {
					for bx := range c.blocksInX {
						block = [64]int32{}
						last := 0
						switch {
						case d.short:
						case decode == nil:
							last = d.block(&block, c.quant, c.dcTab, c.acTab, &c.pred)
						default:
							last = d.dequantized(&block, c, decode)
						}
						idct(c.samples[at+bx*8:], c.stride, &block, last)
					}
					at += 8 * c.stride
				}
			}
			if err := d.endMCU(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// dequantized decodes a block by decode and multiplies it out.
func (d *decoder) dequantized(b *[64]int32, c *component, decode blockFunc) int {
	var coefs [64]int16
	decode(c, &coefs)
	return dequantize(b, &coefs, &c.natural)
}

// storeMCUs decodes a scan of one band of coefficients, or of some components,
// into the coefficients. A scan of several components has whole MCUs, and so
// blocks beyond the picture's edge; a scan of one has not.
func (d *decoder) storeMCUs(p *scanParams, decode blockFunc) error {
	for _, c := range p.comps {
		if c.scanned = c.scanned || p.start == 0; d.progressive {
			d.progress(c, p)
		}
	}
	for my := range p.mcusY {
		d.rowInScan = my
		if len(p.comps) == 1 {
			d.rowInScan = my / p.comps[0].v
		}
		for mx := range p.mcusX {
			d.beginMCU()
			if !d.short {
				d.lastGoodRow = d.rowInScan
				for _, c := range p.comps {
					for by := range c.blocksInY {
						at := (my*c.blocksInY+by)*(c.stride/8) + mx*c.blocksInX
						for bx := range c.blocksInX {
							decode(c, &c.coefs[at+bx])
						}
					}
				}
			}
			if err := d.endMCU(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// progress notes what a progressive scan adds to a component.
func (d *decoder) progress(c *component, p *scanParams) {
	if p.start > 0 && c.known[0] < 0 {
		d.damage |= scanOrder
	}
	for k := min(p.start, 1); k <= max(p.end, 9); k++ {
		c.before[k] = 0
		if d.scans > 1 {
			c.before[k] = c.known[k]
		}
	}
	for k := p.start; k <= p.end; k++ {
		if int(max(c.known[k], 0)) != p.high {
			d.damage |= scanOrder
		}
		c.known[k] = int8(p.low)
	}
}
