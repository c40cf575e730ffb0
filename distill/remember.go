package distill

import (
	"fmt"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
)

// Features reports whether a term compares features, for which teachers must be run.
func (l *Loss) Features() bool {
	for _, i := range l.spec.Items {
		if i.Method.Features {
			return true
		}
	}
	return false
}

// Remember gives the loss the logits of the teacher of a number for all training images,
// [M,K]: it is not run then. The images must not change from epoch to epoch, and
// no term may compare features.
func (l *Loss) Remember(k int, table []float32) {
	l.teachers[k].table, l.teachers[k].view, l.teachers[k].adapter = table, nil, nil
}

// A recalled is the logits of a batch of a size.
type recalled struct {
	n, k int
	rows []float32
}

// recall binds the logits of the batch that a table has.
func (t *teacher) recall(k int, in *train.Batch) *engine.Outputs {
	s := in.Target.Spec
	r := &recalled{n: s.Shape[0], k: s.Shape[1], rows: make([]float32, s.Len())}
	t.recalled = append(t.recalled, r)
	return &engine.Outputs{Logits: in.Bind(fmt.Sprintf("teacher.%d.logits", k+1), s, engine.Bytes(r.rows))}
}

// tell looks the logits of a batch up.
func (t *teacher) tell(b *data.Batch) {
	for _, r := range t.recalled {
		if b == nil || b.N != r.n {
			continue
		}
		for n, at := range b.Numbers {
			copy(r.rows[n*r.k:(n+1)*r.k], t.table[int(at)*r.k:])
		}
	}
}
