package ref

import (
	"errors"
	"testing"

	"github.com/potstill/potstill/engine"
)

func TestBackend(t *testing.T) {
	b := New()
	buf, err := b.Alloc(128)
	if err != nil {
		t.Fatal(err)
	}
	x := engine.Tensor{Spec: engine.F32(3), Buf: buf, Off: 64}
	if err := x.Write(engine.Bytes([]float32{-1, 2, 7})); err != nil {
		t.Fatal(err)
	}
	op := engine.Activation{F: engine.ReLU6}
	k, err := b.Compile(op, []engine.Spec{x.Spec}, []engine.Spec{x.Spec})
	if err != nil {
		t.Fatal(err)
	}
	y := engine.Tensor{Spec: x.Spec, Buf: buf}
	if err := k.Enqueue([]engine.Tensor{x}, []engine.Tensor{y}, engine.Tensor{}); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 3)
	if err := y.Read(engine.Bytes(got)); err != nil {
		t.Fatal(err)
	}
	if want := [3]float32{0, 2, 6}; [3]float32(got) != want {
		t.Errorf("ReLU6 gives %v, want %v", got, want)
	}
	if err := buf.Write(120, make([]byte, 16)); err == nil {
		t.Error("a write past the buffer's end is let through")
	}
	if _, err := b.Compile(op, []engine.Spec{x.Spec}, []engine.Spec{engine.F32(4)}); !errors.Is(err, engine.ErrShape) {
		t.Errorf("a wrong output spec gives %v", err)
	}
}

func TestWithoutFusion(t *testing.T) {
	b := New(WithoutFusion())
	op := engine.Conv2D{Epilogue: engine.Epilogue{Act: engine.ReLU}}
	in := []engine.Spec{engine.F32(1, 3, 3, 1), engine.F32(3, 3, 1, 1)}
	out := []engine.Spec{engine.F32(1, 1, 1, 1)}
	if b.(engine.Fuser).Fuses(op, in, out) {
		t.Error("claims a fused op")
	}
	if _, err := b.Compile(op, in, out); !errors.Is(err, engine.ErrUnsupported) {
		t.Errorf("compiling a fused op gives %v", err)
	}
	if _, err := b.Compile(engine.Conv2D{}, in, out); err != nil {
		t.Error(err)
	}
}
