package classlist

import (
	"bytes"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

// utf16Order tells whether b is UTF-16, and in which order its bytes are: by the
// byte order mark or, without one, by the zero bytes that letters of the Latin
// alphabet have in every second place.
func utf16Order(b []byte) (order unicode.Endianness, ok bool) {
	switch {
	case bytes.HasPrefix(b, []byte{0xFF, 0xFE}):
		return unicode.LittleEndian, true
	case bytes.HasPrefix(b, []byte{0xFE, 0xFF}):
		return unicode.BigEndian, true
	case len(b) < 2 || len(b)%2 != 0:
		return unicode.LittleEndian, false
	}
	var zero [2]int
	for i, c := range b {
		if c == 0 {
			zero[i%2]++
		}
	}
	if zero[0] > 0 {
		return unicode.BigEndian, zero[1] == 0 && zero[0] > len(b)/4
	}
	return unicode.LittleEndian, zero[1] > len(b)/4
}

// unicode16 returns a decoder that removes a byte order mark.
func unicode16(order unicode.Endianness) *encoding.Decoder {
	return unicode.UTF16(order, unicode.UseBOM).NewDecoder()
}
