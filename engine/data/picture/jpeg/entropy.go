package jpeg

// entropy makes a scan's tables ready and returns the function that decodes its
// blocks into coefficients, or nil for the scan of a sequential Huffman file that
// is transformed at once (see [decoder.block]).
func (d *decoder) entropy(p *scanParams) (blockFunc, error) {
	d.params = p
	d.resetEntropy()
	if d.arithmetic {
		return d.arithmeticFunc(p), nil
	}
	for _, c := range p.comps {
		var err error
		if p.start == 0 && p.high == 0 {
			if c.dcTab, err = d.table(0, c.dc); err != nil {
				return nil, err
			}
		}
		if p.end > 0 {
			if c.acTab, err = d.table(1, c.ac); err != nil {
				return nil, err
			}
		}
	}
	switch {
	case !d.progressive && p.comps[0].coefs == nil:
		return nil, nil
	case !d.progressive:
		return d.sequentialBlock, nil
	case p.start == 0 && p.high == 0:
		return d.firstDC, nil
	case p.start == 0:
		return d.refineDC, nil
	case p.high == 0:
		return d.firstAC, nil
	}
	return d.refineAC, nil
}

// resetEntropy puts the entropy decoder at the start of a scan or a restart
// interval.
func (d *decoder) resetEntropy() {
	d.eobRun = 0
	for _, c := range d.params.comps {
		c.pred, c.dcContext = 0, 0
	}
	if d.arithmetic {
		d.arith.reset(d.params)
	}
}

// table returns Huffman table n of a class (0: DC, 1: AC). A file that defines
// none means the standard's, if it is there at all.
func (d *decoder) table(class, n int) (*huffman, error) {
	if n >= len(d.specs[class]) {
		return nil, damaged("a scan wants Huffman table %d", n)
	}
	if d.tables[class][n] != nil {
		return d.tables[class][n], nil
	}
	spec := d.specs[class][n]
	if spec == nil {
		if n > 1 {
			return nil, damaged("it lacks a Huffman table")
		}
		spec = standardSpecs[class][n]
	}
	h := new(huffman)
	if err := h.build(spec, class == 0); err != nil {
		return nil, err
	}
	d.tables[class][n] = h
	return h, nil
}

// sequentialBlock decodes a block of a sequential scan of some components.
func (d *decoder) sequentialBlock(c *component, b *[64]int16) {
	var block [64]int32
	d.block(&block, &ones, c.dcTab, c.acTab, &c.pred)
	b[0] = int16(block[0])
	for i, v := range block[1:] {
		if v != 0 { // a second scan of the same adds to the first, as in libjpeg
			b[1+i] = int16(v)
		}
	}
}

var ones = func() (q quant) {
	for k := range q {
		q[k] = 1
	}
	return q
}()

// dequantize multiplies a block out, to 16 bits as libjpeg's vector code does,
// and returns 0 if only the DC coefficient is not zero, else 63.
func dequantize(dst *[64]int32, coefs *[64]int16, q *[64]int32) (last int) {
	any := int16(0)
	for i, v := range coefs[1:] {
		any |= v
		dst[i+1] = int32(int16(int32(v) * q[i+1]))
	}
	dst[0] = int32(int16(int32(coefs[0]) * q[0]))
	if any != 0 {
		last = 63
	}
	return last
}
