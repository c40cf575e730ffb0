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
	Data  []float32 // row-major in Shape
	// Integer marks an int64 of PyTorch (num_batches_tracked), whose value
	// Data holds rounded to float32.
	Integer bool
}

// Find returns the entry of the given name, nil if there is none.
func (s StateDict) Find(name string) *Entry {
	for i := range s {
		if s[i].Name == name {
			return &s[i]
		}
	}
	return nil
}

// State copies the model's values from store.
func (m *Model) State(store *engine.Store) (StateDict, error) {
	out := make(StateDict, 0, len(m.slots))
	for _, s := range m.slots {
		v := s.Variable
		e := Entry{Name: v.Name, Shape: s.Shape(), Data: make([]float32, v.Len())}
		if v.DType == engine.Int64 {
			n := make([]int64, v.Len())
			if err := store.Get(v, engine.Bytes(n)); err != nil {
				return nil, err
			}
			e.Integer = true
			for i := range n {
				e.Data[i] = float32(n[i])
			}
			out = append(out, e)
			continue
		}
		inside := make([]float32, v.Len())
		if err := store.Get(v, engine.Bytes(inside)); err != nil {
			return nil, err
		}
		s.Layout.ToTorch(e.Data, inside, e.Shape)
		out = append(out, e)
	}
	return out, nil
}

// Check reports the first way in which s is not a state of this model: a
// tensor that is missing, of another shape, named twice or not the model's.
func (m *Model) Check(s StateDict) error {
	byName := make(map[string]*Entry, len(s))
	for i := range s {
		if byName[s[i].Name] != nil {
			return fmt.Errorf("tensor %s is there twice", s[i].Name)
		}
		byName[s[i].Name] = &s[i]
	}
	for _, slot := range m.slots {
		name, shape := slot.Variable.Name, slot.Shape()
		e := byName[name]
		switch {
		case e == nil:
			return fmt.Errorf("tensor %s %v of %s is missing", name, shape, m.arch.Family)
		case !slices.Equal(e.Shape, shape):
			return fmt.Errorf("tensor %s is %v, %s needs %v", name, e.Shape, m.arch.Family, shape)
		case len(e.Data) != slot.Variable.Len():
			return fmt.Errorf("tensor %s has %d values for its shape %v", name, len(e.Data), shape)
		}
		delete(byName, name)
	}
	for i := range s {
		if byName[s[i].Name] != nil {
			return fmt.Errorf("tensor %s is not one of %s", s[i].Name, m.arch.Family)
		}
	}
	return nil
}

// Load copies s into store. It is strict, as PyTorch's load_state_dict is:
// every tensor of the model must be there, with its shape, and no other. On an
// error, which names the tensor, nothing has been written.
func (m *Model) Load(store *engine.Store, s StateDict) error {
	if err := m.Check(s); err != nil {
		return err
	}
	for _, slot := range m.slots {
		v, e := slot.Variable, s.Find(slot.Variable.Name)
		if v.DType == engine.Int64 {
			n := make([]int64, v.Len())
			for i := range n {
				n[i] = int64(e.Data[i])
			}
			if err := store.Set(v, engine.Bytes(n)); err != nil {
				return err
			}
			continue
		}
		inside := make([]float32, v.Len())
		slot.Layout.ToEngine(inside, e.Data, e.Shape)
		if err := store.Set(v, engine.Bytes(inside)); err != nil {
			return err
		}
	}
	return nil
}
