package pickle

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

const opStop = '.'

// operations is what each opcode does. An opcode without one is unknown.
var operations = [256]func(*machine) error{
	0x80: proto, 0x95: frame,
	'(': (*machine).mark, '0': pop, '1': popMark, '2': dup,

	'N':  func(m *machine) error { return m.push(nil) },
	0x88: func(m *machine) error { return m.push(true) },
	0x89: func(m *machine) error { return m.push(false) },
	'I':  textInt, 'L': textLong, 'F': textFloat, 'G': binFloat,
	'K':  func(m *machine) error { return m.unsigned(1) },
	'M':  func(m *machine) error { return m.unsigned(2) },
	'J':  binInt,
	0x8a: func(m *machine) error { return m.long(1) },
	0x8b: func(m *machine) error { return m.long(4) },

	'S': quoted, 'V': unicode,
	'T':  func(m *machine) error { return m.text(4) },
	'U':  func(m *machine) error { return m.text(1) },
	'X':  func(m *machine) error { return m.text(4) },
	0x8c: func(m *machine) error { return m.text(1) },
	0x8d: func(m *machine) error { return m.text(8) },
	'B':  func(m *machine) error { return m.bytes(4) },
	'C':  func(m *machine) error { return m.bytes(1) },
	0x8e: func(m *machine) error { return m.bytes(8) },
	0x96: func(m *machine) error { return m.bytes(8) },

	')':  func(m *machine) error { return m.push(Tuple(nil)) },
	't':  tuple,
	0x85: func(m *machine) error { return m.tupleOf(1) },
	0x86: func(m *machine) error { return m.tupleOf(2) },
	0x87: func(m *machine) error { return m.tupleOf(3) },
	']':  func(m *machine) error { return m.box(&List{}, 0) },
	0x8f: func(m *machine) error { return m.box(&List{}, 0) },
	'l':  list, 0x91: list,
	'a': appendOne, 'e': appends, 0x90: appends,
	'}': func(m *machine) error { return m.box(&Dict{}, 16) },
	'd': dict, 's': setItem, 'u': setItems,

	'g': textGet, 'p': textPut, 0x94: memoize,
	'h': func(m *machine) error { return m.sizedMemo(1, m.get) },
	'j': func(m *machine) error { return m.sizedMemo(4, m.get) },
	'q': func(m *machine) error { return m.sizedMemo(1, m.put) },
	'r': func(m *machine) error { return m.sizedMemo(4, m.put) },

	'c': global, 0x93: stackGlobal, 'R': reduce, 0x81: reduce, 0x92: newObjectEx,
	'i': inst, 'o': object, 'b': (*machine).build, 'P': textPersistent, 'Q': persistent,
	0x82: extension, 0x83: extension, 0x84: extension, 0x97: outOfBand, 0x98: outOfBand,
}

func proto(m *machine) error {
	b, err := m.next(1)
	if err == nil && b[0] > 5 {
		return named.Refused("pickle it with protocol 5 or lower", "its pickle is of protocol %d", b[0])
	}
	return err
}

// frame checks a frame's length; frames have no other meaning here.
func frame(m *machine) error {
	n, err := m.size(8)
	if left := uint64(len(m.b) - m.at); err == nil && n > left {
		return named.Damaged("its pickle announces a frame of %d bytes at byte %d, but only %d follow", n, m.at, left)
	}
	return err
}

// pop takes the top of the stack away, or a mark.
func pop(m *machine) error {
	if n := len(m.marks); n > 0 && len(m.stack) == m.floor() {
		m.marks = m.marks[:n-1]
		return nil
	}
	_, err := m.pop()
	return err
}

func popMark(m *machine) error {
	_, err := m.popMark()
	return err
}

func dup(m *machine) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) unsigned(bytes uint64) error {
	n, err := m.size(bytes)
	if err != nil {
		return err
	}
	return m.number(int64(n))
}

func (m *machine) number(v any) error {
	if err := m.take(1, 8); err != nil {
		return err
	}
	return m.push(v)
}

func binInt(m *machine) error {
	n, err := m.size(4)
	if err != nil {
		return err
	}
	return m.number(int64(int32(uint32(n))))
}

