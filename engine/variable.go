package engine

import (
	"errors"
	"fmt"
)

// A Variable is a tensor that outlives a step: a parameter, a running
// statistic, an optimizer's moment. It has an identity (its pointer) and a
// spec; its memory belongs to a Store, so that several programs (training,
// evaluation, another batch size) share one set of values.
type Variable struct {
	Name string
	Spec
	// Trainable marks a parameter that gradients are taken for.
	Trainable bool
}

// A Store holds the values of variables on one backend.
type Store struct {
	backend Backend
	slots   map[*Variable]*slot
}

// A slot is a variable's memory, and how often its content has been changed.
type slot struct {
	Tensor
	version int
}

// NewStore returns an empty store on b.
func NewStore(b Backend) *Store {
	return &Store{backend: b, slots: make(map[*Variable]*slot)}
}

// Backend returns the backend that the store's memory belongs to.
func (s *Store) Backend() Backend { return s.backend }

// slot returns the memory of v, allocating it, filled with zeros, at first use.
func (s *Store) slot(v *Variable) (*slot, error) {
	if t, ok := s.slots[v]; ok {
		return t, nil
	}
	buf, err := s.backend.Alloc(max(v.Bytes(), 1))
	if err != nil {
		return nil, fmt.Errorf("allocating %s (%v): %w", v.Name, v.Spec, err)
	}
	t := &slot{Tensor: Tensor{Spec: v.Spec, Buf: buf}}
	zeros := make([]byte, min(v.Bytes(), 1<<20))
	for off := 0; off < v.Bytes(); off += len(zeros) {
		if err := buf.Write(off, zeros[:min(len(zeros), v.Bytes()-off)]); err != nil {
			return nil, fmt.Errorf("clearing %s: %w", v.Name, errors.Join(err, buf.Close()))
		}
	}
	s.slots[v] = t
	return t, nil
}

// Set copies data, which must have the variable's bytes, into v.
func (s *Store) Set(v *Variable, data []byte) error {
	if len(data) != v.Bytes() {
		return fmt.Errorf("setting %s (%v): %w: %d bytes given, %d needed", v.Name, v.Spec, ErrShape, len(data), v.Bytes())
	}
	t, err := s.slot(v)
	if err != nil {
		return err
	}
	t.version++
	return t.Write(data)
}

// SetPart copies data into v from byte off on: for what is too large to be held
// twice.
func (s *Store) SetPart(v *Variable, off int, data []byte) error {
	if off < 0 || len(data) > v.Bytes()-off {
		return fmt.Errorf("setting %s (%v): %w: %d bytes at byte %d", v.Name, v.Spec, ErrShape, len(data), off)
	}
	t, err := s.slot(v)
	if err != nil {
		return err
	}
	t.version++
	return t.Buf.Write(off, data)
}

// Get copies v into dst, which must have its bytes.
func (s *Store) Get(v *Variable, dst []byte) error {
	if len(dst) != v.Bytes() {
		return fmt.Errorf("reading %s (%v): %w: room for %d bytes, %d needed", v.Name, v.Spec, ErrShape, len(dst), v.Bytes())
	}
	t, err := s.slot(v)
	if err != nil {
		return err
	}
	return t.Read(dst)
}

// Free frees the memory of v, which no program that is still to be run may use. It
// may be called twice.
func (s *Store) Free(v *Variable) error {
	t, ok := s.slots[v]
	if !ok {
		return nil
	}
	delete(s.slots, v)
	if err := t.Buf.Close(); err != nil {
		return fmt.Errorf("freeing %s: %w", v.Name, err)
	}
	return nil
}

// Close frees the memory of every variable. It may be called twice.
func (s *Store) Close() error {
	var first error
	for v := range s.slots {
		if err := s.Free(v); first == nil {
			first = err
		}
	}
	return first
}
