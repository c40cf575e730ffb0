package gpu

import (
	"errors"

	"github.com/potstill/potstill/cuda"
)

// slabWords is how many counters are allocated at a time, at least.
const slabWords = 4096

// counters returns the address of n words that are zero, for a lowering whose
// blocks find out by them which of them is the last (last_block of common.cuh,
// which leaves them zero). They are the lowering's own as long as the backend
// lives: two lowerings may run at the same time in two streams. The scratch
// memory of a run is not zero, and to make it so would take a launch more.
func (b *Backend) counters(n int) (cuda.Ptr, error) {
	if b.wanted != nil {
		return 0, nil
	}
	if n > b.slabLeft {
		words := max(n, slabWords)
		p, err := b.ctx.Alloc(4 * words)
		if err != nil {
			return 0, b.wrap(err)
		}
		if err := b.stream.Fill(p, 0, 4*words); err != nil {
			return 0, b.wrap(errors.Join(err, b.ctx.Free(p)))
		}
		b.slabs, b.slabLeft = append(b.slabs, p), words
		b.slabSize = words
	}
	p := b.slabs[len(b.slabs)-1] + cuda.Ptr(4*(b.slabSize-b.slabLeft))
	b.slabLeft -= n
	return p, nil
}