func (m *machine) long(bytes uint64) error {
	b, err := m.sized(bytes)
	if err != nil {
		return err
	}
	v, err := integer(b)
	if err != nil {
		return err
	}
	return m.box(v, 4*len(b))
}

// textInt reads a decimal line, or a truth value, "00" or "01".
func textInt(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	switch string(b) {
	case "00":
		return m.push(false)
	case "01":
		return m.push(true)
	}
	return m.decimal(b)
}

func textLong(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if n := len(b); n > 0 && b[n-1] == 'L' {
		b = b[:n-1]
	}
	return m.decimal(b)
}

func (m *machine) decimal(b []byte) error {
	if len(b) > 160 {
		return named.Damaged("its pickle has an integer of %d digits, more than 160", len(b))
	}
	n, ok := new(big.Int).SetString(string(b), 10)
	if !ok {
		return named.Damaged("its pickle has %s in the place of an integer", named.Quote(string(b)))
	}
	return m.box(narrow(n), 4*len(b))
}

func textFloat(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	if len(b) > 400 {
		return named.Damaged("its pickle has a float of %d digits, more than 400", len(b))
	}
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil && !math.IsInf(v, 0) {
		return named.Damaged("its pickle has %s in the place of a float", named.Quote(string(b)))
	}
	return m.box(v, len(b))
}

func binFloat(m *machine) error {
	b, err := m.next(8)
	if err != nil {
		return err
	}
	return m.number(math.Float64frombits(binary.BigEndian.Uint64(b)))
}

func (m *machine) text(bytes uint64) error {
	b, err := m.sized(bytes)
	if err != nil {
		return err
	}
	return m.string(b)
}

func (m *machine) string(b []byte) error {
	if err := m.take(1, len(b)); err != nil {
		return err
	}
	return m.box(string(b), 0)
}

func (m *machine) bytes(bytes uint64) error {
	b, err := m.sized(bytes)
	if err != nil {
		return err
	}
	return m.box(Bytes(b), 0)
}

// quoted reads a string of Python 2: a line that is a literal.
func quoted(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	n := len(b)
	if n < 2 || b[0] != b[n-1] || b[0] != '\'' && b[0] != '"' {
		return named.Damaged("its pickle has %s in the place of a quoted string", named.Quote(string(b)))
	}
	return m.escaped(b[1:n-1], b[0])
}

// unicode reads a line with \u escapes.
func unicode(m *machine) error {
	b, err := m.line()
	if err != nil {
		return err
	}
	return m.escaped(b, 0)
}

// escaped pushes a string written with a backslash before what is not plain.
// In text (without a quote) only \u and \U are escapes, and other bytes are
// letters of Latin-1.
func (m *machine) escaped(b []byte, quote byte) error {
	if err := m.take(6, len(b)); err != nil {
		return err
	}
	var s strings.Builder
	s.Grow(len(b))
	for i := 0; i < len(b); {
		if b[i] != '\\' || quote == 0 && (i+1 == len(b) || b[i+1] != 'u' && b[i+1] != 'U') {
			if quote == 0 { // Latin-1 apart from the escapes
				s.WriteRune(rune(b[i]))
			} else {
				s.WriteByte(b[i])
			}
			i++
			continue
		}
		n := escape(b[i:], &s)
		if n == 0 {
			return named.Damaged("its pickle has a string with a broken escape before byte %d", m.at)
		}
		i += n
	}
	return m.box(s.String(), 0)
}

// simple are the escapes of one letter.
var simple = map[byte]byte{'\\': '\\', '\'': '\'', '"': '"', 'n': '\n', 't': '\t', 'r': '\r', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v'}

// escape writes what the escape at the beginning of b stands for and returns
// its length, or 0 where it is none.
func escape(b []byte, s *strings.Builder) int {
	if len(b) < 2 {
		return 0
	}
	if c, ok := simple[b[1]]; ok {
		s.WriteByte(c)
		return 2
	}
	digits, ok := map[byte]int{'x': 2, 'u': 4, 'U': 8}[b[1]]
	if !ok || len(b) < 2+digits {
		return 0
	}
	v, err := strconv.ParseUint(string(b[2:2+digits]), 16, 32)
	if err != nil {
		return 0
	}
	if b[1] == 'x' {
		s.WriteByte(byte(v))
	} else {
		s.WriteRune(rune(v))
	}
	return 2 + digits
}
