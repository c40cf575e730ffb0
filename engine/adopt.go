package engine

import "fmt"

// Adopt has v's values be those in buf, from its first byte on, where they lie
// already: memory that another library filled. The store takes buf over and
// closes it in Free. v must have no memory yet.
func (s *Store) Adopt(v *Variable, buf Buffer) error {
	if s.Holds(v) {
		return fmt.Errorf("adopting memory for %s (%v): it has memory already", v.Name, v.Spec)
	}
	if buf.Bytes() < v.Bytes() {
		return fmt.Errorf("adopting memory for %s (%v): %w: %d bytes given, %d needed", v.Name, v.Spec, ErrShape, buf.Bytes(), v.Bytes())
	}
	s.slots[v] = &slot{Tensor: Tensor{Spec: v.Spec, Buf: buf}}
	return nil
}

// Changed says that somebody else has written into v's memory: what programs
// have computed of it once for many runs is computed again at the next.
func (s *Store) Changed(v *Variable) {
	if t, ok := s.slots[v]; ok {
		t.version++
	}
}

// Tensor returns v's place in the backend's memory, which is allocated, filled
// with zeros, if v has none. Who writes there says so by Changed.
func (s *Store) Tensor(v *Variable) (Tensor, error) {
	t, err := s.slot(v)
	if err != nil {
		return Tensor{}, err
	}
	return t.Tensor, nil
}
