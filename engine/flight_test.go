package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/backendtest/late"
	"github.com/potstill/potstill/engine/ref"
)

// A counter is a program whose runs add an input to a variable and return the sum.
type counter struct {
	p       *engine.Program
	store   *engine.Store
	x, sum  *engine.Value
	late    *late.Backend // nil: the reference, which is done at once
	doubled *engine.Value
}

func newCounter(t *testing.T, wait bool) *counter {
	t.Helper()
	c := new(counter)
	b := ref.New()
	if wait {
		c.late = late.Wrap(b)
		b = c.late
	}
	c.store = engine.NewStore(b)
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	c.x = bu.Input("x", engine.F32(3))
	v := bu.Variable(&engine.Variable{Name: "total", Spec: engine.F32(3)})
	c.sum = bu.Apply(engine.Accumulate{K: 1, Weight: 1}, bu.One(engine.Fill{Value: 0}), c.x, v)[0]
	c.doubled = bu.One(engine.Add{Weights: []float32{2}}, c.x)
	if err := bu.Err(); err != nil {
		t.Fatal(err)
	}
	var err error
	c.p, err = g.Compile(b, engine.Options{Store: c.store, Outputs: []*engine.Value{c.sum, c.doubled}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.p.Close(), c.store.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *counter) start(t *testing.T, x float32) engine.Flight {
	t.Helper()
	data := []float32{x, x, x}
	f, err := c.p.Start(context.Background(), engine.Bindings{c.x: engine.Bytes(data)})
	if err != nil {
		t.Fatal(err)
	}
	clear(data) // Start has taken what it needs
	return f
}

// land waits for a flight and checks what it returns.
func (c *counter) land(t *testing.T, f engine.Flight, sum, doubled float32) {
	t.Helper()
	if err := errors.Join(f.Wait(), f.Wait()); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 3)
	for v, want := range map[*engine.Value]float32{c.sum: sum, c.doubled: doubled} {
		if err := f.Read(v, engine.Bytes(got)); err != nil || !slices.Equal(got, []float32{want, want, want}) {
			t.Errorf("%v is %v, want %v: %v", v, got, want, err)
		}
	}
}

func bothWays(t *testing.T, f func(t *testing.T, late bool)) {
	t.Run("at once", func(t *testing.T) { f(t, false) })
	t.Run("late", func(t *testing.T) { f(t, true) })
}

// Each flight has the outputs of its own run, whenever they are read.
func TestFlights(t *testing.T) {
	bothWays(t, func(t *testing.T, late bool) {
		c := newCounter(t, late)
		if c.p.Overlaps() != late {
			t.Errorf("overlaps is %v", c.p.Overlaps())
		}
		before := c.start(t, 1)
		for i := 2; i < 8; i++ {
			next := c.start(t, float32(i))
			n := float32(i - 1)
			c.land(t, before, n*(n+1)/2, 2*n)
			before = next
		}
		c.land(t, before, 28, 14)
		if err := c.p.Run(context.Background(), engine.Bindings{c.x: engine.Bytes([]float32{1, 1, 1})}); err != nil {
			t.Fatal(err)
		}
		total := make([]float32, 3)
		if err := c.p.Read(c.sum, engine.Bytes(total)); err != nil || total[1] != 29 {
			t.Errorf("after a run without a flight: %v, %v", total, err)
		}
	})
}

// A flight that is under way when Run overtakes it keeps its outputs.
func TestRunBehindAFlight(t *testing.T) {
	bothWays(t, func(t *testing.T, late bool) {
		c := newCounter(t, late)
		f := c.start(t, 5)
		if err := c.p.Run(context.Background(), engine.Bindings{c.x: engine.Bytes([]float32{1, 1, 1})}); err != nil {
			t.Fatal(err)
		}
		c.land(t, f, 5, 10)
		c.land(t, c.start(t, 4), 10, 8)
	})
}

// Start does nothing but enqueue, and Wait waits for nothing but its own run.
func TestFlightsDoNotWait(t *testing.T) {
	c := newCounter(t, true)
	_, at := c.late.Launched()
	one := c.start(t, 1)
	first, done := c.late.Launched()
	two := c.start(t, 2)
	last, still := c.late.Launched()
	if done != at || still != at || first == at || last == first {
		t.Errorf("Start has done work: %d, %d, %d jobs done of %d, %d", at, done, still, first, last)
	}
	c.land(t, one, 1, 2)
	if _, done := c.late.Launched(); done != first {
		t.Errorf("the first flight had %d jobs, its end waited for %d", first, done)
	}
	c.land(t, two, 3, 4)
}

func TestFlightsAreRefused(t *testing.T) {
	bothWays(t, func(t *testing.T, late bool) {
		c := newCounter(t, late)
		ctx := context.Background()
		in := engine.Bindings{c.x: engine.Bytes([]float32{1, 1, 1})}
		if _, err := c.p.Start(ctx, nil); err == nil || !strings.Contains(err.Error(), "x(3) is not bound") {
			t.Errorf("unbound input: %v", err)
		}
		stopped, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := c.p.Start(stopped, in); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		one, two := c.start(t, 1), c.start(t, 2)
		if _, err := c.p.Start(ctx, in); err == nil || !strings.Contains(err.Error(), "2 are under way") {
			t.Errorf("a third flight: %v", err)
		}
		if err := one.Read(c.sum, make([]byte, 12)); err == nil || !strings.Contains(err.Error(), "not been waited for") {
			t.Errorf("reading before waiting: %v", err)
		}
		c.land(t, one, 1, 2)
		if err := one.Read(c.x, make([]byte, 12)); err == nil {
			t.Error("reading what is no output is accepted")
		}
		if err := one.Read(c.sum, make([]byte, 4)); !errors.Is(err, engine.ErrShape) {
			t.Errorf("too little room: %v", err)
		}
		three := c.start(t, 3)
		if err := one.Wait(); err == nil || !strings.Contains(err.Error(), "gone to a later one") {
			t.Errorf("waiting for a flight whose memory has gone: %v", err)
		}
		c.land(t, two, 3, 4)
		if err := (engine.Flight{}).Wait(); err == nil {
			t.Error("waiting for no flight is accepted")
		}
		if err := c.p.Close(); err != nil {
			t.Error(err)
		}
		if err := three.Wait(); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("waiting for a flight of a closed program: %v", err)
		}
		if _, err := c.p.Start(ctx, in); err == nil {
			t.Error("starting a closed program is accepted")
		}
	})
}

