package named

import "math/bits"

// Expansion is how many bytes a reader may allocate for each byte of a file,
// beside [Allowance].
const Expansion = 64

// Allowance is what a reader may allocate whatever the size of the file.
const Allowance = 1 << 20

// MaxFile is the size of the largest pickle or zip archive that is read, 4 GiB.
const MaxFile = 4 << 30

// A Budget is the memory that reading a file may still take. Readers take from
// it before they allocate: a pickle's objects, inflated entries, and the values
// of tensors, which views of one storage and strides of zero can multiply.
type Budget struct {
	size uint64
	left uint64
}

// NewBudget returns the budget of a file of the given size.
func NewBudget(size int) *Budget {
	return &Budget{size: uint64(size), left: Expansion*uint64(size) + Allowance}
}

// Take takes n items of the given number of bytes each, or returns an error. An
// eighth is added for what the allocator rounds up.
func (b *Budget) Take(n, bytes int) error {
	hi, lo := bits.Mul64(uint64(n), uint64(bytes))
	lo, carry := bits.Add64(lo, lo/8, 0)
	if n < 0 || hi != 0 || carry != 0 || lo > b.left {
		return Refused("it is damaged or was made to exhaust memory; do not use it",
			"its content unfolds to more than %d bytes for each of its %d bytes", Expansion, b.size)
	}
	b.left -= lo
	return nil
}

// Grow adds the budget of so many bytes that were read beside the file.
func (b *Budget) Grow(bytes int) {
	b.size += uint64(bytes)
	b.left += Expansion * uint64(bytes)
}

// Volume returns the number of elements of a shape, or false where a dimension
// is negative, there are more than 64, or the product of those other than zero
// exceeds an int.
func Volume(shape []int) (n int, ok bool) {
	if len(shape) > 64 {
		return 0, false
	}
	product, empty := uint64(1), false
	for _, d := range shape {
		if d < 0 {
			return 0, false
		}
		if d == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(product, uint64(d))
		if hi != 0 || lo > uint64(^uint(0)>>1) {
			return 0, false
		}
		product = lo
	}
	if empty {
		return 0, true
	}
	return int(product), true
}
