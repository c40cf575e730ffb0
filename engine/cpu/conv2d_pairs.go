package cpu

// The gradient of weights in bfloat16 is made of pairs of pixels: see
// gemm_weight_bf16.h, where these bounds are explained.
const (
	pairsOfChunk = 96      // WGRAD_PAIRS
	pairsOfX     = 1 << 15 // WGRAD_XPAIRS
	tapClasses   = 8       // WGRAD_CLASSES
	pairsVL      = 16      // the longest vector: blocks of channels are multiples of it

	// pairsFloats bounds the weights whose sums one task keeps going. They pass
	// through the second cache once a chunk.
	pairsFloats = 32 << 10
	// pairsBlock is about how many channels of x a task takes.
	pairsBlock = 72
)

// pair sets what is particular to bfloat16: the units, and how a chunk of x is cut
// so that it fits the room that there is. It reports whether it does.
func (a *wgradArgs) pair(g geometry, taps []int64) bool {
	a.starts = a.w
	if g.rowwise() {
		a.starts -= int64(g.kw - 1) // a pixel reads so many columns more
	}
	if a.ntaps == 1 && taps[0] == 0 && taps[1] == 0 && a.sh == 1 && a.sw == 1 && a.h == a.gh && a.w == a.gw {
		a.gw *= a.n * a.gh // pointwise: all pixels are one row
		a.n, a.gh, a.h, a.w, a.starts = 1, 1, 1, a.gw, a.gw
	}
	a.kblock = a.kc
	if parts := ceilDiv(int(a.kc), pairsBlock); parts > 1 {
		a.kblock = int64(ceilDiv(ceilDiv(int(a.kc), parts), pairsVL) * pairsVL)
	}
	a.cut = min(a.gw, 2*pairsOfChunk)
	a.utaps = min(a.ntaps, max(1, pairsFloats/(a.kblock*a.gn)))
	if kw := int64(g.kw); !g.rowwise() && a.utaps < a.ntaps && a.utaps >= kw {
		a.utaps -= a.utaps % kw // whole rows of the kernel, which share pairs of x
	}
	for !a.fits(taps) {
		switch {
		case a.utaps > 1:
			a.utaps = (a.utaps + 1) / 2
		case a.cut > 32:
			a.cut = (a.cut/2 + 1) &^ 1
		case a.kblock > pairsVL:
			a.kblock = pairsVL
		default:
			return false
		}
	}
	return true
}

// fits sets how many rows of dy a chunk may have, and reports whether it may have one.
func (a *wgradArgs) fits(taps []int64) bool {
	classes, places, span := a.widest(taps)
	a.places = (a.cut+1)/2 + places
	row := classes * a.places * int64(ceilDiv(int(a.kblock), pairsVL)*pairsVL)
	for a.rows = pairsOfChunk; a.rows > 0; a.rows-- {
		pictures := min(a.rows, (a.rows+a.gh-2)/a.gh+1) // that it may touch
		if classes <= tapClasses && ((a.rows-pictures)*a.sh+pictures*span)*row <= pairsOfX {
			return true
		}
	}
	return false
}

// widest returns the most classes of taps that a unit has, the most places by which
// taps of a class differ, and the most rows of x that meet a row of dy.
func (a *wgradArgs) widest(taps []int64) (classes, places, span int64) {
	for t := int64(0); t < a.ntaps; t += a.utaps {
		least, most := make(map[int64]int64), make(map[int64]int64)
		first, last := taps[2*t], taps[2*t]
		for u := t; u < min(t+a.utaps, a.ntaps); u++ {
			dh, dw := taps[2*u], taps[2*u+1]
			place := dw / (2 * a.sw)
			if dw%(2*a.sw) < 0 {
				place--
			}
			class := dw - place*2*a.sw
			if _, ok := least[class]; !ok {
				least[class], most[class] = place, place
			}
			least[class], most[class] = min(least[class], place), max(most[class], place)
			first, last = min(first, dh), max(last, dh)
		}
		classes, span = max(classes, int64(len(least))), max(span, last-first+1)
		for class, place := range most {
			places = max(places, place-least[class])
		}
	}
	return classes, places, span
}
