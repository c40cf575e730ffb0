package engine

import (
	"fmt"
	"sync/atomic"
)

// A Variable is a tensor that outlives a step: a parameter, a running
// statistic, an optimiser's moment. It has an identity (its pointer) and a
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
	tensors map[*Variable]Tensor
	version atomic.Int64
}

// NewStore returns an empty store on b.
func NewStore(b Backend) *Store {
	return &Store{backend: b, tensors: make(map[*Variable]Tensor)}
}

// Backend returns the backend that the store's memory belongs to.
func (s *Store) Backend() Backend { return s.backend }

// Tensor returns the memory of v, allocating it, filled with zeros, at first use.
func (s *Store) Tensor(v *Variable) (Tensor, error) {
	if t, ok := s.tensors[v]; ok {
		return t, nil
	}
	buf, err := s.backend.Alloc(max(v.Bytes(), 1))
	if err != nil {
		return Tensor{}, fmt.Errorf("allocating %s (%v): %w", v.Name, v.Spec, err)
	}
	t := Tensor{Spec: v.Spec, Buf: buf}
	if err := t.Write(make([]byte, v.Bytes())); err != nil {
		return Tensor{}, fmt.Errorf("clearing %s: %w", v.Name, err)
	}
	s.tensors[v] = t
	return t, nil
}

// Set copies data, which must have the variable's bytes, into v.
func (s *Store) Set(v *Variable, data []byte) error {
	if len(data) != v.Bytes() {
		return fmt.Errorf("setting %s (%v): %w: %d bytes given, %d needed", v.Name, v.Spec, ErrShape, len(data), v.Bytes())
	}
	t, err := s.Tensor(v)
	if err != nil {
		return err
	}
	s.version.Add(1)
	return t.Write(data)
}

// Get copies v into dst, which must have its bytes.
func (s *Store) Get(v *Variable, dst []byte) error {
	if len(dst) != v.Bytes() {
		return fmt.Errorf("reading %s (%v): %w: room for %d bytes, %d needed", v.Name, v.Spec, ErrShape, len(dst), v.Bytes())
	}
	t, err := s.Tensor(v)
	if err != nil {
		return err
	}
	return t.Read(dst)
}

// Close frees the memory of every variable. It may be called twice.
func (s *Store) Close() error {
	var first error
	for v, t := range s.tensors {
		if err := t.Buf.Close(); err != nil && first == nil {
			first = fmt.Errorf("freeing %s: %w", v.Name, err)
		}
		delete(s.tensors, v)
	}
	return first
}
