// Package pickle decodes Python's pickles, protocols 0 to 5, and executes
// nothing.
//
// A pickle is a program for a stack machine that may name and call anything
// that Python can import. Here the caller says which names may appear
// ([Decoder.Globals]) and what each does when it is called; any other name, the
// extension registry and out-of-band buffers end the decoding with an error.
// The machine itself is described in CPython's Lib/pickletools.py.
//
// # Values
//
//	None                 nil
//	bool, int, float     bool, int64 (or *big.Int, up to 64 bytes), float64
//	str; str of Python 2 string
//	bytes, bytearray     Bytes, a view into the input
//	tuple                Tuple
//	list, set, frozenset *List
//	dict                 *Dict
//	a name               *Global
//
// and whatever the functions of the caller return. Values may contain
// themselves: who walks through them must follow what it looks for, to a known
// depth, and not all that is there.
//
// # Limits
//
// Every length is held against what is left of the input before anything is
// allocated, and every object is taken from a [named.Budget]. Integers have at
// most 64 bytes, or 160 digits. There is no recursion. A memo's index is only a
// name: a large one costs nothing.
package pickle

import (
	"bytes"
	"math/big"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

type (
	// Bytes are the bytes of a bytes object.
	Bytes []byte
	// A Tuple is a tuple.
	Tuple []any
	// A List is a list or a set.
	List struct{ Items []any }
	// A Global is a name on the list of those allowed, not yet called.
	Global struct {
		Module, Name string
		call         Func
	}
	// A Record is an object of a class that is known by name only: what it was
	// made with, and the state that was set. See [Inert].
	Record struct {
		Module, Name string
		Args         Tuple
		State        any
	}
)

// A Func stands for a Python function or class where a pickle calls it.
type Func func(args Tuple) (any, error)

// Call calls what the name stands for, in a Func whose arguments name another.
func (g *Global) Call(args Tuple) (any, error) {
	if g.call == nil {
		return nil, named.Damaged("its pickle calls %s, which may only be named", named.Plain(g.Module+"."+g.Name))
	}
	return g.call(args)
}

// A Stateful value takes the state that a pickle's BUILD gives it.
type Stateful interface{ SetState(state any) error }

// SetState keeps the state.
func (r *Record) SetState(state any) error {
	r.State = state
	return nil
}

// Inert returns what stands for a class whose objects are not needed, as a
// [Record].
func Inert(module, name string) Func {
	return func(args Tuple) (any, error) { return &Record{Module: module, Name: name, Args: args}, nil }
}

// A Decoder knows what a pickle may name.
type Decoder struct {
	// Globals maps "module name", with a space between, to what a call of it
	// does; nil where it may be named but not called.
	Globals map[string]Func
	// Persistent returns the object that a persistent identifier stands for.
	// Without it such identifiers are refused.
	Persistent func(id any) (any, error)
	// Budget is the memory left. It must be set.
	Budget *named.Budget
	// Fix is what to do about a name that is not allowed.
	Fix string
}

// Decode decodes the pickle that b begins with, and returns how many bytes it
// has. Every error is a [*named.FormatError] without a path, unless a function
// of the Decoder returns another.
func (d *Decoder) Decode(b []byte) (v any, n int, err error) {
	m := &machine{d: d, b: b}
	for {
		at := m.at
		if at >= len(b) {
			return nil, 0, named.Damaged("its pickle ends at byte %d without a STOP", at)
		}
		op := b[at]
		m.at++
		if op == opStop {
			v, err := m.pop()
			if err != nil {
				return nil, 0, err
			}
			return v, m.at, nil
		}
		run := operations[op]
		if run == nil {
			return nil, 0, named.Damaged("its pickle has the unknown opcode 0x%02x at byte %d", op, at)
		}
		if err := run(m); err != nil {
			return nil, 0, err
		}
	}
}

// Int returns v as an int, if it is an integer that fits.
func Int(v any) (int, bool) {
	n, ok := v.(int64)
	return int(n), ok && int64(int(n)) == n
}

// Ints returns the items of a tuple or list of integers, of at most 64.
func Ints(v any) ([]int, bool) {
	var items []any
	switch v := v.(type) {
	case Tuple:
		items = v
	case *List:
		items = v.Items
	default:
		return nil, false
	}
	if len(items) > 64 {
		return nil, false
	}
	out := make([]int, len(items))
	for i, item := range items {
		n, ok := Int(item)
		if !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// Describe names the kind of a value, for an error's line.
func Describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "a bool"
	case int64, *big.Int:
		return "an int"
	case float64:
		return "a float"
	case string:
		return "a str"
	case Bytes:
		return "bytes"
	case Tuple:
		return "a tuple"
	case *List:
		return "a list"
	case *Dict:
		return "a dict"
	case *Array:
		return "a NumPy array"
	case *Global:
		return "the name " + named.Plain(v.Module+"."+v.Name)
	case *Record:
		return "a " + named.Plain(v.Module+"."+v.Name)
	}
	return "an object"
}

// integer decodes a little-endian two's complement number of at most 64 bytes.
func integer(b []byte) (any, error) {
	if len(b) > 64 {
		return nil, named.Damaged("its pickle has an integer of %d bytes, more than 64", len(b))
	}
	if len(b) == 0 {
		return int64(0), nil
	}
	if len(b) <= 8 {
		var u uint64
		for i, c := range b {
			u |= uint64(c) << (8 * i)
		}
		shift := 64 - 8*len(b)
		return int64(u<<shift) >> shift, nil
	}
	turned := bytes.Clone(b)
	for i, j := 0, len(turned)-1; i < j; i, j = i+1, j-1 {
		turned[i], turned[j] = turned[j], turned[i]
	}
	n := new(big.Int).SetBytes(turned)
	if turned[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return narrow(n), nil
}

// narrow returns an int64 where n fits into one.
func narrow(n *big.Int) any {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}
