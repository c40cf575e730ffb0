package onnxnet

import (
	"fmt"
	"math"
	"slices"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
)

// quantizeOperators go from numbers to codes and back. A tensor of codes is one of the
// numbers that they stand for: QuantizeLinear becomes a quantizer (layers.Fake) of the
// module before it, and DequantizeLinear nothing.
var quantizeOperators = map[string]operator{"QuantizeLinear": quantizeLinear, "DequantizeLinear": dequantizeLinear, "QLinearConv": qlinearConv,
	"QLinearMatMul": qlinearMatMul, "ConvInteger": convInteger, "MatMulInteger": matMulInteger}

// A coding is how numbers are coded: q stands for (q-zero)·scale, with one scale, or
// one for each element of an axis.
type coding struct {
	scale, zero []float32
	signed      bool
	bits        int // of a code; 32 for sums of products of codes
	axis        int
}

// dtype is the type of the codes.
func (k *coding) dtype() string {
	if k.signed {
		return fmt.Sprint("int", k.bits)
	}
	return fmt.Sprint("uint", k.bits)
}

// codes returns the codes of numbers that they stand for.
func (k *coding) codes(numbers []float32) []int64 {
	q := make([]int64, len(numbers))
	for i, v := range numbers {
		q[i] = int64(math.RoundToEven(float64(v)/float64(k.scale[0]))) + int64(k.zero[0])
	}
	return q
}

// numbers returns the numbers that codes stand for.
func (k *coding) numbers(codes []int64) []float32 {
	v := make([]float32, len(codes))
	for i, q := range codes {
		v[i] = (float32(q) - k.zero[0]) * k.scale[0]
	}
	return v
}

// wholeCodes is the coding of integers that stand for their distance from a zero point.
func wholeCodes(zero *array) (*coding, error) {
	return codingOf(&array{shape: []int{}, f: []float32{1}}, zero, 0)
}

// codingOf returns the coding that constants describe; nil zero points are zeros in
// uint8.
func codingOf(scale, zero *array, axis int) (*coding, error) {
	if scale == nil || scale.len() == 0 {
		return nil, fmt.Errorf("its scale is no constant")
	}
	if len(scale.shape) > 1 {
		return nil, fmt.Errorf("its numbers have scales for blocks; what is computed of the image has one scale")
	}
	k := &coding{bits: 8, axis: axis}
	for i := range scale.len() {
		k.scale = append(k.scale, float32(scale.at(i)))
		z := 0
		if zero != nil {
			if zero.len() != scale.len() {
				return nil, fmt.Errorf("%d zero points for %d scales", zero.len(), scale.len())
			}
			z = zero.int(i)
		}
		k.zero = append(k.zero, float32(z))
	}
	if zero != nil {
		t := codeTypes[zero.dtype]
		if t.bits == 0 {
			return nil, fmt.Errorf("codes of the type %s; integers of 8, 4 and 2 bits are taken", zero.dtype)
		}
		k.signed, k.bits = t.signed, t.bits
	}
	return k, nil
}

// codeTypes are the types of codes.
var codeTypes = map[string]struct {
	bits   int
	signed bool
}{"int8": {8, true}, "uint8": {8, false}, "int4": {4, true}, "uint4": {4, false}, "int2": {2, true}, "uint2": {2, false}}

// equal reports whether two codings are one.
func (k *coding) equal(o *coding) bool {
	return slices.Equal(k.scale, o.scale) && slices.Equal(k.zero, o.zero) && k.signed == o.signed && k.bits == o.bits
}

// fake returns the quantizer with this coding.
func (k *coding) fake() layers.Fake {
	return layers.Fake{Bits: k.bits, Signed: k.signed, PerChannel: len(k.scale) > 1,
		Symmetric: !slices.ContainsFunc(k.zero, func(z float32) bool { return z != 0 })}
}

// along returns the coding where it has one scale, or those of the given axis; else
// nil.
func (k *coding) along(axis int) *coding {
	if k == nil || len(k.scale) > 1 && k.axis != axis {
		return nil
	}
	return k
}

// centered returns the coding of a weight as a signed one, where codes without a sign
// lie around the middle, 128 in uint8.
func (k *coding) centered() *coding {
	middle := float32(int(1) << (k.bits - 1))
	if k.signed || slices.ContainsFunc(k.zero, func(z float32) bool { return z != middle }) {
		return k
	}
	c := *k
	c.signed, c.zero = true, make([]float32, len(k.zero))
	return &c
}

// rounded adds a module that rounds a tensor's numbers to those of a coding.
func (t *translator) rounded(n *onnxread.Node, a *act, k *coding) ([]value, error) {
	if len(k.scale) != 1 {
		return nil, fmt.Errorf("its numbers have %d scales; what is computed of the image has one", len(k.scale))
	}
	out := t.pointwise(n, a, "Identity", nil)
	out[0].a.from.fakes = map[string]*coding{layers.FakeOutput: k}
	out[0].a.coded = k
	return out, nil
}

func quantizeLinear(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	a, k, err := coded(in)
	if err != nil {
		return nil, err
	}
	return t.rounded(n, a, k)
}

func dequantizeLinear(_ *translator, _ *onnxread.Node, in []value) ([]value, error) {
	a, k, err := coded(in)
	if err != nil {
		return nil, err
	}
	return []value{{a: a.decoded()}}, a.checkCoding(k)
}

// coded returns the tensor of QuantizeLinear or DequantizeLinear and its coding.
func coded(in []value) (*act, *coding, error) {
	a, err := first(in)
	if err != nil {
		return nil, nil, err
	}
	c, err := constants(in, 1, 2)
	if err != nil {
		return nil, nil, err
	}
	k, err := codingOf(c[0], c[1], 0)
	return a, k, err
}

