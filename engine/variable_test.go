package engine_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// A large variable is cleared and written in parts, and can be freed.
func TestVariableInParts(t *testing.T) {
	s := engine.NewStore(ref.New())
	defer s.Close()
	v := &engine.Variable{Name: "v", Spec: engine.Spec{Shape: []int{1<<21 + 3}, DType: engine.Uint8}}
	want := make([]byte, v.Bytes())
	want[5], want[1<<20], want[v.Bytes()-1] = 1, 2, 3
	for _, at := range []int{5, 1 << 20, v.Bytes() - 1} {
		if err := s.SetPart(v, at, want[at:at+1]); err != nil {
			t.Fatal(err)
		}
	}
	got := bytes.Repeat([]byte{9}, v.Bytes())
	if err := s.Get(v, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes than were set (%v)", err)
	}
	for _, off := range []int{-1, v.Bytes() - 1, v.Bytes() + 1} {
		if err := s.SetPart(v, off, want[:2]); !errors.Is(err, engine.ErrShape) {
			t.Errorf("two bytes at %d: %v", off, err)
		}
	}
	if err := errors.Join(s.Free(v), s.Free(v)); err != nil || s.Holds(v) {
		t.Errorf("freed: %v, held: %v", err, s.Holds(v))
	}
	if err := s.Get(v, got); err != nil || got[5] != 0 {
		t.Errorf("a freed variable still has its value (%v)", err)
	}
}
