package jpeg

import "encoding/binary"

// Markers (T.81 table B.1).
const (
	markerSOF0  = 0xC0 // baseline
	markerSOF1  = 0xC1 // extended sequential
	markerSOF2  = 0xC2 // progressive
	markerSOF3  = 0xC3 // lossless
	markerDHT   = 0xC4
	markerSOF9  = 0xC9 // extended sequential, arithmetic
	markerSOF10 = 0xCA // progressive, arithmetic
	markerDAC   = 0xCC
	markerSOF15 = 0xCF
	markerRST0  = 0xD0
	markerRST7  = 0xD7
	markerSOI   = 0xD8
	markerEOI   = 0xD9
	markerSOS   = 0xDA
	markerDQT   = 0xDB
	markerDRI   = 0xDD
	markerAPP0  = 0xE0
	markerAPP1  = 0xE1
	markerAPP14 = 0xEE
	markerAPP15 = 0xEF
	markerCOM   = 0xFE
	markerTEM   = 0x01
)

// header deals with a marker that is neither EOI nor SOS.
func (d *decoder) header(m byte) error {
	if m == markerTEM || m >= markerRST0 && m <= markerRST7 {
		return nil // they stand alone
	}
	if m == markerSOI {
		return damaged("it begins a second time before its end")
	}
	s, err := d.segment()
	if err != nil {
		return err
	}
	switch m {
	case markerDQT:
		return d.quantization(s)
	case markerDHT:
		return d.huffmanTables(s)
	case markerDAC:
		return d.conditioning(s)
	case markerDRI:
		if len(s) != 2 {
			return damaged("its restart interval is %d bytes long", len(s))
		}
		d.interval = int(binary.BigEndian.Uint16(s))
	case markerAPP0:
		d.jfif = d.jfif || len(s) >= 14 && string(s[:5]) == "JFIF\x00"
	case markerAPP1:
		if d.exif == nil && len(s) > 6 && string(s[:6]) == "Exif\x00\x00" {
			d.exif = s[6:]
		}
	case markerAPP14:
		if len(s) >= 12 && string(s[:5]) == "Adobe" {
			d.adobe, d.transform = true, s[11]
		}
	case markerSOF0, markerSOF1, markerSOF2, markerSOF9, markerSOF10:
		return d.frame(m, s)
	default:
		return d.otherSegment(m)
	}
	return nil
}

// otherSegment says what is to be done about a segment that was passed over.
func (d *decoder) otherSegment(m byte) error {
	switch {
	case m > markerSOF0 && m <= markerSOF15:
		return unsupported("%s", otherProcess(m))
	case m < markerSOF0 || m > markerAPP15 && m < markerCOM:
		d.damage |= strangeMarkers
	}
	return nil
}

// otherProcess names the coding process of a frame that is not read.
func otherProcess(m byte) string {
	switch m {
	case markerSOF3, 0xCB:
		return "it is lossless"
	case 0xC8:
		return "it is of an extension"
	}
	return "it is hierarchical"
}

func (d *decoder) quantization(s []byte) error {
	for len(s) > 0 {
		table, wide := int(s[0]&15), int(s[0]>>4)
		size := 64
		if wide != 0 {
			size = 128
		}
		if table >= len(d.quant) || len(s) < 1+size {
			return damaged("its quantization tables are not as their length says")
		}
		q := new(quant)
		for k := range 64 {
			if wide != 0 {
				q[k] = int32(int16(binary.BigEndian.Uint16(s[1+2*k:])))
			} else {
				q[k] = int32(s[1+k])
			}
		}
		for k := 64; k < len(q); k++ {
			q[k] = q[63]
		}
		d.quant[table] = q
		s = s[1+size:]
	}
	return nil
}

func (d *decoder) huffmanTables(s []byte) error {
	for len(s) > 16 {
		class, table := s[0]>>4, int(s[0]&15)
		spec := new(huffmanSpec)
		count := 0
		for i, n := range s[1:17] {
			spec.counts[i+1] = n
			count += int(n)
		}
		if count > 256 || 17+count > len(s) || class > 1 || table >= len(d.specs[0]) {
			return damaged("its Huffman tables are not as their length says")
		}
		copy(spec.values[:], s[17:17+count])
		d.specs[class][table], d.tables[class][table] = spec, nil
		s = s[17+count:]
	}
	if len(s) > 0 {
		return damaged("its Huffman tables are not as their length says")
	}
	return nil
}

// conditioning reads the parameters of arithmetic coding.
func (d *decoder) conditioning(s []byte) error {
	if len(s)%2 != 0 {
		return damaged("its arithmetic conditioning is %d bytes long", len(s))
	}
	for ; len(s) > 0; s = s[2:] {
		table, v := s[0], s[1]
		switch {
		case table >= 32 || table < 16 && v&15 > v>>4:
			return damaged("its arithmetic conditioning is out of range")
		case table >= 16:
			d.arith.kx[table-16] = v
		default:
			d.arith.low[table], d.arith.high[table] = v&15, v>>4
		}
	}
	return nil
}
