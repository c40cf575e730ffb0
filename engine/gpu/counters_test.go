package gpu

import (
	"testing"

	"github.com/potstill/potstill/cuda"
)

// TestCounters: no two lowerings have a counter in common, and all are zero.
func TestCounters(t *testing.T) {
	b := newFake(t)
	seen := make(map[cuda.Ptr]bool)
	for _, n := range []int{1, 1, slabWords - 5, 2, 7, slabWords + 1, 1} {
		p, err := b.counters(n)
		if err != nil {
			t.Fatal(err)
		}
		words := make([]byte, 4*n)
		if err := b.stream.Read(words, p); err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if at := p + cuda.Ptr(4*i); seen[at] {
				t.Fatalf("of %d counters, number %d is given out twice", n, i)
			} else {
				seen[at] = true
			}
		}
		for i, w := range words {
			if w != 0 {
				t.Fatalf("of %d counters, byte %d is %d", n, i, w)
			}
		}
	}
}
