package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/potstill/potstill/engine/half"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/affine"
)

// Quantize returns the state with its tensors in the codes of a scheme, and
// their values as these codes decode: the weights that a quantized model
// computes with. Counters and scalars stay as they are, and so do, under
// Float16, tensors with a value beyond ±65504.
func Quantize(s layers.StateDict, scheme string) (layers.StateDict, error) {
	switch scheme {
	case Float32, Affine8, Affine8PerChannel, Affine4Block, Float16:
	default:
		return nil, fmt.Errorf("unknown scheme %q; it is one of %q, %q, %q, %q, or empty for 32 bits", scheme, Affine8, Affine8PerChannel, Affine4Block, Float16)
	}
	out := make(layers.StateDict, len(s))
	for i, e := range s {
		e.Codes = nil
		err := encode(&e, scheme)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", e.Name, err)
		}
		out[i] = e
	}
	return out, nil
}

// encode gives an entry the codes of a scheme, where the scheme has any for it.
func encode(e *layers.Entry, scheme string) (err error) {
	if e.Integer() || len(e.Shape) == 0 {
		return nil
	}
	c := &layers.Codes{}
	switch scheme {
	case Float16:
		if slices.ContainsFunc(e.Data, half.Overflows) {
			return nil
		}
		codes, err := affine.Encode16(e.Data)
		if err != nil {
			return err
		}
		c.Encoding = layers.Encoding{Rule: layers.Half, Bits: 16}
		for _, h := range codes {
			c.Bytes = binary.LittleEndian.AppendUint16(c.Bytes, h)
		}
	case Affine8:
		c.Encoding = layers.Encoding{Rule: layers.MinMax, Bits: 8}
		var lo, hi float32
		c.Bytes, lo, hi, err = affine.Encode8(e.Data)
		c.Ranges = []float64{float64(lo), float64(hi)}
	case Affine8PerChannel:
		if len(e.Shape) == 1 {
			return nil
		}
		c.Encoding = layers.Encoding{Rule: layers.MinMax, Bits: 8, PerChannel: true}
		var lo, hi []float32
		c.Bytes, lo, hi, err = affine.EncodeChannels8(e.Data, e.Shape[0])
		c.Ranges = pairs(lo, hi)
	case Affine4Block:
		if len(e.Shape) == 1 {
			return nil
		}
		c.Encoding = layers.Encoding{Rule: layers.MinMax, Bits: 4, Block: block}
		var lo, hi []float32
		c.Bytes, lo, hi, err = affine.EncodeBlocks4(e.Data, e.Shape[0], block)
		c.Ranges = pairs(lo, hi)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	e.Codes = c
	e.Data, err = decode(c, e.Shape)
	return err
}

// block is the size of the blocks of Affine4Block: with two ends of 32 bits a block, a
// weight takes 5 bits.
const block = 64

// pairs returns (min, max) after (min, max).
func pairs(lo, hi []float32) []float64 {
	var out []float64
	for i := range lo {
		out = append(out, float64(lo[i]), float64(hi[i]))
	}
	return out
}

// decode returns the numbers that codes stand for.
func decode(c *layers.Codes, shape []int) ([]float32, error) {
	n := product(shape)
	if err := c.Encoding.Check(); err != nil {
		return nil, err
	}
	if c.Encoding.Rule == layers.Scaled {
		return decodeScaled(c, shape)
	}
	if want := (n*c.Encoding.Bits + 7) / 8; len(c.Bytes) != want {
		return nil, fmt.Errorf("%d bytes of codes for %d values, %d are needed", len(c.Bytes), n, want)
	}
	out := make([]float32, n)
	if c.Encoding.Rule == layers.Half {
		return out, affine.Decode16(words(c.Bytes), out)
	}
	ranges := 1
	if c.Encoding.PerChannel {
		ranges = shape[0]
	}
	if c.Encoding.Block > 0 {
		if len(shape) < 2 || shape[0] < 1 {
			return nil, fmt.Errorf("a tensor of %v has no blocks", shape)
		}
		ranges = affine.BlocksOf(n, shape[0], c.Encoding.Block)
	}
	if len(c.Ranges) != 2*ranges {
		return nil, fmt.Errorf("it has %d ends of ranges, %d are needed", len(c.Ranges), 2*ranges)
	}
	lo, hi := make([]float64, ranges), make([]float64, ranges)
	for i := range lo {
		lo[i], hi[i] = c.Ranges[2*i], c.Ranges[2*i+1]
	}
	if c.Encoding.Block > 0 {
		return out, affine.DecodeBlocks4(c.Bytes, shape[0], c.Encoding.Block, lo, hi, out)
	}
	return out, affine.DecodeChannels8(c.Bytes, lo, hi, out)
}

// decodeScaled returns the numbers that codes of a quantizer stand for.
func decodeScaled(c *layers.Codes, shape []int) ([]float32, error) {
	scales := 1
	if c.Encoding.PerChannel {
		scales = shape[0]
	}
	if len(c.Ranges) != scales {
		return nil, fmt.Errorf("it has %d scales, %d are needed", len(c.Ranges), scales)
	}
	q, err := layers.UnpackCodes(c.Bytes, product(shape), c.Encoding.Bits)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(q))
	for i, v := range q {
		out[i] = float32(v) * float32(c.Ranges[i/(len(q)/scales)])
	}
	return out, nil
}

