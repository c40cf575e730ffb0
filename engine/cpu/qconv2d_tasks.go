package cpu

// A qsharing is how the work of a convolution of codes is shared out to tasks.
type qsharing struct {
	block  int // pixels of a task
	splits int // parts of the outputs of a group
}

const (
	qblock      = 192     // pixels of a task, at most: QBLOCK
	qblockBytes = 1 << 20 // of the rows that a task gathers, in int16, unless they are few
	qtile       = 6       // pixels that are computed together
	qpanel      = 64      // outputs that are computed together, at most
	qmany       = 64      // tasks of a thread; where blocks of the largest size are as many, nothing else is tried
)

// shared returns how the work is shared out to so many threads.
func (c *qconvolution) shared(threads int) qsharing { return c.once.of(threads, c.share) }

// share finds it: where pixels are few, that for which the last thread is expected to be done
// first. A block's rows stay in the cache while all of the weights go by.
func (c *qconvolution) share(threads int) qsharing {
	pixels, panels := c.n*c.oh*c.ow, ceilDiv(c.og, qpanel)
	most := min(max(min(qblockBytes/(2*c.terms()), qblock)/qtile*qtile, qtile), pixels)
	best := qsharing{block: most, splits: 1}
	if best.tasks(c) >= qmany*threads {
		return best
	}
	shortest := 0
	for blocks := ceilDiv(pixels, most); blocks <= min(ceilDiv(pixels, qtile), qmany*threads); blocks++ {
		s := qsharing{block: ceilDiv(pixels, blocks), splits: 1}
		for ; s.splits <= panels; s.splits++ {
			if time := lastDone(s.tasks(c), threads, s.time(c)); shortest == 0 || time < shortest {
				best, shortest = s, time
			}
		}
	}
	return best
}

// tasks returns how many tasks there are.
func (s qsharing) tasks(c *qconvolution) int {
	return ceilDiv(c.n*c.oh*c.ow, s.block) * c.groups * s.splits
}

// What tasks do beside their products, in multiply-adds of a thread.
const (
	qbegin   = 100_000 // the beginning of a task
	qcopied  = 8       // to copy a byte of x
	qfetched = 2       // rows of a product that cost as much as to read its weights
)

// time estimates how long a task takes where vectors compute it, in multiply-adds of a thread.
func (s qsharing) time(c *qconvolution) int {
	panels := ceilDiv(c.og, qpanel)
	columns := min(ceilDiv(panels, s.splits)*qpanel, ceilDiv(c.og, 16)*16)
	rows := s.block / qtile * qtile
	if left := s.block - rows; left > qtile/2 {
		rows += qtile
	} else {
		rows += 2 * left // which are computed one by one, and wait for their sums
	}
	bytes := s.block * c.terms()
	if c.copies(s.block) {
		bytes = c.copiedRows(s.block)
	} else if c.args.way == qdirect {
		bytes = 0
	}
	return c.terms()*columns*(rows+qfetched) + qcopied*bytes + qbegin
}

// copies reports whether a task copies the rows of x that it reads, and does not gather
// what its pixels read one by one.
func (c *qconvolution) copies(block int) bool {
	return c.kh*c.kw > 1 && c.groups == 1 && c.dil[1] == 1 && 2*c.copiedRows(block) <= qrowsBytes
}

// copiedRows returns the elements, at most, of the rows of x that a block of pixels reads,
// with their padding.
func (c *qconvolution) copiedRows(block int) int {
	rows := min((block-1)/c.ow+2, block) // of y
	images := min((block-1)/(c.oh*c.ow)+2, block)
	columns := (c.ow-1)*c.stride[1] + c.kw
	return (rows*c.stride[0] + images*((c.kh-1)*c.dil[0]+1)) * columns * c.c
}
