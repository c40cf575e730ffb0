package jpeg

// lookBits is the length of the codes that are decoded by one look into a table.
const lookBits = 9

// huffmanSpec is a table as DHT defines it: how many codes of each length there
// are, and their symbols in the order of the codes.
type huffmanSpec struct {
	counts [17]uint8 // by length; the first is unused
	values [256]uint8
}

// huffman decodes one table's codes. An entry of look, found by the next
// lookBits bits, has
//
//	bits 0…3   the length of code and amplitude, 0 where they do not fit
//	bits 4…7   the length of the code, 0 where it does not fit
//	bits 8…15  its symbol: in the upper half zeros before, in the lower the size
//	bits 16…31 the amplitude, signed
//
// An AC symbol of size 0, which is no coefficient, has no length with amplitude.
type huffman struct {
	look    [1 << lookBits]uint32
	maxCode [17]int32 // largest code of a length, -1: none
	offset  [17]int32 // index of a code's symbol, less the code
	values  [256]uint8
}

// build derives the tables. In tables of DC differences every symbol is a size,
// 15 at most, and there are no zeros before it.
func (h *huffman) build(s *huffmanSpec, dc bool) error {
	h.look = [1 << lookBits]uint32{}
	h.values = s.values
	code, index := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		n := int32(s.counts[l])
		h.maxCode[l], h.offset[l] = -1, index-code
		if n > 0 {
			h.maxCode[l] = code + n - 1
		}
		if index+n > 256 || n > 0 && code+n >= 1<<l { // no code is all ones
			return damaged("its Huffman table does not make a code")
		}
		for i := range n {
			sym := s.values[index+i]
			if dc && sym > 15 {
				return damaged("its Huffman table has a difference of %d bits", sym)
			}
			if l <= lookBits {
				h.enter(uint32(code+i)<<(lookBits-l), uint(l), sym, dc)
			}
		}
		index += n
		code = (code + n) << 1
	}
	return nil
}

// enter fills the entries of look that begin with a code of length l, the first
// of which is first.
func (h *huffman) enter(first uint32, l uint, sym uint8, dc bool) {
	size := uint(sym & 15)
	alone := uint32(l)<<4 | uint32(sym)<<8
	if size == 0 && !dc || l+size > lookBits {
		for i := range uint32(1) << (lookBits - l) {
			h.look[first+i] = alone
		}
		return
	}
	rest := lookBits - l - size
	for v := range uint32(1) << size {
		amplitude := extend(uint64(v)<<((64-size)&63), size)
		e := alone | uint32(l+size) | uint32(amplitude)<<16
		for i := range uint32(1) << rest {
			h.look[first+v<<rest+i] = e
		}
	}
}

// extend returns the amplitude of a size that the upper bits of acc code (T.81
// F.2.2.1): those that begin with a zero are negative.
func extend(acc uint64, size uint) int32 {
	if size == 0 {
		return 0
	}
	return int32(acc>>((64-size)&63)) + int32(^(int64(acc)>>63))&(-1<<size+1)
}

// badCode is the number of bits that a code that does not exist takes. Its
// symbol is 0.
const badCode = 17

// long decodes a code of more than lookBits bits.
func (h *huffman) long(acc uint64) (sym uint8, l uint) {
	for l = lookBits + 1; l <= 16; l++ {
		if code := int32(acc >> (64 - l)); code <= h.maxCode[l] {
			return h.values[uint8(code+h.offset[l])], l
		}
	}
	return 0, badCode
}

// symbol decodes one symbol.
func (d *decoder) symbol(h *huffman) uint8 {
	r := &d.reader
	if r.n < badCode {
		r.fill()
	}
	e := h.look[r.acc>>(64-lookBits)]
	sym, l := uint8(e>>8), uint(e>>4&15)
	if l == 0 {
		if sym, l = h.long(r.acc); l == badCode {
			d.damage |= badCodes
		}
	}
	r.acc <<= l & 63
	r.n -= l
	return sym
}
