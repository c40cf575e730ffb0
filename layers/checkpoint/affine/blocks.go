package affine

import (
	"errors"
	"fmt"
)

// levels4 is the largest code of 4 bits.
const levels4 = 15

// EncodeBlocks4 is [Encode8] in 4 bits, with a range for each block of weights that
// follow each other in a row: w has so many rows of equal length, PyTorch's output
// channels, and the last block of a row may be shorter. Two codes lie in a byte, the
// first in its lower half. min and max are the ranges of the blocks, row by row.
func EncodeBlocks4(w []float32, rows, block int) (codes []byte, min, max []float32, err error) {
	each, err := perChannel(len(w), rows)
	if err != nil {
		return nil, nil, nil, err
	}
	if block < 1 {
		return nil, nil, nil, fmt.Errorf("affine: blocks of %d weights", block)
	}
	codes = make([]byte, (len(w)+1)/2)
	one := make([]uint8, block)
	for start := range blocks(rows, each, block) {
		part := w[start.from:start.to]
		lo, hi, err := encode(one[:len(part)], part, levels4)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("row %d: %w", start.from/each, err)
		}
		for i, q := range one[:len(part)] {
			at := start.from + i
			codes[at/2] |= q << (at % 2 * 4)
		}
		min, max = append(min, lo), append(max, hi)
	}
	return codes, min, max, nil
}

// DecodeBlocks4 reverses [EncodeBlocks4]. On an error dst is left untouched.
func DecodeBlocks4(codes []byte, rows, block int, min, max []float64, dst []float32) error {
	each, err := perChannel(len(dst), rows)
	if err != nil {
		return err
	}
	if block < 1 || len(codes) != (len(dst)+1)/2 {
		return fmt.Errorf("affine: %d bytes of codes in blocks of %d do not fit a destination of %d weights", len(codes), block, len(dst))
	}
	if n := BlocksOf(len(dst), rows, block); len(min) != n || len(max) != n {
		return fmt.Errorf("affine: %d minima and %d maxima for %d blocks", len(min), len(max), n)
	}
	if len(dst)%2 == 1 && codes[len(codes)-1]>>4 != 0 {
		return errors.New("affine: the unused bits of the last byte of codes are not zero")
	}
	for i := range min {
		if err := checkRange(min[i], max[i]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	i := 0
	for b := range blocks(rows, each, block) {
		for at := b.from; at < b.to; at++ {
			dst[at] = decode1(codes[at/2]>>(at%2*4)&levels4, min[i], max[i], levels4)
		}
		i++
	}
	return nil
}

// BlocksOf returns how many blocks there are in n weights of so many rows.
func BlocksOf(n, rows, block int) int { return rows * ((n/rows + block - 1) / block) }

type span struct{ from, to int }

// blocks goes through the blocks of rows of `each` weights.
func blocks(rows, each, block int) func(yield func(span) bool) {
	return func(yield func(span) bool) {
		for r := range rows {
			for at := 0; at < each; at += block {
				if !yield(span{r*each + at, r*each + min(at+block, each)}) {
					return
				}
			}
		}
	}
}
