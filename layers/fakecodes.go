package layers

import (
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

// PackCodes returns the bytes that hold signed codes: see the rule Scaled.
func PackCodes(q []int8, bits int) []byte {
	if bits > 4 {
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(q))), len(q))
	}
	out := make([]byte, (len(q)+1)/2)
	for i, v := range q {
		out[i/2] |= byte(v) & 15 << (i % 2 * 4)
	}
	return out
}

// UnpackCodes returns n codes from the bytes that PackCodes has made of them.
func UnpackCodes(b []byte, n, bits int) ([]int8, error) {
	q := make([]int8, n)
	if want := len(PackCodes(q, bits)); len(b) != want {
		return nil, fmt.Errorf("%d bytes of codes of %d bits for %d values, %d are needed", len(b), bits, n, want)
	}
	least := int8(-1) << (bits - 1)
	for i := range q {
		if bits <= 4 {
			q[i] = int8(b[i/2]>>(i%2*4)<<4) >> 4
		} else {
			q[i] = int8(b[i])
		}
		if q[i] < least || q[i] > -1-least {
			return nil, fmt.Errorf("code %d is %d, which has more than %d bits", i, q[i], bits)
		}
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
