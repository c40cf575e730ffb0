package train

import (
	"fmt"

	"github.com/potstill/potstill/engine"
)

// bucketBytes is how many bytes of gradients are added up over the ranks at a time:
// enough for the network to be busy, and not so many that the backward pass is over
// before the first are there.
const bucketBytes = 4 << 20

// absent reports whether this rank has no batch where the ranks below active have one.
func (s *Step) absent(active int) bool { return s.c.rank() >= active }

// share leaves to all ranks what a batch would change beside the gradients: the running
// statistics of batch norms.
func (s *Step) share(g *engine.Graph, active int) error {
	if s.c.Peers == nil {
		return nil
	}
	moved, err := s.shareStatistics(g, active)
	if err != nil {
		return err
	}
	for _, v := range append(s.net.Variables(), s.c.Objective.State()...) {
		if g.Overwrites(v) && !moved[v] {
			return fmt.Errorf("each batch changes %s, which several ranks cannot share: train in one process", v.Name)
		}
	}
	return nil
}

// shareStatistics has all ranks' batches move the running statistics, and returns those that
// the step moves by itself, at all ranks alike.
func (s *Step) shareStatistics(g *engine.Graph, active int) (moved map[*engine.Variable]bool, err error) {
	if s.c.SyncBatchNorm {
		return g.SyncStatistics(s.c.Peers, s.absent(active)), nil
	}
	s.statistics, err = g.DeferStatistics(func(running *engine.Variable) *engine.Variable {
		v := s.ofBatch[running]
		if v == nil {
			v = &engine.Variable{Name: "batch." + running.Name, Spec: running.Spec}
			s.ofBatch[running] = v
		}
		return v
	})
	return nil, err
}

// move moves the running statistics by the batches of the ranks below active.
func (s *Step) move(b *engine.Builder, active int) {
	if s.c.Peers != nil && !s.c.SyncBatchNorm {
		defer b.Scope("statistics")()
		b.MoveStatistics(s.statistics, s.c.Peers, active)
	}
}

// buckets cuts the active parameters, those used last first, into groups of about
// bucketBytes: places in the list of the active ones.
func (s *Step) buckets() (all [][]int) {
	left := 0
	for k := len(s.active) - 1; k >= 0; k-- {
		n := s.state.params[s.active[k]].Bytes()
		if len(all) == 0 || left < n {
			all, left = append(all, nil), bucketBytes
		}
		all[len(all)-1] = append(all[len(all)-1], k)
		left -= n
	}
	return all
}

// reduce adds up weight times the gradients over the ranks, bucket by bucket; without
// gradients, what has been accumulated. The sums are not to be read yet: see reduced.
func (s *Step) reduce(b *engine.Builder, w *WrittenStep, grads []*engine.Value, weight float32, absent bool) []*engine.Value {
	defer b.Scope("all-reduce")()
	accs := s.pick(b, nil, s.state.accs)
	sums := make([]*engine.Value, len(accs))
	var first *engine.Value
	if grads != nil {
		first = b.Input("first", engine.F32())
		w.In[first] = engine.Bytes(s.feed.first)
	}
	for _, bucket := range s.buckets() {
		var own, in []*engine.Value
		for _, k := range bucket {
			own = append(own, accs[k])
		}
		if grads != nil {
			in = append(in, first)
			for _, k := range bucket {
				in = append(in, grads[k])
			}
			own = b.Apply(engine.Accumulate{K: len(bucket), Weight: weight}, append(in, own...)...)
		}
		own = b.Apply(engine.AllReduce{K: len(bucket), Peers: s.c.Peers, Absent: absent}, own[:min(len(own), len(bucket))]...)
		for i, k := range bucket {
			sums[k] = own[min(i, len(own)-1)]
		}
	}
	return sums
}

// reduced returns the sums, which are there.
func (s *Step) reduced(b *engine.Builder, sums []*engine.Value) []*engine.Value {
	defer b.Scope("all-reduce")()
	return b.Apply(engine.AllReduceWait{K: len(sums)}, sums...)
}

// buildUpdate is BuildUpdate; a rank that is absent has accumulated nothing.
func (s *Step) buildUpdate(b *engine.Builder, absent bool) (*WrittenStep, error) {
	w := &WrittenStep{In: make(engine.Bindings)}
	sums := s.pick(b, nil, s.state.accs)
	if s.c.Peers != nil {
		sums = s.reduced(b, s.reduce(b, w, nil, 0, absent))
	}
	s.update(b, w, sums)
	return w, b.Err()
}

// buildIdle writes what a rank does that has no batch where the ranks below active
// have one: it adds nothing to the sums, and moves as the others do.
func (s *Step) buildIdle(b *engine.Builder, active int) (*WrittenStep, error) {
	w := &WrittenStep{In: make(engine.Bindings)}
	var sums []*engine.Value
	learns := s.c.Optimizer.Kind != Stale && s.c.Accumulate == 1
	if learns {
		sums = s.reduce(b, w, nil, 0, true)
	}
	s.move(b, active)
	if learns {
		s.update(b, w, s.reduced(b, sums))
	} else if s.c.Optimizer.Kind == Stale {
		s.average(b, w)
	}
	return w, b.Err()
}
