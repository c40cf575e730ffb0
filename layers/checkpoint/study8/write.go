package study8

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// Write8 stores the tensors at path as the study's 8-bit pickle and returns the
// file's size in bytes. Tensors that are coded keep their codes and range;
// other tensors of floats are coded by [affine.Encode8]; integers are stored as
// they are, and what has no dimensions as a float64. Python reads it with NumPy
// alone. It is atomic, as [safetensors.Write] is.
func Write8(path string, tensors []named.Tensor) (bytes int64, err error) {
	return write(path, tensors, Encode8)
}

// Write16 is [Write8] for the 16-bit pickle: tensors of floats are rounded to
// float16, but stay float32 where a value is not finite there.
func Write16(path string, tensors []named.Tensor) (bytes int64, err error) {
	return write(path, tensors, Encode16)
}

func write(path string, tensors []named.Tensor, encode func([]named.Tensor) ([]byte, error)) (int64, error) {
	b, err := encode(tensors)
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return safetensors.WriteAtomic(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Encode8 returns what [Write8] stores.
func Encode8(tensors []named.Tensor) ([]byte, error) {
	return encode(tensors, func(w *writer, t *named.Tensor) error {
		codes, lo, hi := t.Codes, t.Min, t.Max
		if !t.Coded {
			var min, max float32
			var err error
			if codes, min, max, err = affine.Encode8(t.Float); err != nil {
				return err
			}
			lo, hi = float64(min), float64(max)
		}
		w.scalar("f8", float64Bits(lo))
		w.scalar("f8", float64Bits(hi))
		w.array("u1", t.Shape, codes)
		w.Tuple(3)
		w.Put()
		return nil
	})
}

// Encode16 returns what [Write16] stores.
func Encode16(tensors []named.Tensor) ([]byte, error) {
	return encode(tensors, func(w *writer, t *named.Tensor) error {
		codes, err := affine.Encode16(t.Float)
		if err != nil { // not finite, or not as a float16
			b := make([]byte, 0, 4*len(t.Float))
			for _, v := range t.Float {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
			w.array("f4", t.Shape, b)
			return nil
		}
		b := make([]byte, 0, 2*len(codes))
		for _, c := range codes {
			b = binary.LittleEndian.AppendUint16(b, c)
		}
		w.array("f2", t.Shape, b)
		return nil
	}, half16)
}

// half16 writes a scalar as a float16 where that holds it exactly.
func half16(w *writer, v float64) bool {
	h := half.ToFloat16(float32(v))
	if float64(h.Float32()) != v {
		return false
	}
	w.scalar("f2", binary.LittleEndian.AppendUint16(nil, uint16(h)))
	return true
}

// encode writes the dict. floats writes a tensor of floats with dimensions, and
// short, if given, a scalar in a shorter type than float64, if that can be.
func encode(tensors []named.Tensor, floats func(*writer, *named.Tensor) error, short ...func(*writer, float64) bool) ([]byte, error) {
	w := &writer{Writer: pickle.NewWriter(3), types: map[string]int{}}
	w.Ops("}")
	w.Put()
	names := make(map[string]bool, len(tensors))
	for at := 0; at < len(tensors); at += batch {
		several := tensors[at:min(at+batch, len(tensors))]
		if len(several) > 1 {
			w.Ops("(")
		}
		for i := range several {
			t := &several[i]
			if err := check(t, names); err != nil {
				return nil, err
			}
			w.Text(t.Name)
			if err := w.entry(t, floats, short); err != nil {
				return nil, fmt.Errorf("tensor %s: %w", named.Quote(t.Name), err)
			}
		}
		if len(several) > 1 {
			w.Ops("u")
		} else {
			w.Ops("s")
		}
	}
	return w.Stop(), nil
}

// batch is how many entries CPython's pickler sets at once.
const batch = 1000

// check says why a tensor cannot be written, if so.
func check(t *named.Tensor, names map[string]bool) error {
	n, ok := named.Volume(t.Shape)
	has := len(t.Float)
	switch {
	case t.Coded:
		has = len(t.Codes)
	case t.Int != nil:
		has = len(t.Int)
	}
	switch {
	case names[t.Name]:
		return fmt.Errorf("two tensors are named %s", named.Quote(t.Name))
	case !utf8.ValidString(t.Name):
		return fmt.Errorf("the tensor name %s is not UTF-8 text", named.Quote(t.Name))
	case !ok || int64(n) > math.MaxUint32/8:
		return fmt.Errorf("tensor %s of shape %v is too large for the format", named.Quote(t.Name), t.Shape)
	case has != n:
		return fmt.Errorf("tensor %s has %d values, but the shape %v needs %d", named.Quote(t.Name), has, t.Shape, n)
	}
	names[t.Name] = true
	return nil
}

// writer adds NumPy's values to a pickle.
type writer struct {
	*pickle.Writer
	types map[string]int // places of dtypes in the memo
	b     int            // place of b'b'
	hasB  bool
}

func (w *writer) entry(t *named.Tensor, floats func(*writer, *named.Tensor) error, short []func(*writer, float64) bool) error {
	switch {
	case len(t.Shape) == 0:
		v := 0.0
		switch {
		case t.Int != nil:
			v = float64(t.Int[0])
		case t.Double != nil:
			v = t.Double[0]
		case len(t.Float) > 0:
			v = float64(t.Float[0])
		default:
			return fmt.Errorf("a scalar has no value")
		}
		if len(short) == 0 || !short[0](w, v) {
			w.scalar("f8", float64Bits(v))
		}
		return nil
	case t.Int != nil:
		b, err := t.Encode()
		if err != nil {
			return err
		}
		w.array(codes[t.Stored()], t.Shape, b)
		return nil
	}
	return floats(w, t)
}

// codes are NumPy's codes of the types of integers.
var codes = map[string]string{
	"int64": "i8", "int32": "i4", "int16": "i2", "int8": "i1",
	"uint64": "u8", "uint32": "u4", "uint16": "u2", "uint8": "u1", "bool": "b1",
}

// dtype writes a numpy.dtype, once.
func (w *writer) dtype(code string) {
	if n, ok := w.types[code]; ok {
		w.Get(n)
		return
	}
	w.Global("numpy dtype")
	w.Text(code)
	w.Int(0)
	w.Int(1)
	w.Tuple(3)
	w.Put()
	w.Ops("R")
	w.types[code] = w.Put()
	w.Ops("(")
	w.Int(3)
	if code[1] == '1' {
		w.Text("|")
	} else {
		w.Text("<")
	}
	w.Ops("NNN")
	w.Int(-1)
	w.Int(-1)
	w.Int(0)
	w.Tuple(8)
	w.Put()
	w.Ops("b")
}

func (w *writer) scalar(code string, b []byte) {
	w.Global("numpy.core.multiarray scalar")
	w.dtype(code)
	w.Bytes(b)
	w.Put()
	w.Tuple(2)
	w.Put()
	w.Ops("R")
	w.Put()
}

func (w *writer) array(code string, shape []int, b []byte) {
	w.Global("numpy.core.multiarray _reconstruct")
	w.Global("numpy ndarray")
	w.Ints([]int{0})
	if w.hasB {
		w.Get(w.b)
	} else {
		w.Bytes([]byte("b"))
		w.b, w.hasB = w.Put(), true
	}
	w.Tuple(3)
	w.Put()
	w.Ops("R")
	w.Put()
	w.Ops("(")
	w.Int(1)
	w.Ints(shape)
	w.dtype(code)
	w.Bool(false)
	w.Bytes(b)
	w.Put()
	w.Tuple(5)
	w.Put()
	w.Ops("b")
}

func float64Bits(v float64) []byte {
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
}
