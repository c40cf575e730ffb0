package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/potstill/potstill/engine"
)

// RunPeers compares the ops that other ranks take part in with their definition, to the
// bit, with up to four ranks, each a goroutine with a backend that open returns. It is
// apart from Run, for a backend may not be able to exchange with other ranks.
func RunPeers(t *testing.T, open func() (engine.Backend, error)) {
	var ranks []engine.Backend
	for range 4 {
		b, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ranks = append(ranks, b)
	}
	for n := 1; n <= len(ranks); n++ {
		t.Run(fmt.Sprintf("%d_ranks", n), func(t *testing.T) { checkPeers(t, n, onGoroutines(ranks[:n])) })
	}
	t.Run("Gone", func(t *testing.T) { checkGone(t, ranks[0]) })
}

// RunRank is RunPeers for one rank of several processes, each of which calls it.
func RunRank(t *testing.T, b engine.Backend, p engine.Peers) {
	checkPeers(t, p.Size(), func(of func(p engine.Peers) engine.Collective, in func(rank int) [][]float32, wait bool, then func(rank int, got [][]float32, err error)) {
		got, err := exchangeOn(b, of(p), in(p.Rank()), wait)
		then(p.Rank(), got, err)
	})
}

// A runner runs an op at the ranks that it knows of, on what in returns for each, and tells
// what each has then.
type runner func(of func(p engine.Peers) engine.Collective, in func(rank int) [][]float32, wait bool, then func(rank int, got [][]float32, err error))

// onGoroutines runs ops on backends that are ranks, each in a goroutine.
func onGoroutines(ranks []engine.Backend) runner {
	return func(of func(p engine.Peers) engine.Collective, in func(rank int) [][]float32, wait bool, then func(rank int, got [][]float32, err error)) {
		peers := engine.LocalPeers(len(ranks))
		got, errs := make([][][]float32, len(peers)), make([]error, len(peers))
		var all sync.WaitGroup
		for r, peer := range peers {
			all.Go(func() {
				if got[r], errs[r] = exchangeOn(ranks[r], of(peer), in(r), wait); errs[r] != nil {
					peer.Leave(errs[r].Error())
				}
			})
		}
		all.Wait()
		for r := range peers {
			then(r, got[r], errs[r])
		}
	}
}

// checkPeers checks the ops of n ranks.
func checkPeers(t reporter, n int, run runner) {
	for _, shapes := range parameterShapes {
		p := peersCase{n: n, run: run, shapes: shapes}
		for _, absent := range []bool{false, true} {
			checkReduce(t, p, absent)
		}
		for active := 1; active <= n; active++ {
			checkMove(t, p, active)
		}
	}
}

// A peersCase is what the op of n ranks is held to.
type peersCase struct {
	n      int
	run    runner
	shapes [][]int
}

// draw returns a vector for every shape, those of a rank.
func (p peersCase) draw(rank int) (all [][]float32) {
	rng := rand.New(rand.NewPCG(uint64(rank), uint64(len(p.shapes))))
	for _, s := range p.shapes {
		v := make([]float32, engine.F32(s...).Len())
		for i := range v {
			v[i] = float32(rng.NormFloat64() * math.Exp(8*rng.Float64()))
			if i%7 == 0 {
				v[i] = float32(math.Copysign(0, -1))
			}
		}
		all = append(all, v)
	}
	return all
}

// specs returns k times those of the case.
func (p peersCase) specs(k int) (all []engine.Spec) {
	for range k {
		for _, s := range p.shapes {
			all = append(all, engine.F32(s...))
		}
	}
	return all
}

// check runs the op of every rank and holds what each has then to want.
func (p peersCase) check(t reporter, what string, of func(p engine.Peers) engine.Collective, in func(rank int) [][]float32, wait bool, want [][]float32) {
	p.run(of, in, wait, func(r int, got [][]float32, err error) {
		name := fmt.Sprintf("%s of %v on rank %d of %d", what, p.shapes, r, p.n)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		equalBits(t, name, got, want)
	})
}

