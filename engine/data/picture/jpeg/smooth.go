package jpeg

// kernel weighs the DC coefficients of a block and its neighbors, row by row.
type kernel [25]int16

// The estimates of the first coefficients from the DC coefficients around, in
// 1/256, by their numbers in the file's order (T.81 K.8, widened to 5×5 blocks
// by libjpeg-turbo 2.1): where no AC coefficient is known yet, of all ten, by a
// bell-shaped kernel that smooths the DC coefficient too; else of the first five
// AC coefficients.
var smoothAll = [10]kernel{
	{-2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8, -6, -2},
	{-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1},
	{-1, -3, -3, -3, -1, -1, 13, 38, 13, -1, 0, 0, 0, 0, 0, 1, -13, -38, -13, 1, 1, 3, 3, 3, 1},
	{0, 0, 1, 0, 0, 0, 2, 7, 2, 0, 0, -5, -14, -5, 0, 0, 2, 7, 2, 0, 0, 0, 1, 0, 0},
	{-1, 0, 0, 0, 1, 0, 9, 0, -9, 0, 0, 0, 0, 0, 0, 0, -9, 0, 9, 0, 1, 0, 0, 0, -1},
	{0, 0, 0, 0, 0, 0, 2, -5, 2, 0, 1, 7, -14, 7, 1, 0, 2, -5, 2, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 2, 0, -2, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, -3, 1, 0, 0, 0, 0, 0, 0, 0, -1, 3, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, -3, 0, 3, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, -1, -2, -1, 0, 0, 0, 0, 0, 0},
}

var smoothFive = [6]kernel{
	{},
	{10: -7, 11: 50, 13: -50, 14: 7},
	{2: -7, 7: 50, 17: -50, 22: 7},
	{2: -1, 7: 13, 12: -24, 17: 13, 22: -1},
	{0, -1, 0, 1, 0, -1, 10, 0, -10, 1, 0, 0, 0, 0, 0, 1, -10, 0, 10, -1, 0, 1, 0, -1, 0},
	{10: -1, 11: 13, 12: -24, 13: 13, 14: -1},
}

// smooths reports whether blocks are smoothed: in a progressive file of which
// some of the first coefficients are not known to the last bit.
func (d *decoder) smooths() bool {
	useful := false
	for i := range d.comps {
		c := &d.comps[i]
		if !d.progressive || c.quant == nil || c.known[0] < 0 {
			return false
		}
		for k := range 10 {
			if c.quant[k] == 0 {
				return false
			}
			useful = useful || k > 0 && c.known[k] != 0
		}
	}
	return useful
}

// precision returns the bits known of the first coefficients in a row of MCUs.
// Below where the last scan ended early, they are those before it.
func (d *decoder) precision(c *component, mcuRow int) (bits [10]int8, none bool) {
	copy(bits[:], c.known[:])
	if mcuRow > d.lastGoodRow {
		for k := range bits {
			if bits[k] = -1; d.scans > 1 {
				bits[k] = c.before[k]
			}
		}
	}
	for _, b := range bits[1:] {
		if b != -1 {
			return bits, false
		}
	}
	return bits, true
}

// smooth estimates what is not known of a block in row y (of blocks), column x.
func (d *decoder) smooth(b *[64]int16, c *component, y, x int) {
	bits, none := d.precision(c, y/c.v)
	kernels := smoothFive[:]
	if none {
		kernels = smoothAll[:]
	}
	dc := d.around(c, y, x)
	for k := len(kernels) - 1; k >= 0; k-- {
		if k == 0 && !none || k > 0 && (bits[k] == 0 || b[zigzag[k]&63] != 0) {
			continue
		}
		sum := int64(0)
		for i, w := range kernels[k] {
			sum += int64(w) * int64(dc[i])
		}
		num, q := sum*int64(c.quant[0]), int64(c.quant[k])
		v := (q<<7 + max(num, -num)) / (q << 8)
		if limit := int64(1) << max(bits[k], 0); k > 0 && bits[k] > 0 && v >= limit {
			v = limit - 1
		}
		if num < 0 {
			v = -v
		}
		b[zigzag[k]&63] = int16(v)
	}
}

// around returns the DC coefficients of 5×5 blocks; beyond the edges, those at
// the edge count.
func (d *decoder) around(c *component, y, x int) (dc [25]int16) {
	// libjpeg counts rows in this way, which is not quite true in the last row
	// of MCUs if that is not a whole one.
	mcuRow, rows, last := y/c.v, c.v, ceilDiv(d.h, 8*d.maxV)-1
	if mcuRow == last && c.blocksY%c.v != 0 {
		rows = c.blocksY % c.v
	}
	row, end := mcuRow*rows+y%c.v, rows*(last+1)
	up, down := min(row, 2), min(end-1-row, 2)
	for i := range 5 {
		yy := y + max(min(i-2, down), -up)
		line := c.coefs[yy*(c.stride/8):]
		for j := range 5 {
			dc[5*i+j] = line[max(min(x+j-2, c.blocksX-1), 0)][0]
		}
	}
	return dc
}
