package jpeg

import "encoding/binary"

// reader walks through a file: by byte through marker segments, by bit through
// entropy-coded data. acc holds the next bits, the first one uppermost; n says
// how many are valid. Where the data have come to a marker, zeros follow, as
// many as are asked for; pad counts them, so that n < pad tells that some have
// been used.
type reader struct {
	data   []byte
	pos    int
	acc    uint64
	n, pad uint
	marker byte // found in entropy-coded data and not yet dealt with; 0: none
	ended  bool // the file has ended, and marker is an EOI that is not there
}

// fill makes n at least 57.
func (r *reader) fill() {
	for r.n <= 56 {
		if r.marker != 0 {
			r.pad += 64 - r.n
			r.n = 64
			return
		}
		c, ok := r.dataByte()
		if !ok {
			continue
		}
		r.acc |= uint64(c) << (56 - r.n)
		r.n += 8
	}
}

// dataByte returns the next byte of entropy-coded data, or false at its end,
// with r.marker set. Any number of 0xFF before a zero stands for one.
func (r *reader) dataByte() (byte, bool) {
	if r.pos >= len(r.data) {
		r.end()
		return 0, false
	}
	c := r.data[r.pos]
	r.pos++
	if c != 0xFF {
		return c, true
	}
	for c == 0xFF {
		if r.pos >= len(r.data) {
			r.end()
			return 0, false
		}
		c = r.data[r.pos]
		r.pos++
	}
	if c != 0 {
		r.marker = c
		return 0, false
	}
	return 0xFF, true
}

func (r *reader) end() { r.marker, r.ended = markerEOI, true }

// overrun reports whether more bits were used than the data had.
func (r *reader) overrun() bool { return r.n < r.pad }

// drop forgets the bits at hand, at the start and at the end of a scan and at
// restart markers. It returns the number of whole bytes among them.
func (r *reader) drop() int {
	n := int(r.n-min(r.n, r.pad)) / 8
	r.acc, r.n, r.pad = 0, 0, 0
	return n
}

// bits returns the next k bits, 1 ≤ k ≤ 16.
func (r *reader) bits(k uint) int32 {
	if r.n < k {
		r.fill()
	}
	v := int32(r.acc >> ((64 - k) & 63))
	r.acc <<= k & 63
	r.n -= k
	return v
}

// bit returns the next bit.
func (r *reader) bit() bool {
	if r.n == 0 {
		r.fill()
	}
	v := r.acc>>63 != 0
	r.acc <<= 1
	r.n--
	return v
}

// nextMarker returns the next marker and the number of bytes that were skipped
// before it, padding not counted. At the end of the file it is EOI, with r.ended
// set.
func (r *reader) nextMarker() (m byte, skipped int) {
	if r.marker != 0 {
		m, r.marker = r.marker, 0
		return m, 0
	}
	for {
		for r.pos < len(r.data) && r.data[r.pos] != 0xFF {
			r.pos++
			skipped++
		}
		for r.pos < len(r.data) && r.data[r.pos] == 0xFF {
			r.pos++
		}
		if r.pos >= len(r.data) {
			r.ended = true
			return markerEOI, skipped
		}
		m = r.data[r.pos]
		r.pos++
		if m != 0 {
			return m, skipped
		}
		skipped += 2 // a stuffed zero: entropy-coded data
	}
}

// segment returns the content of a marker's segment, without its length. It
// fails where the file ends before.
func (r *reader) segment() ([]byte, error) {
	if r.pos+2 > len(r.data) {
		return nil, errCut
	}
	n := max(int(binary.BigEndian.Uint16(r.data[r.pos:])), 2) // shorter ones are taken for empty, as libjpeg does
	if r.pos+n > len(r.data) {
		return nil, errCut
	}
	s := r.data[r.pos+2 : r.pos+n]
	r.pos += n
	return s, nil
}
