package backendtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/ref"
)

// RunSync holds batch norms over several ranks to one over the batch of all of them, with up to
// three ranks whose batches differ in size, each a goroutine with a backend that open
// returns; see syncCase.
func RunSync(t *testing.T, open func() (engine.Backend, error)) {
	var ranks []engine.Backend
	for range 3 {
		b, err := open()
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		ranks = append(ranks, b)
	}
	for _, s := range syncCases(2, 3) {
		peers := engine.LocalPeers(len(s.images))
		errs := make([]error, len(peers))
		var all sync.WaitGroup
		for r, p := range peers {
			all.Go(func() {
				if errs[r] = s.hold(t, ranks[r], p); errs[r] != nil {
					p.Leave(errs[r].Error())
				}
			})
		}
		all.Wait()
		for r, err := range errs {
			if err != nil {
				t.Errorf("%v, rank %d: %v", s, r, err)
			}
		}
	}
}

// RunSyncRank is RunSync for one rank of several processes, each of which calls it.
func RunSyncRank(t *testing.T, b engine.Backend, p engine.Peers) {
	for _, s := range syncCases(p.Size()) {
		if err := s.hold(t, b, p); err != nil {
			t.Fatalf("%v, rank %d: %v", s, p.Rank(), err)
		}
	}
}

// A syncCase is a batch of pictures that ranks share.
type syncCase struct {
	images      []int // of each rank
	h, w, c     int
	absent      bool // the last rank has images and takes no part
	dtype       engine.DType
	offset, eps float32
}

func (s syncCase) String() string {
	return fmt.Sprintf("%v images of %dx%dx%d at %g, absent %v, %v", s.images, s.h, s.w, s.c, s.offset, s.absent, s.dtype)
}

func syncCases(ranks ...int) (all []syncCase) {
	for _, n := range ranks {
		for _, s := range []syncCase{
			{images: []int{2, 2, 2}, h: 3, w: 3, c: 4, eps: 1e-5},
			{images: []int{3, 1, 2}, h: 5, w: 4, c: 7, eps: 1e-5, offset: 10},
			{images: []int{40, 33, 21}, h: 9, w: 8, c: 33, eps: 1e-3, offset: -3},
			{images: []int{2, 3, 1}, h: 4, w: 4, c: 8, eps: 1e-5, absent: true},
			{images: []int{1, 2, 2}, h: 1, w: 1, c: 5, eps: 1e-5},
		} {
			if s.images = s.images[:n]; n == 1 && (s.absent || s.h == 1) {
				continue // which makes no sense alone
			}
			s.dtype = engine.Float32
			all = append(all, s)
		}
	}
	return all
}

// draw returns x and dy of a rank.
func (s syncCase) draw(rank int) (x, dy []float32) {
	rng := rand.New(rand.NewPCG(uint64(rank), uint64(s.c)))
	n := s.images[rank] * s.h * s.w * s.c
	x, dy = make([]float32, n), make([]float32, n)
	for i := range x {
		x[i] = s.offset + float32(rng.NormFloat64())*float32(1+i%s.c%3)
		dy[i] = float32(rng.NormFloat64())
	}
	return x, dy
}

// vector returns one for each channel.
func (s syncCase) vector(seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 77))
	v := make([]float32, s.c)
	for i := range v {
		v[i] = 0.5 + rng.Float32()
	}
	return v
}

// bound is how far a result may be from one process's, in units of the largest number of
// its tensor: some roundings of float32, in sums that are taken in another order.
const bound = 3e-6

// hold runs the op and its gradient at one rank, and compares what that has then with the
// definition of BatchNorm on the images of all.
func (s syncCase) hold(t *testing.T, b engine.Backend, p engine.Peers) error {
	me := p.Rank()
	absent := s.absent && me == len(s.images)-1
	x, dy := s.draw(me)
	gamma, beta, mean, variance := s.vector(1), s.vector(2), s.vector(3), s.vector(4)
	forward := engine.SyncBatchNorm{Eps: s.eps, Momentum: 0.1, Peers: p, Absent: absent}
	backward := engine.SyncBatchNormBackward{Peers: p, Absent: absent}
	spec, c := engine.F32(s.images[me], s.h, s.w, s.c), engine.F32(s.c)
	y, err := run(b, forward, []engine.Spec{spec, c, c, c, c}, [][]float32{x, gamma, beta, mean, variance})
	if err != nil {
		return err
	}
	dx, err := run(b, backward, []engine.Spec{spec, spec, c, c, c}, [][]float32{x, dy, gamma, y[1], y[2]})
	if err != nil {
		return err
	}
	wantY, wantDX, err := s.whole(me, absent, gamma, beta, mean, variance)
	if err != nil {
		return err
	}
	for i, name := range []string{"y", "μ", "r", "running mean", "running variance"} {
		s.near(t, me, name, y[i], wantY[i])
	}
	for i, name := range []string{"dx", "dγ", "dβ"} {
		s.near(t, me, name, dx[i], wantDX[i])
	}
	return nil
}

