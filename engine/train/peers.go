package train

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/potstill/potstill/engine"
)

// checkRanks refuses more ranks than there are batches: some would never have one.
func (c Config) checkRanks(images int) error {
	batches := ceilDiv(images, c.Batch)
	if c.DropLast {
		batches = images / c.Batch
	}
	if n := c.ranks(); n > batches {
		return fmt.Errorf("there are %d ranks, and %d images in batches of %d make %d: a rank would never have one; start at most %d, or choose a smaller batch",
			n, images, c.Batch, batches, batches)
	}
	return nil
}

// ordered returns the number of ranks, if the sums of a run depend on it: each rank
// adds up several batches, and then the ranks' sums are added up, or batch norms see the
// batches of as many ranks. Else it is 0: a run may be resumed by another number of ranks whose
// batches make the same steps.
func (c Config) ordered() int {
	if c.ranks() > 1 && (c.Accumulate > 1 || c.SyncBatchNorm) {
		return c.ranks()
	}
	return 0
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// own returns what this rank's batch has come to.
func (t *Trainer) own(l *launch) (f figures) {
	if l.n == 0 {
		return f
	}
	f.n, f.loss, f.correct = l.n, float64(l.p.loss[0]), correct(l.p.logits, l.labels, t.programs.classes)
	for _, v := range l.p.terms {
		f.terms = append(f.terms, float64(v[0]))
	}
	return f
}

// gather returns what the batches of all ranks have come to, in the order of the
// ranks, and learns whether one of them is to stop.
func (t *Trainer) gather(l *launch) ([]figures, error) {
	p := t.c.Peers
	switch {
	case l.active == 0:
		return nil, nil
	case p == nil:
		t.ledger.alone[0] = t.own(l)
		return t.ledger.alone[:], nil
	}
	const head = 4 // images, loss, right ones, whether to stop
	own := t.own(l)
	mine := make([]float64, head+len(t.programs.step.terms))
	mine[0], mine[1], mine[2] = float64(own.n), own.loss, float64(own.correct)
	if t.halt != nil && t.halt.Err() != nil {
		mine[3] = 1
	}
	copy(mine[head:], own.terms)
	everything := make([]float64, len(mine)*p.Size())
	if err := p.AllGather(engine.Bytes(everything), engine.Bytes(mine)); err != nil {
		return nil, err
	}
	all := make([]figures, l.active)
	for r := range p.Size() {
		theirs := everything[r*len(mine):][:len(mine)]
		t.stop = t.stop || theirs[3] != 0
		if r < l.active {
			all[r] = figures{n: int(theirs[0]), loss: theirs[1], correct: int(theirs[2]), terms: theirs[head:]}
		}
	}
	return all, nil
}

// stopping reports whether the run is to stop between two steps: all ranks stop at the
// same one, which follows the first that is told to.
func (t *Trainer) stopping(ctx context.Context) bool {
	if t.c.Peers == nil {
		return ctx.Err() != nil
	}
	return t.stop
}

// agree makes sure that all ranks do the same: settings, data, and the values that
// they begin with. The error names the first difference, and is the same everywhere.
func (t *Trainer) agree() error {
	p := t.c.Peers
	if p == nil {
		return nil
	}
	facts, err := t.facts()
	if err != nil {
		return err
	}
	all, err := exchangeFacts(p, facts)
	if err != nil {
		return err
	}
	for r, theirs := range all[1:] {
		names := maps.Clone(all[0])
		maps.Copy(names, theirs)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			if a, b := value(all[0], name), value(theirs, name); a != b {
				return fmt.Errorf("rank %d differs from rank 0: %s is %s there and %s here; start all ranks with the same command, data and files", r+1, name, b, a)
			}
		}
	}
	return nil
}

// facts returns what must be the same at every rank, by name.
func (t *Trainer) facts() (map[string]string, error) {
	facts, err := t.settings().flat()
	if err != nil {
		return nil, err
	}
	maps.Copy(facts, t.c.Facts)
	facts["batches a rank and step"] = strconv.Itoa(t.c.Accumulate)
	facts["epochs"], facts["patience"], facts["save every"] = strconv.Itoa(t.c.Epochs), strconv.Itoa(t.c.Patience), strconv.Itoa(t.c.SaveEvery)
	facts["begun at"] = fmt.Sprintf("%+v", t.ledger.pos)
	vars := append(append(slices.Clone(t.vars), t.programs.step.state.kept()...), t.c.Objective.Frozen()...)
	for _, v := range vars {
		data := make([]byte, v.Bytes())
		if err := t.store.Get(v, data); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		facts["the content of "+v.Name] = hex.EncodeToString(sum[:8])
	}
	return facts, nil
}

// exchangeFacts returns those of every rank.
func exchangeFacts(p engine.Peers, facts map[string]string) ([]map[string]string, error) {
	text, err := json.Marshal(facts)
	if err != nil {
		return nil, err
	}
	var size [8]byte
	binary.NativeEndian.PutUint64(size[:], uint64(len(text)))
	sizes := make([]byte, 8*p.Size())
	if err := p.AllGather(sizes, size[:]); err != nil {
		return nil, err
	}
	most := 0
	for r := range p.Size() {
		most = max(most, int(binary.NativeEndian.Uint64(sizes[8*r:])))
	}
	mine, everything := make([]byte, most), make([]byte, most*p.Size())
	copy(mine, text)
	if err := p.AllGather(everything, mine); err != nil {
		return nil, err
	}
	all := make([]map[string]string, p.Size())
	for r := range all {
		theirs := everything[r*most:][:binary.NativeEndian.Uint64(sizes[8*r:])]
		if err := json.Unmarshal(theirs, &all[r]); err != nil {
			return nil, fmt.Errorf("what rank %d says of its settings cannot be read: %w", r, err)
		}
	}
	return all, nil
}
