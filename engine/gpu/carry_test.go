package gpu

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/potstill/potstill/cuda/fake"
	"github.com/potstill/potstill/engine"
)

// carriage returns inputs of several sizes, one behind the other with gaps, and
// the bytes of them all.
func carriage() (in []part, end int) {
	for _, n := range []int{carryPiece + 5*carryBlock + 17, 0, 4, carryBlock, 2*carryPiece - 1, 1000} {
		in = append(in, part{off: end, bytes: n})
		end = roundUp(end+n) + 256
	}
	return in, end
}

// TestCarrying: every upload finds its piece whole, and the pieces have all, in
// order, by whatever number of helpers, time after time. What was uploaded does
// not change after.
func TestCarrying(t *testing.T) {
	in, end := carriage()
	rng := rand.New(rand.NewPCG(1, 2))
	for _, procs := range []int{0, 1, 2, 8} { // 0: without helpers
		var h *helpers
		if procs > 0 {
			old := runtime.GOMAXPROCS(procs)
			h = newHelpers()
			runtime.GOMAXPROCS(max(old, 4))
			t.Cleanup(func() { runtime.GOMAXPROCS(old) })
			if h.count != min(procs, carriers)-1 {
				t.Fatalf("%d helpers on %d cores", h.count, procs)
			}
		}
		var c carrying
		c.lay(in)
		for range 10 {
			dst, got, want := make([]byte, end), make([]byte, end), make([]byte, end)
			src := make([][]byte, len(in))
			for i, p := range in {
				src[i] = want[p.off : p.off+p.bytes]
				for k := 0; k < p.bytes; k += 1 + k/8 {
					src[i][k] = byte(rng.Uint32())
				}
			}
			at, pieces := 0, 0
			err := c.carry(h, dst, src, func(off, n int) error {
				if off < at {
					t.Fatalf("a piece from %d is behind %d", off, at)
				}
				pieces++
				at = off + n
				copy(got[off:at], dst[off:at])
				return nil
			})
			if err != nil || pieces != 4 || !bytes.Equal(got, want) || !bytes.Equal(dst, want) {
				t.Fatalf("%d cores: %d pieces, uploaded %v, copied %v: %v", procs, pieces, bytes.Equal(got, want), bytes.Equal(dst, want), err)
			}
		}
		if h != nil {
			if err := h.close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestCarryingFails: after an error of an upload none follows, and the caller's
// memory is not read once the error is returned.
func TestCarryingFails(t *testing.T) {
	in, end := carriage()
	src := make([][]byte, len(in))
	for i, p := range in {
		src[i] = make([]byte, p.bytes)
	}
	h := newHelpers()
	defer func() { _ = h.close() }()
	var c carrying
	c.lay(in)
	bad, calls := errors.New("no link"), 0
	for round := range 5 {
		err := c.carry(h, make([]byte, end), src, func(int, int) error { calls++; return bad })
		if !errors.Is(err, bad) || calls != round+1 || c.done.Load() != int64(len(c.blocks)) {
			t.Fatalf("%d uploads, %d of %d blocks: %v", calls, c.done.Load(), len(c.blocks), err)
		}
	}
	var none carrying
	none.lay([]part{{}, {}})
	if err := none.carry(h, nil, make([][]byte, 2), func(int, int) error { return bad }); err != nil {
		t.Errorf("of nothing: %v", err)
	}
}

// TestLargeInputs: a large input is uploaded in pieces, without an allocation,
// and arrives whole; the helpers end with the backend.
func TestLargeInputs(t *testing.T) {
	o := fakeOptions(t)
	o.NoLibraries = true
	b := openBackend(t, o)
	g := engine.NewGraph()
	bu := engine.NewBuilder(g)
	const n = (2*carryPiece + carryPiece/2) / 4
	x, s := bu.Input("x", engine.F32(n)), bu.Input("s", engine.F32(1))
	y := bu.One(engine.Add{}, x, x)
	p, err := g.Compile(b, engine.Options{Outputs: []*engine.Value{y, s}})
	if err := errors.Join(err, bu.Err()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	data, got, want, one := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, 1)
	in := engine.Bindings{x: engine.Bytes(data), s: engine.Bytes(one)}
	round := float32(0)
	step := func() {
		for i := range data {
			data[i] = round + float32(i%1000)
			want[i] = 2 * data[i]
		}
		one[0] = round
		f, err := p.Start(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		clear(data)
		err = errors.Join(f.Wait(), f.Read(y, engine.Bytes(got)), f.Read(s, engine.Bytes(one)))
		if err != nil || !slices.Equal(got, want) || one[0] != round {
			t.Fatalf("run %v is wrong: %v", round, err)
		}
		round++
	}
	step()
	before := fake.Calls(t, "cuMemcpyHtoDAsync_v2")
	step()
	if calls := fake.Calls(t, "cuMemcpyHtoDAsync_v2") - before; calls != 3 {
		t.Errorf("%d uploads", calls)
	}
	if a := testing.AllocsPerRun(5, step); a != 0 {
		t.Errorf("%v allocations a run", a)
	}
	h := b.helpers
	if h == nil {
		t.Fatal("nobody helps")
	}
	if err := errors.Join(p.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	if _, open := <-h.work; open {
		t.Error("the helpers wait on")
	}
}
