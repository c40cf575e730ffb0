package backendtest

import (
	"slices"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// TestBadMemory shows that the tests of memory and unknown operators can fail.
func TestBadMemory(t *testing.T) {
	var v verdict
	checkMemory(&v, boundless{ref.New()})
	checkUnknown(&v, boundless{ref.New()})
	if len(v.faults) != 3 {
		t.Errorf("want three faults: too short, a petabyte, an unknown operator; got %q", v.faults)
	}
}

// boundless gives a byte for every wish but the small ones, and compiles anything.
type boundless struct{ engine.Backend }

func (b boundless) Alloc(n int) (engine.Buffer, error) {
	if n > 1000 {
		n = 1
	}
	buf, err := b.Backend.Alloc(n)
	if n == 63 {
		return short{buf}, err
	}
	return buf, err
}

func (b boundless) Compile(engine.Op, []engine.Spec, []engine.Spec) (engine.Kernel, error) {
	return nil, nil
}

type short struct{ engine.Buffer }

func (s short) Bytes() int { return s.Buffer.Bytes() - 1 }

// TestBadClaim shows that a backend that runs bfloat16 without saying so is found,
// and one that refuses it is not.
func TestBadClaim(t *testing.T) {
	_, cases := suite()
	for _, c := range cases["Cast"] {
		var v verdict
		c.check(&v, silent{ref.New()})
		if found := len(v.faults) == 1; found != c.mixed() {
			t.Errorf("%s: want a fault only for bfloat16, got %q", c.label, v.faults)
		}
		v = verdict{}
		if c.check(&v, &planted{Backend: silent{ref.New()}, bug: bug{refuse: true}}); len(v.faults) != 1 {
			t.Errorf("%s: bfloat16 is claimed and refused: want one fault, got %q", c.label, v.faults)
		}
	}
}

// silent claims nothing.
type silent struct{ engine.Backend }

// TestBadOrder shows that kernels that run out of order are found: here they
// run when their chain's last is enqueued, backwards.
func TestBadOrder(t *testing.T) {
	var v verdict
	checkOrder(&v, &late{Backend: ref.New()})
	if len(v.faults) != 2 {
		t.Errorf("want two chains out of order, got %q", v.faults)
	}
}

// late is a backend that runs kernels in the opposite order.
type late struct {
	engine.Backend
	queue []func() error
}

func (l *late) Compile(op engine.Op, in, out []engine.Spec) (engine.Kernel, error) {
	k, err := l.Backend.Compile(op, in, out)
	return &lateKernel{k, l}, err
}

type lateKernel struct {
	engine.Kernel
	l *late
}

func (k *lateKernel) Enqueue(in, out []engine.Tensor, ws engine.Tensor) error {
	k.l.queue = append(k.l.queue, func() error { return k.Kernel.Enqueue(in, out, ws) })
	if len(k.l.queue) < doublings {
		return nil
	}
	for _, run := range slices.Backward(k.l.queue) {
		if err := run(); err != nil {
			return err
		}
	}
	k.l.queue = nil
	return nil
}
