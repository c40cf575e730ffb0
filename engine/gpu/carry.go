package gpu

import (
	"runtime"
	"sync"
	"sync/atomic"
)

const (
	// carryBlock is what one goroutine copies at a time: small enough for several
	// to share a batch evenly, large enough for the sharing to cost nothing.
	carryBlock = 256 << 10
	// carryPiece is what one upload holds at least: the link should need some tenth
	// of a millisecond for it, several times what it costs to enqueue (an estimate).
	carryPiece = 4 << 20
	// carriers is how many goroutines copy at most. By estimate one core copies
	// some 10 GB/s and a PCIe 5 link takes some 50; no card has been asked.
	carriers = 6
)

// A carrying is the copying of a staging's inputs into pinned memory, by the
// goroutine that asks for it and those of the backend's that have time. They take
// blocks in order. What is piled up is handed on in pieces while the rest is copied.
//
// A helper that wakes late finds no block left, or takes one of the next
// copying, of which it then sees everything: next is set to zero last.
type carrying struct {
	blocks []carried
	pieces []piece

	dst  []byte
	src  [][]byte
	next atomic.Int64  // the first block that nobody has taken
	done atomic.Int64  // blocks that are copied
	last chan struct{} // told when a helper has copied the last one
}

// A carried is a block of one input.
type carried struct {
	input, from, n int
	at             int // in pinned memory
	piece          int
}

// A piece is what is uploaded in one go, blocks and the gaps between them.
type piece struct {
	off, bytes int
	blocks     int
	left       atomic.Int64 // blocks that are not copied yet
}

// lay cuts the inputs into blocks and pieces.
func (c *carrying) lay(in []part) {
	c.last = make(chan struct{}, 1)
	var ends []int // of the pieces, in blocks
	bytes := 0
	for i, p := range in {
		for from := 0; from < p.bytes; from += carryBlock {
			n := min(carryBlock, p.bytes-from)
			c.blocks = append(c.blocks, carried{input: i, from: from, n: n, at: p.off + from, piece: len(ends)})
			if bytes += n; bytes >= carryPiece {
				ends, bytes = append(ends, len(c.blocks)), 0
			}
		}
	}
	if bytes > 0 {
		ends = append(ends, len(c.blocks))
	}
	c.pieces = make([]piece, len(ends))
	from := 0
	for k, to := range ends {
		first, last := c.blocks[from], c.blocks[to-1]
		p := &c.pieces[k]
		p.off, p.bytes, p.blocks = first.at, last.at+last.n-first.at, to-from
		from = to
	}
	c.next.Store(int64(len(c.blocks)))
}

// carry copies src into dst with the help of others, unless h is nil, and calls upload for one
// piece after the other, as soon as it is copied. It returns when all is copied,
// also after an error of upload, which is not called again then.
func (c *carrying) carry(h *helpers, dst []byte, src [][]byte, upload func(off, n int) error) (err error) {
	if len(c.blocks) == 0 {
		return nil
	}
	c.dst, c.src = dst, src
	for k := range c.pieces {
		c.pieces[k].left.Store(int64(c.pieces[k].blocks))
	}
	c.done.Store(0)
	c.next.Store(0)
	if h != nil {
		h.call(c, len(c.blocks)-1)
	}
	sent, ended := 0, false
	for {
		more, last := c.one()
		ended = ended || last
		if !more && !ended {
			<-c.last
		}
		for err == nil && sent < len(c.pieces) && c.pieces[sent].left.Load() == 0 {
			err = upload(c.pieces[sent].off, c.pieces[sent].bytes)
			sent++
		}
		if !more {
			c.dst, c.src = nil, nil
			return err
		}
	}
}

// one copies a block, if there is one left, and reports whether all are copied now.
func (c *carrying) one() (more, last bool) {
	i := c.next.Add(1) - 1
	if i >= int64(len(c.blocks)) {
		return false, false
	}
	b := &c.blocks[i]
	copy(c.dst[b.at:b.at+b.n], c.src[b.input][b.from:])
	c.pieces[b.piece].left.Add(-1)
	return true, c.done.Add(1) == int64(len(c.blocks))
}

// Helpers are goroutines that wait to help with a carrying.
type helpers struct {
	work  chan *carrying
	count int
	ended sync.WaitGroup
}

// newHelpers starts them: one core is the caller's.
func newHelpers() *helpers {
	h := &helpers{count: min(runtime.GOMAXPROCS(0), carriers) - 1}
	h.work = make(chan *carrying, h.count)
	for range h.count {
		h.ended.Go(func() {
			for c := range h.work {
				for more, last := c.one(); more; more, last = c.one() {
					if last {
						c.last <- struct{}{}
					}
				}
			}
		})
	}
	return h
}

// call wakes up to so many of them. None is waited for.
func (h *helpers) call(c *carrying, most int) {
	for range min(h.count, most) {
		select {
		case h.work <- c:
		default: // they are all behind, and come to c when they come
			return
		}
	}
}

// close ends them.
func (h *helpers) close() error {
	close(h.work)
	h.ended.Wait()
	return nil
}
