package layers

import (
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine"
)

// A StateDict is the content of a model as PyTorch's state_dict has it: its
// names, its order, its layouts.
type StateDict []Entry

// An Entry is one tensor of a StateDict.
type Entry struct {
	Name  string
	Shape []int     // OIHW, [O,I], [C]; empty for a scalar
	Data  []float32 // row-major in Shape; nil for a counter
	Int   []int64   // the values of an int64 tensor (num_batches_tracked), else nil
	// Codes are what is stored in place of Data, which they decode to: those of
	// a quantized model. They are nil where Data is stored in full, and whoever
	// changes Data sets them to nil.
	Codes *Codes
}

// Encoding returns how the entry is stored.
func (e *Entry) Encoding() Encoding {
	if e.Codes == nil {
		return Encoding{}
	}
	return e.Codes.Encoding
}

// Integer reports whether the entry is an int64 tensor of PyTorch.
func (e *Entry) Integer() bool { return e.Int != nil }

// Find returns the entry of the given name, nil if there is none.
func (s StateDict) Find(name string) *Entry {
	for i := range s {
		if s[i].Name == name {
			return &s[i]
		}
	}
	return nil
}

// Entry returns the state_dict's entry of the slot, from the bytes that a store
// holds of its variable.
func (s Slot) Entry(raw []byte) (Entry, error) {
	v := s.Variable
	e := Entry{Name: v.Name, Shape: s.Shape()}
	if len(raw) != v.Bytes() {
		return e, fmt.Errorf("tensor %s: %d bytes, it has %d", v.Name, len(raw), v.Bytes())
	}
	switch v.DType {
	case engine.Int64:
		e.Int = make([]int64, v.Len())
		copy(engine.Bytes(e.Int), raw)
		return e, nil
	case engine.Int32, engine.Int8, engine.Uint8:
		return e, fmt.Errorf("tensor %s: %v is of a net in integers, which has no state of its own", v.Name, v.DType)
	}
	inside := make([]float32, v.Len())
	copy(engine.Bytes(inside), raw)
	if s.Layout == Same {
		e.Data = inside
		return e, nil
	}
	e.Data = make([]float32, v.Len())
	s.Layout.ToTorch(e.Data, inside, e.Shape)
	return e, nil
}

// Raw returns the bytes by which a store holds the entry, which must be the
// slot's: the reverse of Entry.
func (s Slot) Raw(e *Entry) []byte {
	n := s.Variable.Len()
	inside := make([]float32, n)
	switch s.Variable.DType {
	case engine.Int64:
		return engine.Bytes(slices.Clone(e.Int))
	case engine.Int32:
		return engine.Bytes(convert[int32](e.Int))
	case engine.Uint8:
		return engine.Bytes(convert[uint8](e.Int))
	case engine.Int8: // whose layout changes as floats, which hold them exactly
		s.Layout.ToEngine(inside, convert[float32](e.Int), e.Shape)
		return engine.Bytes(convert[int8](inside))
	}
	s.Layout.ToEngine(inside, e.Data, e.Shape)
	return engine.Bytes(inside)
}

// convert converts numbers that fit.
func convert[T int8 | uint8 | int32 | float32, S int64 | float32](from []S) []T {
	to := make([]T, len(from))
	for i, v := range from {
		to[i] = T(v)
	}
	return to
}

// integral reports whether an entry of a type has integers.
func integral(t engine.DType) bool {
	return t == engine.Int64 || t == engine.Int32 || t == engine.Int8 || t == engine.Uint8
}

// State copies the model's values from store.
func (m *Model) State(store *engine.Store) (StateDict, error) {
	out := make(StateDict, 0, len(m.slots))
	for _, s := range m.slots {
		raw := make([]byte, s.Variable.Bytes())
		if err := store.Get(s.Variable, raw); err != nil {
			return nil, err
		}
		e, err := s.Entry(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// Load copies s into store. It is strict, as PyTorch's load_state_dict is:
// every tensor of the model must be there, with its shape, and no other. On an
// error, which names the tensor, nothing has been written.
func (m *Model) Load(store *engine.Store, s StateDict) error {
	if err := m.Check(s); err != nil {
		return err
	}
	for _, slot := range m.slots {
		if err := store.Set(slot.Variable, slot.Raw(s.Find(slot.Variable.Name))); err != nil {
			return err
		}
	}
	return nil
}

// Check reports the first way in which s is not a state of this model: a
// tensor that is missing, of another shape, named twice or not the model's.
func (m *Model) Check(s StateDict) error { return m.net.CheckState(s) }

// CheckState reports the first way in which s is not a state of the net: a
// tensor that is missing, of another shape, named twice or not the net's.
func (n *Net) CheckState(s StateDict) error {
	ts, err := n.params()
	if err != nil {
		return err
	}
	byName := make(map[string]*Entry, len(s))
	for i := range s {
		if byName[s[i].Name] != nil {
			return fmt.Errorf("tensor %s is there twice", s[i].Name)
		}
		byName[s[i].Name] = &s[i]
	}
	for _, t := range ts {
		shape := t.Layout.Torch(t.Spec.Shape)
		e := byName[t.name]
		switch {
		case e == nil:
			return fmt.Errorf("tensor %s %v of %s is missing", t.name, shape, n)
		case !slices.Equal(e.Shape, shape):
			return fmt.Errorf("tensor %s is %v, %s needs %v", t.name, e.Shape, n, shape)
		case integral(t.Spec.DType) && len(e.Int) != t.Spec.Len():
			return fmt.Errorf("tensor %s has %d integers for its shape %v", t.name, len(e.Int), shape)
		case !integral(t.Spec.DType) && len(e.Data) != t.Spec.Len():
			return fmt.Errorf("tensor %s has %d values for its shape %v", t.name, len(e.Data), shape)
		}
		delete(byName, t.name)
	}
	for i := range s {
		if byName[s[i].Name] != nil {
			return fmt.Errorf("tensor %s is not one of %s", s[i].Name, n)
		}
	}
	_, err = n.Quantizers(s)
	return err
}