// Where a run is over at once, what was waited for goes with the next one.
func TestAnOverwrittenOutputIsNotRead(t *testing.T) {
	c := newCounter(t, false)
	one := c.start(t, 1)
	c.land(t, one, 1, 2)
	c.start(t, 2)
	if err := one.Read(c.sum, make([]byte, 12)); err == nil || !strings.Contains(err.Error(), "overwritten") {
		t.Errorf("reading what is no more: %v", err)
	}
}

// A failure of the device shows at Wait of the run that it has hit, and after.
func TestAFlightFails(t *testing.T) {
	c := newCounter(t, true)
	boom := errors.New("boom")
	runs := 0
	c.late.Fail = func() error {
		if runs++; runs == 3 { // the first is of what is prepared
			return boom
		}
		return nil
	}
	one, two := c.start(t, 1), c.start(t, 2)
	c.land(t, one, 1, 2)
	for range 2 {
		if err := two.Wait(); !errors.Is(err, boom) {
			t.Errorf("the failure at Wait: %v", err)
		}
	}
	if err := two.Read(c.sum, make([]byte, 12)); !errors.Is(err, boom) {
		t.Errorf("the failure at Read: %v", err)
	}
	if _, err := c.p.Start(context.Background(), engine.Bindings{c.x: make([]byte, 12)}); !errors.Is(err, boom) {
		t.Errorf("the failure at the next Start: %v", err)
	}
}
