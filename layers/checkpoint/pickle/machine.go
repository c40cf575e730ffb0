package pickle

import (
	"bytes"
	"encoding/binary"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// What objects cost at most, in bytes allocated from the first to the last,
// with slices that grow by doubling.
const (
	slotCost = 64  // a place on the stack, in a list, or in the memo's beginning
	boxCost  = 48  // a list, a dict's or tuple's header, a number
	dictCost = 384 // an entry of a dict, with its index
	memoCost = 192 // an entry of the memo out of order
)

// machine is the state of a decoding.
type machine struct {
	d     *Decoder
	b     []byte
	at    int
	stack []any
	marks []int
	dense []any         // the memo from 0 on
	memo  map[int64]any // the rest of it
	peak  int           // the largest number of stack places and marks paid for
}

// push appends to a slice that grows by doubling, so that all of its arrays
// together have at most four places for each in use.
func push[T any](s []T, v T) []T {
	if len(s) == cap(s) {
		grown := make([]T, len(s), max(2*cap(s), 2))
		copy(grown, s)
		s = grown
	}
	return append(s, v)
}

func (m *machine) take(n, bytes int) error { return m.d.Budget.Take(n, bytes) }

// paid pays for the stack's and the marks' growth.
func (m *machine) paid() error {
	if n := len(m.stack) + len(m.marks); n >= m.peak {
		if err := m.take(1, slotCost); err != nil {
			return err
		}
		m.peak = n + 1
	}
	return nil
}

func (m *machine) push(v any) error {
	if err := m.paid(); err != nil {
		return err
	}
	m.stack = push(m.stack, v)
	return nil
}

// box pushes a value whose own memory is bytes more than a header.
func (m *machine) box(v any, bytes int) error {
	if err := m.take(1, boxCost+bytes); err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) mark() error {
	if err := m.paid(); err != nil {
		return err
	}
	m.marks = push(m.marks, len(m.stack))
	return nil
}

// floor is the depth that the innermost mark protects.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) underflow() error {
	return named.Damaged("its pickle takes more from the stack than is there, at byte %d", m.at-1)
}

func (m *machine) pop() (any, error) {
	top, err := m.top()
	if err == nil {
		m.stack[len(m.stack)-1] = nil
		m.stack = m.stack[:len(m.stack)-1]
	}
	return top, err
}

func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, m.underflow()
	}
	return m.stack[len(m.stack)-1], nil
}

// popMark takes everything above the innermost mark, and the mark. The slice
// is valid until the next push.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, named.Damaged("its pickle looks for a mark that is not there, at byte %d", m.at-1)
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return items, nil
}

// next returns the next n bytes of the pickle, a view.
func (m *machine) next(n uint64) ([]byte, error) {
	if left := uint64(len(m.b) - m.at); n > left {
		return nil, named.Damaged("its pickle announces %d bytes at byte %d, but only %d follow", n, m.at, left)
	}
	b := m.b[m.at : m.at+int(n) : m.at+int(n)]
	m.at += int(n)
	return b, nil
}

// size reads a little-endian length of the given number of bytes.
func (m *machine) size(bytes uint64) (uint64, error) {
	b, err := m.next(bytes)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// sized reads a length of so many bytes, and as many bytes as it says.
func (m *machine) sized(bytes uint64) ([]byte, error) {
	n, err := m.size(bytes)
	if err != nil {
		return nil, err
	}
	return m.next(n)
}

// line reads up to a newline, without it.
func (m *machine) line() ([]byte, error) {
	n := bytes.IndexByte(m.b[m.at:], '\n')
	if n < 0 {
		return nil, named.Damaged("its pickle has a line at byte %d that does not end", m.at)
	}
	b := m.b[m.at : m.at+n]
	m.at += n + 1
	return b, nil
}

func (m *machine) put(i int64) error {
	top, err := m.top()
	if err != nil {
		return err
	}
	switch n := int64(len(m.dense)); {
	case i < 0:
		return named.Damaged("its pickle uses the memo %d, at byte %d", i, m.at-1)
	case i < n:
		m.dense[i] = top
	case i == n:
		if err := m.take(1, slotCost); err != nil {
			return err
		}
		m.dense = push(m.dense, top)
	default:
		if _, there := m.memo[i]; !there {
			if err := m.take(1, memoCost); err != nil {
				return err
			}
		}
		if m.memo == nil {
			m.memo = map[int64]any{}
		}
		m.memo[i] = top
	}
	return nil
}

func (m *machine) get(i int64) error {
	if i >= 0 && i < int64(len(m.dense)) {
		return m.push(m.dense[i])
	}
	v, ok := m.memo[i]
	if !ok {
		return named.Damaged("its pickle asks for memo %d, which was never set, at byte %d", i, m.at-1)
	}
	return m.push(v)
}

// global pushes a name, if it is allowed.
func (m *machine) global(module, name string) error {
	call, ok := m.d.Globals[module+" "+name]
	if !ok {
		return named.Refused(m.d.Fix, "its pickle names %s, which is not on the list of what is allowed (nothing was executed)", named.Plain(module+"."+name))
	}
	return m.box(&Global{Module: module, Name: name, call: call}, 64)
}

// call calls a name with the arguments, a tuple, and pushes the result.
func (m *machine) call(callee, args any) error {
	g, ok := callee.(*Global)
	if !ok {
		return named.Damaged("its pickle calls %s, at byte %d", Describe(callee), m.at-1)
	}
	list, ok := args.(Tuple)
	if !ok {
		return named.Damaged("its pickle calls %s with %s instead of a tuple", named.Plain(g.Module+"."+g.Name), Describe(args))
	}
	if g.call == nil {
		return named.Refused(m.d.Fix, "its pickle calls %s, which may only be named (nothing was executed)", named.Plain(g.Module+"."+g.Name))
	}
	v, err := g.call(list)
	if err != nil {
		return err
	}
	return m.box(v, 144)
}

// build gives the object on the stack its state.
func (m *machine) build() error {
	state, err := m.pop()
	if err != nil {
		return err
	}
	object, err := m.top()
	if err != nil {
		return err
	}
	switch object := object.(type) {
	case Stateful:
		return object.SetState(state)
	case *Dict, *List:
		return nil // attributes, as a state_dict's _metadata
	}
	return named.Damaged("its pickle sets the state of %s, at byte %d", Describe(object), m.at-1)
}
