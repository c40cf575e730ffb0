package train

import (
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// A feed is small vectors that are bound to every program of a step and
// rewritten before each run.
type feed struct {
	hyper   [][]float32 // of the optimizer, for each group of parameters
	factors []float64   // of the learning rate, likewise
	bare    []bool      // without weight decay, likewise
	first   []float32   // 1 at the first batch of an accumulation
	decay   []float32   // of the average
	counter []uint32    // of dropout: seed and batch number, low halves first
}

func newFeed(seed uint64) feed {
	return feed{
		first: make([]float32, 1), decay: make([]float32, 1),
		counter: []uint32{uint32(seed), uint32(seed >> 32), 0, 0},
	}
}

// group returns what the optimizer is told of a group of parameters, bare if there
// is no weight decay. The groups of all programs are the same.
func (f *feed) group(i int, factor float64, bare bool) []float32 {
	if i == len(f.hyper) {
		f.hyper, f.factors, f.bare = append(f.hyper, make([]float32, engine.HyperLen)), append(f.factors, factor), append(f.bare, bare)
	}
	return f.hyper[i]
}

// A Moment is what changes from one run of a step's programs to the next.
type Moment struct {
	Epoch  int     // epochs before this one
	Update int     // steps before this one
	Batch  int     // batches before this one
	First  bool    // whether it is the first batch of its step
	LR     float64 // the learning rate
}

// Tell brings the data of all that the step has written up to date. It must be
// called before each run; batch is the one that runs, nil for the update of an
// accumulated step. Of its own it allocates nothing.
func (s *Step) Tell(m Moment, batch *data.Batch) {
	if batch != nil {
		s.c.Objective.Tell(m, batch)
	}
	f := &s.feed
	for g, factor := range f.factors {
		s.c.Optimizer.hyper(f.hyper[g], m.LR*factor, m.Update)
		if f.bare[g] {
			f.hyper[g][engine.HyperWeightDecay] = 0
		}
	}
	u := float32(m.Update)
	f.decay[0] = min(s.c.EMA, (1+u)/(10+u))
	f.first[0] = 0
	if m.First {
		f.first[0] = 1
	}
	f.counter[2], f.counter[3] = uint32(m.Batch), uint32(uint64(m.Batch)>>32)
}