// words returns the 16-bit words of which b holds the lower byte first.
func words(b []byte) []uint16 {
	out := make([]uint16, len(b)/2)
	for i := range out {
		out[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return out
}

// checkCodes makes sure that the codes of a state are those of its values, and that
// codes of a quantizer have its scales.
func checkCodes(n *layers.Net, s layers.StateDict) error {
	for i := range s {
		e := &s[i]
		if e.Codes == nil {
			continue
		}
		v, err := decode(e.Codes, e.Shape)
		if err == nil && !slices.Equal(v, e.Data) {
			err = errors.New("its codes stand for other values than it has")
		}
		if err == nil && e.Codes.Encoding.Rule == layers.Scaled {
			scale := s.Find(n.ScaleOf(e.Name))
			if scale == nil || !slices.EqualFunc(e.Codes.Ranges, scale.Data, func(a float64, b float32) bool { return a == float64(b) }) {
				err = errors.New("its codes have other scales than its quantizer")
			}
		}
		if err != nil {
			return fmt.Errorf("tensor %s: %w", e.Name, err)
		}
	}
	return nil
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Scheme returns the scheme by which a state is stored, Mixed if none is: that
// whose codes all tensors have for which it has any.
func Scheme(s layers.StateDict) string {
	coded := slices.ContainsFunc(s, func(e layers.Entry) bool { return e.Codes != nil })
	if !coded {
		return Float32
	}
	if slices.ContainsFunc(s, func(e layers.Entry) bool { return e.Encoding().Rule == layers.Scaled }) {
		return Quantized
	}
	for _, scheme := range []string{Affine8, Affine8PerChannel, Affine4Block, Float16} {
		if !slices.ContainsFunc(s, func(e layers.Entry) bool { return !stored(&e, scheme) }) {
			return scheme
		}
	}
	return Mixed
}

// stored reports whether an entry is stored as the scheme has it.
func stored(e *layers.Entry, scheme string) bool {
	var want layers.Encoding
	switch vector := len(e.Shape) == 1; {
	case e.Integer() || len(e.Shape) == 0:
	case scheme == Affine8:
		want = layers.Encoding{Rule: layers.MinMax, Bits: 8}
	case scheme == Affine8PerChannel && !vector:
		want = layers.Encoding{Rule: layers.MinMax, Bits: 8, PerChannel: true}
	case scheme == Affine4Block && !vector:
		want = layers.Encoding{Rule: layers.MinMax, Bits: 4, Block: block}
	case scheme == Float16 && !slices.ContainsFunc(e.Data, half.Overflows):
		want = layers.Encoding{Rule: layers.Half, Bits: 16}
	}
	return e.Encoding() == want
}
