package engine_test

import (
	"errors"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

func TestStoreAdopts(t *testing.T) {
	b := ref.New()
	defer b.Close()
	store := engine.NewStore(b)
	v := &engine.Variable{Name: "v", Spec: engine.F32(3)}
	short, err := b.Alloc(11)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Adopt(v, short); !errors.Is(err, engine.ErrShape) || store.Holds(v) {
		t.Errorf("11 bytes for three floats: %v", err)
	}
	buf, err := b.Alloc(16)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{1, 2, 3}
	if err := errors.Join(buf.Write(0, engine.Bytes(want)), store.Adopt(v, buf)); err != nil {
		t.Fatal(err)
	}
	if err := store.Adopt(v, short); err == nil || errors.Is(err, engine.ErrShape) {
		t.Errorf("adopting twice: %v", err)
	}
	got := make([]float32, 3)
	if err := store.Get(v, engine.Bytes(got)); err != nil || got[0] != 1 || got[2] != 3 {
		t.Errorf("the adopted memory holds %v, %v", got, err)
	}
	if x, err := store.Tensor(v); err != nil || x.Buf != buf || x.Off != 0 || x.String() != v.Spec.String() {
		t.Errorf("the variable lies in %+v, %v", x, err)
	}
	w := &engine.Variable{Name: "w", Spec: engine.F32(3)}
	store.Changed(w) // has no memory to change
	x, err := store.Tensor(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Read(engine.Bytes(got)); err != nil || got[0] != 0 || got[2] != 0 {
		t.Errorf("new memory holds %v, %v", got, err)
	}
	if err := errors.Join(store.Close(), short.Close()); err != nil {
		t.Error(err)
	}
	if err := buf.Write(0, []byte{1}); err == nil {
		t.Error("the store has not closed the buffer")
	}
}
