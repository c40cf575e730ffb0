package gpu

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// A summer is a program whose runs add x, which is n and up, to a variable. Its
// outputs are the sum, twice x, and x itself.
type summer struct {
	t             *testing.T
	p             *engine.Program
	x, sum, twice *engine.Value
	in            engine.Bindings
	data, got     []float32
	total         float32 // of element 0
	runs          int
}

const summed = 1000

func newSummer(t *testing.T, b engine.Backend) *summer {
	t.Helper()
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	s := &summer{t: t, data: make([]float32, summed), got: make([]float32, summed)}
	s.x = bu.Input("x", engine.F32(summed))
	total := bu.Variable(&engine.Variable{Name: "total", Spec: s.x.Spec})
	s.sum = bu.Apply(engine.Accumulate{K: 1, Weight: 1}, bu.One(engine.Fill{Value: 0}), s.x, total)[0]
	s.twice = bu.One(engine.Add{Weights: []float32{2}}, s.x)
	if err := bu.Err(); err != nil {
		t.Fatal(err)
	}
	s.in = engine.Bindings{s.x: engine.Bytes(s.data)}
	store := engine.NewStore(b)
	var err error
	s.p, err = g.Compile(b, engine.Options{Store: store, Outputs: []*engine.Value{s.sum, s.twice, s.x}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.p.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// start begins a run and overwrites the caller's memory.
func (s *summer) start(n float32) engine.Flight {
	for i := range s.data {
		s.data[i] = n + float32(i)
	}
	f, err := s.p.Start(context.Background(), s.in)
	if err != nil {
		s.t.Fatal(err)
	}
	clear(s.data)
	return f
}

// land waits for the run that was started with n and checks its outputs.
func (s *summer) land(f engine.Flight, n float32) {
	if err := f.Wait(); err != nil {
		s.t.Fatal(err)
	}
	s.total += n
	s.runs++
	s.check(f, s.sum, s.total, float32(s.runs))
	s.check(f, s.twice, 2*n, 2)
	s.check(f, s.x, n, 1)
}

// check holds an output to first + i·slope.
func (s *summer) check(f engine.Flight, v *engine.Value, first, slope float32) {
	if err := f.Read(v, engine.Bytes(s.got)); err != nil {
		s.t.Fatal(err)
	}
	for i, y := range s.got {
		if y != first+float32(i)*slope {
			s.t.Fatalf("run %d: element %d of %v is %v, want %v", s.runs, i, v, y, first+float32(i)*slope)
		}
	}
}

// TestFlights: every flight has its own outputs, though the device works late
// and the caller's memory is used again at once; no run allocates; a program
// that is closed with a flight under way leaves nothing behind.
func TestFlights(t *testing.T) {
	for _, queue := range []string{"eager", "lazy"} {
		t.Run(queue, func(t *testing.T) {
			t.Setenv("FAKE_QUEUE", queue)
			o := fakeOptions(t)
			o.NoLibraries = true
			b := openBackend(t, o)
			s := newSummer(t, b)
			before := fake.Live(t)
			n := float32(0)
			last := s.start(n)
			step := func() {
				next := s.start(n + 1)
				s.land(last, n)
				last, n = next, n+1
			}
			if a := testing.AllocsPerRun(10, step); a != 0 {
				t.Errorf("%v allocations a run", a)
			}
			during := fake.Live(t)
			if during.Host != before.Host+engine.Flights || during.Memory != before.Memory {
				t.Errorf("alive before the first run: %+v, then: %+v", before, during)
			}
			if err := errors.Join(s.p.Close(), s.p.Close()); err != nil {
				t.Fatal(err)
			}
			after := fake.Live(t)
			before.Memory-- // the arena
			before.Graphs-- // the run; nothing is prepared
			if after != before {
				t.Errorf("alive before: %+v, after: %+v", before, after)
			}
		})
	}
}

// TestStartDoesNotWait: where the device works when somebody waits for it, no
// kernel has run when Start returns.
func TestStartDoesNotWait(t *testing.T) {
	t.Setenv("FAKE_QUEUE", "lazy")
	o := fakeOptions(t)
	o.NoLibraries = true
	s := newSummer(t, openBackend(t, o))
	waits := func() (n int) {
		for _, call := range []string{"cuEventSynchronize", "cuStreamSynchronize", "cuCtxSynchronize", "cuMemcpyHtoD_v2", "cuMemcpyDtoH_v2"} {
			n += max(fake.Calls(t, call), 0)
		}
		return n
	}
	s.land(s.start(1), 1)
	before, slept := waits(), fake.Calls(t, "CU_EVENT_BLOCKING_SYNC")
	one := s.start(2)
	two := s.start(3)
	if n := waits() - before; n != 0 {
		t.Errorf("two starts have waited %d times", n)
	}
	s.land(one, 2)
	if n := waits() - before; n != 1 {
		t.Errorf("landing has waited %d times", n)
	}
	if n := fake.Calls(t, "CU_EVENT_BLOCKING_SYNC") - slept; n != 1 {
		t.Errorf("landing has slept %d times", n)
	}
	s.land(two, 3)
}

// TestTooLittlePinnedMemory: the host's memory is not the card's.
func TestTooLittlePinnedMemory(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	s := newSummer(t, openBackend(t, o))
	fake.Fail(t, "cuMemHostAlloc", fake.OutOfMemory, 1)
	before := fake.Live(t)
	_, err := s.p.Start(context.Background(), s.in)
	if err == nil || errors.Is(err, engine.ErrOutOfMemory) || !strings.Contains(err.Error(), "of pinned memory on the host") || strings.Contains(err.Error(), "\n") {
		t.Errorf("the error is %v", err)
	}
	if after := fake.Live(t); after != before {
		t.Errorf("alive before: %+v, after: %+v", before, after)
	}
	s.land(s.start(4), 4) // there is enough again
}

// TestMemoryErrors: a program that does not fit says what it needs and what is
// free, and takes nothing.
func TestMemoryErrors(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	free, total, err := b.Memory()
	if err != nil || free <= 0 || total != 256<<20 || free > total {
		t.Fatalf("%d of %d bytes are free: %v", free, total, err)
	}
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	x := bu.Input("x", engine.F32(20<<20))
	v := bu.Variable(&engine.Variable{Name: "v", Spec: x.Spec})
	y := bu.One(engine.Add{}, x, v)
	store := engine.NewStore(b)
	options := engine.Options{Store: store, Outputs: []*engine.Value{y}}
	_, err = g.Compile(b, options)
	var m *engine.MemoryError
	if !errors.Is(err, engine.ErrOutOfMemory) || !errors.As(err, &m) || m.Free != free || m.Device != "cuda:0" {
		t.Fatalf("%d bytes were free: %v", free, err)
	}
	arena, err := g.Footprint(b, options)
	if err != nil || m.Needed != arena+v.Bytes() || arena < 2*x.Bytes() {
		t.Errorf("an arena of %d bytes, %d needed: %v", arena, m.Needed, err)
	}
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	if after, _, err := b.Memory(); err != nil || after != free {
		t.Errorf("%d bytes were free, %d are now: %v", free, after, err)
	}
}
