// Package safetensors reads and writes the safetensors format of Hugging Face:
// named tensors and a flat map of strings, in one file without code.
//
// A file is
//
//	8 bytes   the length N of the header, little-endian
//	N bytes   a JSON object: {"name": {"dtype", "shape", "data_offsets"}, …,
//	          "__metadata__": {"key": "value", …}}, padded with spaces
//	the rest  the data of the tensors, little-endian, without gaps
//
// Shapes and layouts are the writer's: weights in PyTorch's order (OIHW, OI) if
// other tools shall read them.
//
// # The seal
//
// Every file written here is sealed by two metadata keys, so that any byte
// changed later is found when the file is read:
//
//	potstill.format   "1"
//	potstill.sha256   64 lower case hexadecimal digits: the SHA-256 of the whole
//	                  file (length, header with its padding, and data) as it
//	                  stands with these 64 digits replaced by the digit 0
//
// A file with either key must have both, and a correct sum; a file with neither
// is another tool's and is read without a sum. The first key is there for a
// change that hits the name of the second. The keys belong to the file, not to
// its content: they are removed from [File.Metadata] when a file is read, and
// added when one is written. Whoever edits such a file with another tool should
// drop both.
//
// # Order and alignment
//
// The header lists the tensors in the order of [File.Tensors]. The data section
// begins at a multiple of 8 bytes and holds the tensors by descending element
// size, in that order within one size; since the format allows no gaps, this is
// what aligns each tensor to its element. Metadata keys are sorted. Equal
// content therefore gives equal files.
package safetensors

import (
	"math/bits"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Metadata keys that seal a file; see the package comment.
const (
	KeyFormat = "potstill.format"
	KeySHA256 = "potstill.sha256"
)

const (
	metadataKey = "__metadata__"
	formatValue = "1"
	digestLen   = 64

	// maxHeader is the largest header that the format's reference
	// implementation accepts.
	maxHeader = 100_000_000
	// maxRank is the largest number of dimensions that PyTorch and NumPy know.
	maxRank = 64
)

// DType names the type of a tensor's elements as the format spells it.
type DType string

// The element types. BOOL is one byte an element, 0 or 1.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	I64  DType = "I64"
	I32  DType = "I32"
	I16  DType = "I16"
	I8   DType = "I8"
	U8   DType = "U8"
	BOOL DType = "BOOL"

	U64     DType = "U64"
	U32     DType = "U32"
	U16     DType = "U16"
	C64     DType = "C64" // two F32, real and imaginary
	F8E4M3  DType = "F8_E4M3"
	F8E5M2  DType = "F8_E5M2"
	F8E4M3Z DType = "F8_E4M3FNUZ"
	F8E5M2Z DType = "F8_E5M2FNUZ"
	F8E8M0  DType = "F8_E8M0"
)

// Size returns the number of bytes of an element, or 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case F64, I64, U64, C64:
		return 8
	case F32, I32, U32:
		return 4
	case F16, BF16, I16, U16:
		return 2
	case I8, U8, BOOL, F8E4M3, F8E5M2, F8E4M3Z, F8E5M2Z, F8E8M0:
		return 1
	}
	return 0
}

// Tensor is a named array. Data holds its elements in row-major order,
// little-endian; its length is the product of Shape times the element size. An
// empty Shape is a scalar, of one element.
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte
}

// File is the content of a safetensors file. The order of Tensors is kept.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor
	// Sealed says, of a file that was read, that it had a seal. It does not
	// matter to what is written.
	Sealed bool
}

// Lookup returns the tensor of the given name, and whether there is one. The
// result points into f.Tensors.
func (f *File) Lookup(name string) (*Tensor, bool) {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i], true
		}
	}
	return nil, false
}

// FormatError says that bytes are not the safetensors file they should be. It
// is the error of every reader of model files.
type FormatError = named.FormatError

// byteLen returns the number of bytes of a tensor, or false where a dimension is
// negative or the product of the dimensions other than zero, in bytes, exceeds
// an int.
func byteLen(d DType, shape []int) (int, bool) {
	const maxInt = uint64(^uint(0) >> 1)
	product, empty := uint64(d.Size()), false
	for _, n := range shape {
		if n < 0 {
			return 0, false
		}
		if n == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(product, uint64(n))
		if hi != 0 || lo > maxInt {
			return 0, false
		}
		product = lo
	}
	if empty {
		return 0, true
	}
	return int(product), true
}
