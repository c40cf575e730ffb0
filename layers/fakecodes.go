package layers

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

// Encode returns the state with the codes of every weight that has a signed
// symmetric quantizer, and the values that these stand for: what the net computes
// with anyway. Weights that several modules share, and others, stay as they are.
func (n *Net) Encode(s StateDict) (StateDict, error) {
	if err := n.CheckState(s); err != nil {
		return nil, err
	}
	out := slices.Clone(s)
	for i := range n.Modules {
		m := &n.Modules[i]
		if f, ok := m.Fake[FakeWeight]; ok && f.Signed && f.Symmetric && !n.shares(m) {
			w, scale := out.Find(m.Tensor(FakeWeight)), out.Find(m.Tensor(ScaleRole(FakeWeight))).Data
			q := f.Round(w.Data, scale)
			w.Codes = &Codes{Encoding: f.encoding(), Bytes: PackCodes(q, f.Bits)}
			for _, v := range scale {
				w.Codes.Ranges = append(w.Codes.Ranges, float64(v))
			}
			w.Data = make([]float32, len(q))
			for k, v := range q {
				w.Data[k] = float32(v) * scale[k/(len(q)/len(scale))]
			}
		}
	}
	return out, nil
}

func (f Fake) encoding() Encoding {
	return Encoding{Rule: Scaled, Bits: f.Bits, PerChannel: f.PerChannel}
}

// Round returns the codes of a weight in PyTorch's layout, with one scale or one
// for each index of its first axis: round(w/s) between the least and the largest
// code, halves to the even one.
func (f Fake) Round(w, scale []float32) []int8 {
	lo, hi := f.Codes()
	q := make([]int8, len(w))
	for i, v := range w {
		r := math.RoundToEven(float64(v / scale[i/(len(w)/len(scale))]))
		q[i] = int8(min(max(r, float64(lo)), float64(hi)))
	}
	return q
}

// PackCodes returns the bytes that hold signed codes of so many bits, ⌈n·bits/8⌉ of
// them: see the rule Scaled.
func PackCodes(q []int8, bits int) []byte {
	if bits == 8 {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(q))), len(q))
	}
	out := make([]byte, (len(q)*bits+7)/8)
	for i, v := range q {
		at, low := i*bits/8, i*bits%8
		two := (uint16(v) & (1<<bits - 1)) << low
		out[at] |= byte(two)
		if low+bits > 8 {
			out[at+1] |= byte(two >> 8)
		}
	}
	return out
}

// UnpackCodes returns n codes from the bytes that PackCodes has made of them.
func UnpackCodes(b []byte, n, bits int) ([]int8, error) {
	if want := (n*bits + 7) / 8; len(b) != want {
		return nil, fmt.Errorf("%d bytes of codes of %d bits for %d values, %d are needed", len(b), bits, n, want)
	}
	q := make([]int8, n)
	for i := range q {
		at, low := i*bits/8, i*bits%8
		two := uint16(b[at])
		if low+bits > 8 {
			two |= uint16(b[at+1]) << 8
		}
		q[i] = int8(two>>low<<(8-bits)) >> (8 - bits)
	}
	if rest := n * bits % 8; rest != 0 && b[len(b)-1]>>rest != 0 {
		return nil, errors.New("the unused bits of the last byte of codes are not zero")
	}
	return q, nil
}

// ScaleOf returns the name of the scales of the quantizer that the weight of the
// given name has, "" if it has none.
func (n *Net) ScaleOf(weight string) string {
	if m := n.quantizes(weight); m != nil {
		return m.Tensor(ScaleRole(FakeWeight))
	}
	return ""
}

// FakeOf returns the quantizer of the weight of the given name.
func (n *Net) FakeOf(weight string) Fake {
	if m := n.quantizes(weight); m != nil {
		return m.Fake[FakeWeight]
	}
	return Fake{}
}

// quantizes returns the module with a quantizer of the weight of the given name.
func (n *Net) quantizes(weight string) *Module {
	for i := range n.Modules {
		m := &n.Modules[i]
		if _, ok := m.Fake[FakeWeight]; ok && m.Tensor(FakeWeight) == weight {
			return m
		}
	}
	return nil
}
