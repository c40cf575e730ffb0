package engine

import (
	"math/rand/v2"
	"testing"
)

// TestPlace: blocks that are alive together never share a byte, the arena holds
// them all, and it is no larger than laying them end to end.
func TestPlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var blocks []*block
		naive := 0
		for range 1 + rng.IntN(40) {
			first := rng.IntN(30)
			b := &block{bytes: 1 + rng.IntN(5000), first: first, last: first + rng.IntN(10)}
			blocks = append(blocks, b)
			naive += alignUp(b.bytes)
		}
		arena := place(blocks)
		if arena > naive {
			t.Fatalf("arena of %d bytes, %d end to end", arena, naive)
		}
		for i, x := range blocks {
			if x.off%align != 0 || x.off < 0 || x.off+x.bytes > arena {
				t.Fatalf("block %+v in an arena of %d", x, arena)
			}
			for _, y := range blocks[:i] {
				together := x.first <= y.last && y.first <= x.last
				overlap := x.off < y.off+y.bytes && y.off < x.off+x.bytes
				if together && overlap {
					t.Fatalf("%+v and %+v overlap", x, y)
				}
			}
		}
	}
}

func TestPlaceReusesMemory(t *testing.T) {
	var chain []*block
	for i := range 10 {
		chain = append(chain, &block{bytes: 1000, first: i, last: i + 1})
	}
	if got, want := place(chain), 2*alignUp(1000); got != want {
		t.Errorf("a chain of ten tensors takes %d bytes, want room for two: %d", got, want)
	}
}