func (s syncCase) near(t *testing.T, rank int, name string, got []float32, want []float64) {
	largest := 0.0
	for _, v := range want {
		largest = max(largest, math.Abs(v))
	}
	for i, v := range want {
		if d := math.Abs(float64(got[i]) - v); !(d <= bound*largest) {
			t.Errorf("%v, rank %d: element %d of %s is %g, want %g", s, rank, i, name, got[i], v)
			return
		}
	}
}

// whole returns what BatchNorm and its gradient make of the images of all ranks, as far as it is
// rank me's. A rank that is absent is given what they make of its own images.
func (s syncCase) whole(me int, absent bool, gamma, beta, mean, variance []float32) (y, dx [][]float64, err error) {
	var xs, dys []float32
	total, first := 0, 0
	for r, n := range s.images {
		if s.absent && r == len(s.images)-1 {
			continue
		}
		total += n
	}
	for r, n := range s.images {
		if s.absent && r == len(s.images)-1 {
			continue
		}
		x, dy := s.draw(r)
		if r == me {
			first = len(xs)
		}
		xs = append(xs, x...)
		for _, d := range dy { // of the mean over all images
			dys = append(dys, d*float32(n)/float32(total))
		}
	}
	spec := engine.F32(total, s.h, s.w, s.c)
	array := func(spec engine.Spec, v []float32) ref.Array {
		a := ref.NewArray(spec)
		for i := range v {
			a.V[i] = float64(v[i])
		}
		return a
	}
	c := engine.F32(s.c)
	out, err := ref.Eval(engine.BatchNorm{Eps: s.eps, Momentum: 0.1, Train: true},
		[]ref.Array{array(spec, xs), array(c, gamma), array(c, beta), array(c, mean), array(c, variance)})
	if err != nil {
		return nil, nil, err
	}
	grad, err := ref.Eval(engine.BatchNormBackward{}, []ref.Array{array(spec, xs), array(spec, dys), array(c, gamma), out[1], out[2]})
	if err != nil {
		return nil, nil, err
	}
	x, dy := s.draw(me)
	for _, a := range out {
		y = append(y, a.V)
	}
	y[0], dx = make([]float64, len(x)), [][]float64{make([]float64, len(x)), make([]float64, s.c), make([]float64, s.c)}
	mine := float64(s.images[me]) / float64(total)
	for i := range x {
		k := i % s.c
		hat := (float64(x[i]) - out[1].V[k]) * out[2].V[k]
		y[0][i] = hat*float64(gamma[k]) + float64(beta[k])
		dx[1][k] += float64(dy[i]) * hat
		dx[2][k] += float64(dy[i])
		if !absent {
			dx[0][i] = grad[0].V[first+i] / mine
			continue
		}
		m := float64(len(x) / s.c)
		dx[0][i] = float64(gamma[k]) * out[2].V[k] * (float64(dy[i]) - grad[2].V[k]/m - hat*grad[1].V[k]/m)
	}
	return y, dx, nil
}

// run runs an op with an update in place, on tensors of one buffer.
func run(b engine.Backend, op engine.Op, specs []engine.Spec, values [][]float32) ([][]float32, error) {
	outs, err := op.Infer(specs)
	if err != nil {
		return nil, err
	}
	k, err := b.Compile(op, specs, outs)
	if err != nil {
		return nil, err
	}
	size := 0
	place := func(bytes int) (off int) {
		off, size = size, size+(bytes+255)/256*256
		return off
	}
	in, out := make([]engine.Tensor, len(specs)), make([]engine.Tensor, len(outs))
	for i, s := range specs {
		in[i] = engine.Tensor{Spec: s, Off: place(s.Bytes())}
	}
	for i, s := range outs {
		if u, ok := op.(engine.Updater); ok && u.Alias(i) >= 0 {
			out[i] = in[u.Alias(i)]
			continue
		}
		out[i] = engine.Tensor{Spec: s, Off: place(s.Bytes())}
	}
	ws := place(k.Workspace())
	buf, err := b.Alloc(size)
	if err != nil {
		return nil, err
	}
	defer buf.Close()
	for i := range in {
		in[i].Buf = buf
		if err := in[i].Write(engine.Bytes(values[i])); err != nil {
			return nil, err
		}
	}
	for i := range out {
		out[i].Buf = buf
	}
	if err := k.Enqueue(in, out, engine.Tensor{Spec: engine.Spec{Shape: []int{k.Workspace()}}, Buf: buf, Off: ws}); err != nil {
		return nil, err
	}
	if err := b.Sync(); err != nil {
		return nil, err
	}
	got := make([][]float32, len(out))
	for i, o := range out {
		got[i] = make([]float32, o.Len())
		if err := o.Read(engine.Bytes(got[i])); err != nil {
			return nil, err
		}
	}
	return got, nil
}
