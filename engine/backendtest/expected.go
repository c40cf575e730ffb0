package backendtest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/potstill/potstill/engine/ref"
)

// An expectation is a case's inputs and what the reference makes of them, which
// are the same for every backend. A suite is run on many in one process, so that
// what took long to compute is kept.
type expectation struct {
	sync.Mutex
	in, want []ref.Array
}

// An expectation is kept that took at least worthKeeping, as long as all of them
// have at most mostKept float64 numbers, which are 384 MiB.
const (
	worthKeeping = 500 * time.Microsecond
	mostKept     = 48 << 20
)

var kept atomic.Int64 // how many numbers are kept

// expected returns the inputs and the outputs that they should give. Nobody may
// write to them.
func (c testCase) expected() (in, want []ref.Array, err error) {
	e := c.expectation
	if e == nil {
		e = new(expectation)
	}
	e.Lock()
	defer e.Unlock()
	if e.in != nil {
		return e.in, e.want, nil
	}
	began := time.Now()
	in = c.arrays()
	if want, err = ref.Eval(c.op, in); err != nil || time.Since(began) < worthKeeping {
		return in, want, err
	}
	n := int64(0)
	for _, a := range in {
		n += int64(len(a.V) + len(a.Mag) + len(a.Slack))
	}
	for _, a := range want {
		n += int64(len(a.V) + len(a.Mag) + len(a.Slack))
	}
	if kept.Add(n) > mostKept {
		kept.Add(-n)
		return in, want, nil
	}
	e.in, e.want = in, want
	return in, want, nil
}
