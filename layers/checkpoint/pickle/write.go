package pickle

import (
	"encoding/binary"
	"math"
	"strings"
)

// A Writer builds a pickle of protocol 2 or 3, byte for byte as CPython's
// pickler would: its memo is filled in the same order, and strings and names
// that it has put there are taken from it. The methods append what they are
// named after; the caller keeps the order that the stack machine needs.
type Writer struct {
	b       []byte
	memo    int
	globals map[string]int
	texts   map[string]int
}

// NewWriter begins a pickle of the protocol.
func NewWriter(protocol int) *Writer {
	return &Writer{b: []byte{0x80, byte(protocol)}, globals: map[string]int{}, texts: map[string]int{}}
}

// Ops appends plain opcodes.
func (w *Writer) Ops(ops string) { w.b = append(w.b, ops...) }

// Stop ends the pickle and returns it.
func (w *Writer) Stop() []byte {
	w.b = append(w.b, opStop)
	return w.b
}

// Put puts the top of the stack into the memo and returns its number.
func (w *Writer) Put() int {
	n := w.memo
	w.memo++
	w.number('q', 'r', n)
	return n
}

// Get takes a value from the memo.
func (w *Writer) Get(n int) { w.number('h', 'j', n) }

func (w *Writer) number(short, long byte, n int) {
	if n < 256 {
		w.b = append(w.b, short, byte(n))
	} else {
		w.b = binary.LittleEndian.AppendUint32(append(w.b, long), uint32(n))
	}
}

// Global names a module's class or function, "module name".
func (w *Writer) Global(name string) {
	if n, ok := w.globals[name]; ok {
		w.Get(n)
		return
	}
	w.Ops("c" + strings.Replace(name, " ", "\n", 1) + "\n")
	w.globals[name] = w.Put()
}

// Text writes a str, once.
func (w *Writer) Text(s string) {
	if n, ok := w.texts[s]; ok {
		w.Get(n)
		return
	}
	w.b = binary.LittleEndian.AppendUint32(append(w.b, 'X'), uint32(len(s)))
	w.b = append(w.b, s...)
	w.texts[s] = w.Put()
}

// Bytes writes a bytes object, of protocol 3.
func (w *Writer) Bytes(b []byte) {
	if len(b) < 256 {
		w.b = append(w.b, 'C', byte(len(b)))
	} else {
		w.b = binary.LittleEndian.AppendUint32(append(w.b, 'B'), uint32(len(b)))
	}
	w.b = append(w.b, b...)
}

// Int writes an int.
func (w *Writer) Int(n int) {
	switch {
	case n >= 0 && n < 1<<8:
		w.b = append(w.b, 'K', byte(n))
	case n >= 0 && n < 1<<16:
		w.b = binary.LittleEndian.AppendUint16(append(w.b, 'M'), uint16(n))
	case n >= math.MinInt32 && n <= math.MaxInt32:
		w.b = binary.LittleEndian.AppendUint32(append(w.b, 'J'), uint32(int32(n)))
	default:
		// As few bytes of two's complement as keep the sign.
		wide := binary.LittleEndian.AppendUint64(nil, uint64(n))
		k := 8
		for k > 1 && (wide[k-1] == 0 && wide[k-2] < 0x80 || wide[k-1] == 0xff && wide[k-2] >= 0x80) {
			k--
		}
		w.b = append(append(w.b, 0x8a, byte(k)), wide[:k]...)
	}
}

// Bool writes a truth value.
func (w *Writer) Bool(v bool) {
	if v {
		w.Ops("\x88")
	} else {
		w.Ops("\x89")
	}
}

// Ints writes a tuple of ints.
func (w *Writer) Ints(n []int) {
	if len(n) > 3 {
		w.Ops("(")
	}
	for _, v := range n {
		w.Int(v)
	}
	w.Tuple(len(n))
	if len(n) > 0 {
		w.Put()
	}
}

// Tuple makes a tuple of the last n values; above three they follow a mark. It
// is not put into the memo.
func (w *Writer) Tuple(n int) {
	w.Ops([]string{")", "\x85", "\x86", "\x87", "t"}[min(n, 4)])
}
