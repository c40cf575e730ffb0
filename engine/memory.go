package engine

import (
	"errors"
	"fmt"
)

// A MemoryError says that a program does not fit into what a device has left. It
// wraps ErrOutOfMemory.
type MemoryError struct {
	Device string // the backend's name
	Needed int    // bytes that the program takes, with variables that were not there yet
	Free   int    // bytes that were free before; -1 where the backend cannot tell
	Err    error  // the backend's
}

// Error implements error.
func (e *MemoryError) Error() string {
	if e.Free < 0 {
		return fmt.Sprintf("%v: %s needs %s for the program: %v", ErrOutOfMemory, e.Device, HumanBytes(e.Needed), e.Err)
	}
	return fmt.Sprintf("%v: the program needs %s on %s, %s are free", ErrOutOfMemory, HumanBytes(e.Needed), e.Device, HumanBytes(e.Free))
}

// Unwrap returns the backend's error.
func (e *MemoryError) Unwrap() error { return e.Err }

// memoryError makes err a *MemoryError if it is one of memory.
func memoryError(err error, b Backend, needed, free int) error {
	if !errors.Is(err, ErrOutOfMemory) {
		return err
	}
	return &MemoryError{Device: b.Name(), Needed: needed, Free: free, Err: err}
}

// HumanBytes renders a number of bytes for a person, as in "9.1 GB", which is
// 9.1·10⁹ bytes.
func HumanBytes(n int) string {
	switch x := float64(n); {
	case x >= 1e12:
		return fmt.Sprintf("%.1f TB", x/1e12)
	case x >= 1e9:
		return fmt.Sprintf("%.1f GB", x/1e9)
	case x >= 1e6:
		return fmt.Sprintf("%.1f MB", x/1e6)
	case x >= 1e3:
		return fmt.Sprintf("%.1f kB", x/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}

// missing returns the bytes of the plan's variables that the store does not hold.
func (p *plan) missing(a aliases, s *Store) int {
	n := 0
	seen := make(map[*Variable]bool)
	count := func(vs []*Value) {
		for _, v := range vs {
			r := a.root(v).variable
			if r == nil || seen[r] {
				continue
			}
			seen[r] = true
			if !s.Holds(r) {
				n += r.Bytes()
			}
		}
	}
	for _, t := range p.all() {
		count(t.in)
		count(t.out)
	}
	count(p.outputs)
	return n
}

// Holds reports whether the store has memory for v: it is made at first use.
func (s *Store) Holds(v *Variable) bool { return s.slots[v] != nil }

// Footprint returns the bytes that the graph's program would take of the device
// beside its variables: Plan.ArenaBytes. Kernels are compiled as Compile
// compiles them, but no memory is taken.
func (g *Graph) Footprint(b Backend, o Options) (int, error) {
	if o.Store == nil {
		o.Store = NewStore(b)
	}
	p, a, err := g.plan(b, o)
	if err != nil {
		return 0, err
	}
	return p.layOut(a).size, nil
}

// Explain plans the graph as Compile does, takes no memory for it, and describes
// the plan. Variables need no values.
func (g *Graph) Explain(b Backend, o Options) (*Plan, error) {
	if o.Store == nil {
		o.Store = NewStore(b)
	}
	p, a, err := g.plan(b, o)
	if err != nil {
		return nil, err
	}
	return describe(p, p.layOut(a), a), nil
}
