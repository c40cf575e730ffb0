package train

import (
	"context"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
)

// runShared evaluates a split together with the other ranks: each has its share of the
// batches. The figures are added up in the order of the images, so that they are those of
// one process, to the bit.
func (e *Evaluator) runShared(ctx context.Context, s *data.Split, p engine.Peers) (*Evaluation, error) {
	begin := time.Now()
	t := &tally{e: e, s: s, ev: &Evaluation{Confusion: NewConfusion(e.classes)}}
	// What all images have come to: the loss, and the class with the largest logit.
	mine := make([]float64, 2*s.Len())
	t.seen = func(i int, loss float64, class int) { mine[2*i], mine[2*i+1] = loss, float64(class) }
	if err := e.pass(ctx, t); err != nil {
		return nil, err
	}
	all := make([]float64, len(mine)*p.Size())
	if err := p.AllGather(engine.Bytes(all), engine.Bytes(mine)); err != nil {
		return nil, err
	}
	batch := min(e.o.Batch, s.Len())
	for i := range s.Len() {
		theirs := all[i/batch%p.Size()*len(mine):]
		t.sum += theirs[2*i]
		t.ev.Confusion[s.Label(i)][int(theirs[2*i+1])]++
	}
	t.ev.N = s.Len()
	return t.finish(begin)
}
