package layers

import "fmt"

// An Encoding says how a stored tensor's bytes become its numbers. The zero
// value stands for numbers stored in full: float32, or int64.
type Encoding struct {
	// Rule is one of the constants below.
	Rule string `json:"rule,omitempty"`
	// Bits is the size of a code.
	Bits int `json:"bits,omitempty"`
	// PerChannel says that each output channel, the first axis in PyTorch's
	// layout, has a range of its own; else the tensor has one.
	PerChannel bool `json:"per_channel,omitempty"`
	// Block is, if it is not 0, how many weights that follow each other in an output
	// channel have a range of their own; the last block of a channel may be shorter.
	Block int `json:"block,omitempty"`
}

// Codes are what is stored of a tensor in place of its numbers.
type Codes struct {
	Encoding Encoding
	// Bytes hold the codes, row-major in the entry's shape: one byte each, for Half
	// two, the lower one first, and for codes in blocks half a byte, the lower half first.
	Bytes []byte
	// Ranges are, for MinMax, (min, max): one pair, or one a channel or a block. They are
	// float32 values, but for those of the study's pickles, which have float64. For
	// Scaled they are the scales, one or one a channel.
	Ranges []float64
}

// The rules.
const (
	// MinMax maps the range [min, max] of the weights linearly onto the codes 0
	// to 2^Bits-1, w = q/(2^Bits-1)·(max-min)+min, evaluated in float64 and
	// rounded once to float32: the study's rule (package affine).
	MinMax = "minmax"
	// Half is IEEE 754's binary16.
	Half = "float16"
	// Scaled is that of a module's own quantizer of its weight (Fake): w = q·s,
	// rounded to float32, with signed codes q of 2 to 8 bits. They lie one
	// behind the other, each from its lowest bit on, from the lowest bit of the first
	// byte on; the bits behind the last code are zeros.
	Scaled = "scaled"
)

// Check reports an encoding that is not understood.
func (e Encoding) Check() error {
	switch {
	case e == Encoding{}:
	case e.Rule == Half && e == Encoding{Rule: Half, Bits: 16}:
	case e.Rule == MinMax && e.Bits == 8 && e.Block == 0:
	case e.Rule == MinMax && e.Bits == 4 && e.Block > 0 && !e.PerChannel:
	case e.Rule == Scaled && e.Bits >= 2 && e.Bits <= 8 && e.Block == 0:
	default:
		return fmt.Errorf("the encoding %+v is not understood; there are %s in 8 bits and, in blocks, in 4, %s in 16 and %s in 2 to 8", e, MinMax, Half, Scaled)
	}
	return nil
}
