package engine

import (
	"fmt"
	"math"
)

// A Collective is an op in which all of its Peers take part: each rank runs it at
// the same place of its program. A backend whose memory is the host's runs it by
// what Exchanger returns, between its own kernels.
type Collective interface {
	Op
	// Exchanger returns what computes the op, again and again, for the inputs and
	// outputs given then; an output that lies in the memory of an input (see Updater) is
	// the same slice.
	Exchanger() func(in, out [][]float32) error
	// Async reports whether the backend may do what follows meanwhile, up to the next
	// AllReduceWait.
	Async() bool
}

// AllReduce adds up what the ranks have, over all Peers, in the order of their
// ranks, whatever the network does: for K tensors a in float32
//
//	a ← (…((a of rank 0 + a of rank 1) + a of rank 2) + …)
//
// so that the result has the same bits everywhere, and those that one process comes to
// that adds up (Accumulate) what the ranks have, one after the other. A rank that is
// Absent adds nothing, whatever its a hold (neither does -0, to the bit).
//
// The tensors travel as one vector: each rank gets its share of all ranks'
// vectors, adds them up, and sends the sums to all. With n ranks and N bytes it
// sends 2·(n-1)/n·N bytes and gets as many.
//
// Inputs: K variables, or what overwrites them. Outputs, in place: K. They may be
// read behind an AllReduceWait only.
type AllReduce struct {
	K      int
	Peers  Peers
	Absent bool
}

// Infer implements Op.
func (op AllReduce) Infer(in []Spec) ([]Spec, error) { return inPlaceSpecs(in, op.K) }

// Alias implements Updater.
func (op AllReduce) Alias(i int) int { return i }

// Async implements Collective.
func (op AllReduce) Async() bool { return true }

// Exchanger implements Collective.
func (op AllReduce) Exchanger() func(in, out [][]float32) error {
	r := &reducer{peers: op.Peers, absent: op.Absent}
	return func(in, out [][]float32) error { return r.reduce(in, out) }
}

// AllReduceWait waits for the end of all AllReduces before it. Inputs: their
// outputs, K tensors. Outputs: these, in place.
type AllReduceWait struct{ K int }

// Infer implements Op.
func (op AllReduceWait) Infer(in []Spec) ([]Spec, error) { return inPlaceSpecs(in, op.K) }

// Alias implements Updater.
func (op AllReduceWait) Alias(i int) int { return i }

// inPlaceSpecs checks k tensors in float32 that an op overwrites.
func inPlaceSpecs(in []Spec, k int) ([]Spec, error) {
	if k < 1 || len(in) != k {
		return nil, fmt.Errorf("%w: takes %d tensors, got %d", ErrShape, k, len(in))
	}
	for i, s := range in {
		if s.DType != Float32 {
			return nil, fmt.Errorf("%w: tensor %d is %v, not float32", ErrShape, i, s)
		}
	}
	return in, nil
}

// A reducer has the buffers of an AllReduce.
type reducer struct {
	peers  Peers
	absent bool
	// parts are what is sent to each rank, theirs what each sends here; sums are this
	// rank's, all those of every rank.
	parts, theirs, sums, all []float32
}

// minusZero adds nothing to any number, not even to -0.
const minusZero = 0x80000000

// reduce computes the op.
func (r *reducer) reduce(in, out [][]float32) error {
	n := 0
	for _, t := range in {
		n += len(t)
	}
	ranks := r.peers.Size()
	share := (n + ranks - 1) / ranks
	if r.parts == nil {
		r.parts, r.theirs = make([]float32, share*ranks), make([]float32, share*ranks)
		r.sums, r.all = make([]float32, share), make([]float32, share*ranks)
		if r.absent {
			for i := range r.parts {
				r.parts[i] = math.Float32frombits(minusZero)
			}
		}
	}
	if !r.absent {
		at := 0
		for _, t := range in {
			at += copy(r.parts[at:], t)
		}
	}
	if err := r.peers.AllToAll(Bytes(r.theirs), Bytes(r.parts)); err != nil {
		return err
	}
	copy(r.sums, r.theirs[:share])
	for rank := 1; rank < ranks; rank++ {
		theirs := r.theirs[rank*share:][:len(r.sums)]
		for i := range r.sums {
			r.sums[i] += theirs[i]
		}
	}
	if err := r.peers.AllGather(Bytes(r.all), Bytes(r.sums)); err != nil {
		return err
	}
	at := 0
	for _, t := range out {
		at += copy(t, r.all[at:])
	}
	return nil
}