// decoded returns the tensor as one of numbers.
func (a *act) decoded() *act {
	b := *a
	b.coded = nil
	return &b
}

// checkCoding reports codes that are read with another coding than they have.
func (a *act) checkCoding(k *coding) error {
	switch {
	case a.coded == nil && a.from == nil:
		return fmt.Errorf("the image itself is in codes; images in numbers are taken")
	case a.coded != nil && !a.coded.equal(k):
		return fmt.Errorf("its codes have been made with another scale or zero point")
	}
	return nil
}

// qlinearConv is a convolution of codes: x, its scale and zero point, w and its, the
// scale and zero point of the result, and a bias in int32 on the scale of the products.
func qlinearConv(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	p, err := productOf(in, 8)
	if err != nil {
		return nil, err
	}
	if p.c[2] == nil {
		return nil, fmt.Errorf("its weight is no constant")
	}
	weight, err := t.fold.dequantized(p.c[2], p.c[3], p.c[4], 0)
	if err != nil {
		return nil, err
	}
	conv := []value{{a: p.a.decoded()}, {c: weight}}
	if p.c[7] != nil {
		scale := &array{shape: []int{len(weight.coding.scale)}}
		for _, s := range weight.coding.scale {
			scale.f = append(scale.f, s*p.x.scale[0])
		}
		bias, err := t.fold.dequantized(p.c[7], scale, nil, 0)
		if err != nil {
			return nil, err
		}
		conv = append(conv, value{c: bias})
	}
	out, err := convolution(t, n, conv)
	if err != nil {
		return nil, err
	}
	return t.rounded(n, out[0].a, p.y)
}

// A product is what QLinearConv and QLinearMatMul begin with: codes a of the coding x,
// and the coding y of the result. c are the inputs behind the first, which are constants.
type product struct {
	a    *act
	x, y *coding
	c    []*array
}

// productOf reads the inputs, of which there may be n.
func productOf(in []value, n int) (p product, err error) {
	if p.a, err = first(in); err != nil {
		return p, err
	}
	if p.c, err = constants(in, 1, n); err != nil {
		return p, err
	}
	if p.x, err = codingOf(p.c[0], p.c[1], 0); err == nil {
		err = p.a.checkCoding(p.x)
	}
	if err != nil {
		return p, err
	}
	p.y, err = codingOf(p.c[5], p.c[6], 0)
	return p, err
}

// qlinearMatMul is a product of codes: a, its scale and zero point, a constant matrix b
// and its, and the scale and zero point of the result.
func qlinearMatMul(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	p, err := productOf(in, 7)
	if err != nil {
		return nil, err
	}
	if b := p.c[2]; b == nil || p.c[3] == nil || len(b.shape) != 2 || !b.ints {
		return nil, fmt.Errorf("its second input is no constant matrix of codes, or its scale is no constant")
	}
	w, err := t.fold.dequantized(p.c[2], p.c[3], p.c[4], 1)
	if err != nil {
		return nil, err
	}
	out, err := matMul(t, n, []value{{a: p.a.decoded()}, {c: w}})
	if err != nil {
		return nil, err
	}
	return t.rounded(n, out[0].a, p.y)
}

// fixDynamic is the way out where a model computes on codes whose ranges are not in it.
const fixDynamic = "quantize the model with QuantizeLinear and DequantizeLinear (QDQ), or export it in float32 and quantize it here"

// convInteger is the sum of products of codes less their zero points: x, w and these.
func convInteger(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	return integers(t, n, in, convolution, 0)
}

// matMulInteger is the product of a matrix of codes and a constant one, as convInteger.
func matMulInteger(t *translator, n *onnxread.Node, in []value) ([]value, error) {
	return integers(t, n, in, matMul, 1)
}

// integers computes an operator on integers as one on numbers: on codes of scale 1, of
// which the numbers are the integers less the zero point. Others belong to a pattern
// (graph.scaledProduct), and are refused where that is not there. The outputs are along
// the given axis of the weight.
func integers(t *translator, n *onnxread.Node, in []value, op operator, axis int) ([]value, error) {
	a, err := first(in)
	if err != nil {
		return nil, err
	}
	if a.coded == nil || len(a.coded.scale) != 1 || a.coded.scale[0] != 1 {
		return nil, named.Refused(fixDynamic, "it computes on codes, and no product with their scales stands behind it, as ONNX Runtime's dynamic quantization writes it")
	}
	c, err := constants(in, 1, 3)
	if err != nil {
		return nil, err
	}
	if c[0] == nil || !c[0].ints || len(c[0].shape) <= axis {
		return nil, fmt.Errorf("its weight is no constant of codes")
	}
	k, err := wholeCodes(c[1])
	if err != nil {
		return nil, err
	}
	if err := a.checkCoding(k); c[1] != nil && err != nil {
		return nil, err
	}
	scale := &array{shape: []int{1}, f: []float32{1}}
	if c[2] != nil && c[2].len() > 1 {
		scale = &array{shape: []int{c[2].len()}, f: filled(c[2].len(), 1)}
	}
	w, err := t.fold.dequantized(c[0], scale, c[2], axis)
	if err != nil {
		return nil, err
	}
	w.coding = nil // whole numbers are their own codes
	out, err := op(t, n, []value{{a: a.decoded()}, {c: w}})
	if err != nil {
		return nil, err
	}
	sums := *out[0].a
	sums.coded = &coding{scale: []float32{1}, zero: []float32{0}, signed: true, bits: 32}
	return []value{{a: &sums}}, nil
}
