package picture

import "bytes"

func isNetpbm(b []byte) bool {
	return len(b) >= 3 && b[0] == 'P' && b[1] >= '1' && b[1] <= '6' && (isSpace(b[2]) || b[2] == '#')
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

const pnm = "Netpbm file"

// netpbm decodes a picture of Netpbm's portable formats: bitmaps (P1, P4), gray
// (P2, P5) and color (P3, P6), plain or binary. Samples whose largest value is
// not 255 are scaled, rounded half to even.
func (d *decoder) netpbm() (Image, error) {
	kind := d.file[1] - '0'
	s := &netpbmScanner{b: d.file[2:]}
	w, h, most := s.number(), s.number(), 1
	if kind != 1 && kind != 4 {
		most = s.number()
	}
	if s.failed {
		return Image{}, damaged(pnm, "its header is not one")
	}
	if err := d.check(pnm, w, h); err != nil {
		return Image{}, err
	}
	if most < 1 || most > 65535 {
		return Image{}, damaged(pnm, "its largest value is not in 1…65535")
	}
	n := w * h
	if kind == 3 || kind == 6 {
		n *= 3
	}
	samples, err := s.samples(kind, w, h, n, most)
	if err != nil {
		return Image{}, err
	}
	m := Image{Pix: samples, H: h, W: w}
	if n == w*h {
		m.Pix = make([]uint8, 3*n)
		for i, v := range samples {
			m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = v, v, v
		}
	}
	if most > 255 && (kind == 2 || kind == 5) {
		d.noteGray16(s.largest, most)
	}
	return m, nil
}

// netpbmScanner reads numbers and samples.
type netpbmScanner struct {
	b       []byte
	failed  bool
	largest int
}

// skip passes over white space and comments.
func (s *netpbmScanner) skip() {
	for len(s.b) > 0 && (isSpace(s.b[0]) || s.b[0] == '#') {
		if s.b[0] == '#' {
			s.b = s.b[max(bytes.IndexAny(s.b, "\r\n"), 0):]
			if s.b[0] == '#' { // the comment is the last
				s.b = nil
				return
			}
		}
		s.b = s.b[1:]
	}
}

// number reads a number, and the one character of white space behind it.
func (s *netpbmScanner) number() int {
	s.skip()
	v, n := 0, 0
	for n < len(s.b) && n < 10 && s.b[n] >= '0' && s.b[n] <= '9' {
		v = 10*v + int(s.b[n]-'0')
		n++
	}
	if n == 0 || n < len(s.b) && !isSpace(s.b[n]) && s.b[n] != '#' {
		s.failed = true
		return 0
	}
	s.b = s.b[n:]
	if len(s.b) > 0 && isSpace(s.b[0]) {
		s.b = s.b[1:]
	}
	return v
}

// samples reads n samples, as values of 0…255.
func (s *netpbmScanner) samples(kind byte, w, h, n, most int) ([]uint8, error) {
	if kind == 4 {
		return s.bits(w, h)
	}
	width := 1
	if most > 255 {
		width = 2
	}
	if kind > 4 && len(s.b) < n*width || kind < 4 && len(s.b) < n {
		return nil, errCut // a plain sample has one digit at least
	}
	scale, out := scaleTable(most), make([]uint8, n)
	for i := range out {
		v := 0
		switch {
		case kind == 1:
			v = s.bit()
		case kind < 4:
			v = s.number()
		case width == 1:
			v = int(s.b[i])
		default:
			v = int(s.b[2*i])<<8 | int(s.b[2*i+1])
		}
		switch {
		case kind < 4 && s.failed && len(s.b) == 0:
			return nil, errCut
		case kind < 4 && (s.failed || v > most):
			return nil, damaged(pnm, "a sample of it is not a number, or too large")
		}
		s.largest = max(s.largest, v)
		out[i] = scale[min(v, most)]
	}
	if kind == 1 {
		invert(out)
	}
	return out, nil
}

// bit reads a digit of a plain bitmap, with or without white space around.
func (s *netpbmScanner) bit() int {
	s.skip()
	if len(s.b) == 0 || s.b[0] != '0' && s.b[0] != '1' {
		s.failed = true
		return 0
	}
	v := int(s.b[0] - '0')
	s.b = s.b[1:]
	return v
}

// bits reads a binary bitmap, whose rows are whole bytes. 1 is black.
func (s *netpbmScanner) bits(w, h int) ([]uint8, error) {
	stride := (w + 7) / 8
	if len(s.b) < stride*h {
		return nil, errCut
	}
	out := make([]uint8, w*h)
	for y := range h {
		for x := range w {
			if s.b[y*stride+x/8]<<(x%8)&0x80 == 0 {
				out[y*w+x] = 255
			}
		}
	}
	return out, nil
}

func invert(b []uint8) {
	for i := range b {
		b[i] = ^b[i]
	}
}

// scaleTable gives the values of 0…255 for those of 0…most.
func scaleTable(most int) []uint8 {
	t := make([]uint8, most+1)
	for v := range t {
		q, rest := v*255/most, v*255%most
		if 2*rest > most || 2*rest == most && q%2 == 1 {
			q++
		}
		t[v] = uint8(q)
	}
	return t
}