// exchangeOn runs a collective on tensors of b, in one buffer.
func exchangeOn(b engine.Backend, op engine.Collective, values [][]float32, wait bool) ([][]float32, error) {
	var in []engine.Spec
	size := 0
	for _, v := range values {
		in = append(in, engine.F32(len(v)))
		size += (4*len(v) + 63) / 64 * 64
	}
	buf, err := b.Alloc(size)
	if err != nil {
		return nil, err
	}
	defer buf.Close()
	var tensors []engine.Tensor
	off := 0
	for i, v := range values {
		t := engine.Tensor{Spec: in[i], Buf: buf, Off: off}
		if err := t.Write(engine.Bytes(v)); err != nil {
			return nil, err
		}
		tensors = append(tensors, t)
		off += (4*len(v) + 63) / 64 * 64
	}
	first := op.(engine.Updater).Alias(0)
	outs := tensors[first:]
	ops := []engine.Op{op}
	if wait {
		ops = append(ops, engine.AllReduceWait{K: len(outs)})
	}
	for i, o := range ops {
		from := tensors
		if i > 0 {
			from = outs
		}
		specs := make([]engine.Spec, len(from))
		for k, t := range from {
			specs[k] = t.Spec
		}
		k, err := b.Compile(o, specs, specs[len(specs)-len(outs):])
		if err != nil {
			return nil, err
		}
		if err := k.Enqueue(from, outs, engine.Tensor{}); err != nil {
			return nil, err
		}
	}
	if err := b.Sync(); err != nil {
		return nil, err
	}
	got := make([][]float32, len(outs))
	for i, t := range outs {
		got[i] = make([]float32, t.Len())
		if err := t.Read(engine.Bytes(got[i])); err != nil {
			return nil, err
		}
	}
	return got, nil
}

// equalBits reports the first element whose bits differ.
func equalBits(t reporter, what string, got, want [][]float32) {
	for k := range want {
		for i := range want[k] {
			if math.Float32bits(got[k][i]) != math.Float32bits(want[k][i]) {
				t.Errorf("%s: element %d of tensor %d is %g, want %g", what, i, k, got[k][i], want[k][i])
				return
			}
		}
	}
}

func checkReduce(t reporter, p peersCase, absent bool) {
	away := p.n - 1 // the rank that is absent
	var want [][]float32
	for r := range p.n {
		if absent && r == away {
			continue
		}
		for k, v := range p.draw(r) {
			if r == 0 {
				want = append(want, v)
				continue
			}
			for i := range v {
				want[k][i] += v[i]
			}
		}
	}
	if want == nil { // it is alone, and absent
		for _, s := range p.specs(1) {
			want = append(want, slices.Repeat([]float32{float32(math.Copysign(0, -1))}, s.Len()))
		}
	}
	p.check(t, fmt.Sprintf("AllReduce, absent %v,", absent), func(peer engine.Peers) engine.Collective {
		return engine.AllReduce{K: len(p.shapes), Peers: peer, Absent: absent && peer.Rank() == away}
	}, func(r int) [][]float32 {
		own := p.draw(r)
		if absent && r == away {
			own[0][0] = float32(math.NaN()) // what an absent rank has does not matter
		}
		return own
	}, true, want)
}

func checkMove(t reporter, p peersCase, active int) {
	op := engine.MoveStatistics{Active: active}
	pair := peersCase{n: p.n, run: p.run, shapes: append(slices.Clone(p.shapes), p.shapes...)}
	for i := range p.shapes {
		op.Momentum = append(op.Momentum, 0.1/float32(1+i))
	}
	running := pair.draw(100)
	want := pair.draw(100)
	for k, v := range want {
		m := float64(op.Momentum[k/2])
		for r := range active {
			batch := pair.draw(r)[k]
			for i := range v {
				v[i] = float32(float64((1-m)*float64(v[i])) + m*float64(batch[i]))
			}
		}
	}
	pair.check(t, fmt.Sprintf("MoveStatistics of %d batches", active), func(peer engine.Peers) engine.Collective {
		mine := op
		mine.Peers = peer
		return mine
	}, func(r int) [][]float32 {
		in := pair.draw(r)
		for _, v := range running {
			in = append(in, slices.Clone(v))
		}
		return in
	}, false, want)
}

// checkGone checks that the error of a rank that leaves comes through, at each call.
func checkGone(t *testing.T, b engine.Backend) {
	peers := engine.LocalPeers(2)
	peers[1].Leave("it is asked to")
	for range 2 {
		_, err := exchangeOn(b, engine.AllReduce{K: 1, Peers: peers[0]}, [][]float32{{1, 2, 3}}, true)
		if err == nil {
			t.Fatal("an exchange with a rank that has left succeeds")
		}
	}
}
