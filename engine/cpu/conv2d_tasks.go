package cpu

// A sharing is how the work of a product is shared out to tasks. It shows in no result: an
// element of y is one sum, whoever computes it.
type sharing struct {
	block         int // pixels of a task
	splits, share int // parts of the columns, and the columns of one
}

const (
	cutPixels = 96 // of a task, where there are many
	cutMany   = 16 // tasks of so many pixels, for which nothing else is tried
	// partColumns is what the columns of a part are a multiple of: the widest vector.
	partColumns = 16
)

// A memo keeps what was found for a number of threads, so that it is not searched whenever a
// kernel is enqueued.
type memo[T any] struct {
	threads int
	found   T
}

func (m *memo[T]) of(threads int, find func(threads int) T) T {
	if m.threads != threads {
		m.threads, m.found = threads, find(threads)
	}
	return m.found
}

// shared returns how the product is shared out to so many threads.
func (p *product) shared(threads int) sharing { return p.once.of(threads, p.share) }

// share finds it: where pixels are few, that for which the last thread is expected to be done
// first.
func (p *product) share(threads int) sharing {
	g, columns := &p.gemm, roundUp(int(p.gemm.gn))
	pixels, groups := int(g.n*g.gh*g.gw), int(g.groups)
	best := sharing{block: cutPixels, splits: 1, share: columns}
	if p.whole || ceilDiv(pixels, cutPixels)*groups >= cutMany {
		return best
	}
	shortest := 0
	for blocks := 1; blocks <= ceilDiv(pixels, 12); blocks++ {
		for parts := 1; parts <= columns/partColumns; parts++ {
			c := sharing{block: ceilDiv(pixels, blocks), share: roundUp(ceilDiv(columns, parts))}
			c.splits = ceilDiv(int(g.gn), c.share)
			time := c.time(p, threads, ceilDiv(pixels, c.block)*groups*c.splits)
			if shortest == 0 || time < shortest {
				best, shortest = c, time
			}
		}
	}
	return best
}

// time estimates how long it takes, in multiply-adds of a thread, for so many tasks.
func (c sharing) time(p *product, threads, tasks int) int {
	columns := c.share
	if c.share/partColumns%2 == 1 {
		columns += partColumns / 8 // a panel of one vector is slower
	}
	rows := 6 // of a tile
	if c.share <= 2*partColumns {
		rows = 12
	}
	task := int(p.gemm.ntaps*p.gemm.kc)*columns*(ceilDiv(c.block, rows)*rows+fetchWeights) + beginTask
	return lastDone(tasks, threads, task)
}

const (
	fetchWeights = 12     // rows of a product that cost as much as to read its weights
	beginTask    = 20_000 // the cost of a task, in multiply-adds
)

// lastDone estimates when the last of so many threads is done with tasks of one length: a
// thread may have to wait for another by a quarter of it.
func lastDone(tasks, threads, task int) int { return ceilDiv(tasks, threads)*task + task/4 }
