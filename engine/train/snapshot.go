package train

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/potstill/potstill/engine"
)

// A Snapshot is the state of a run between two steps.
type Snapshot struct {
	// Progress is the trainer's own account of how far it has come: JSON.
	Progress json.RawMessage
	// Tensors are the net's variables and, in a snapshot of kind "last", then the
	// optimizer's state, the averages and the objective's state. They are in the engine's layouts
	// (HWIO, [I,O]).
	Tensors []SnapTensor
}

// A SnapTensor is one tensor of a Snapshot.
type SnapTensor struct {
	// Name is the variable's, or "optimizer.exp_avg.", "optimizer.exp_avg_sq.",
	// "optimizer.momentum_buffer." or "ema." and that. The objective's state has
	// the names that it gives.
	Name string
	// Variable is the net's variable; nil for anything else. Resume goes by the
	// name and does not look at it.
	Variable *engine.Variable
	Spec     engine.Spec
	Data     []byte // in the machine's byte order
}

// Apply copies the tensors that belong to a net's variables into a store.
func (s *Snapshot) Apply(store *engine.Store) error {
	for _, t := range s.Tensors {
		if t.Variable == nil {
			continue
		}
		if err := store.Set(t.Variable, t.Data); err != nil {
			return err
		}
	}
	return nil
}

// progressVersion is that of progress's JSON form.
const progressVersion = 1

// progress is what a snapshot knows beside tensors.
type progress struct {
	Version  int         `json:"version"`
	Kind     string      `json:"kind"`
	Settings settings    `json:"settings"`
	Position position    `json:"position"`
	Partial  partial     `json:"partial"`
	History  []EpochInfo `json:"history"`
	Epochs   int         `json:"epochs,omitempty"` // Config.Epochs; 0 in snapshots of older versions
}

// A position is a place in a run, between two steps.
type position struct {
	Epoch   int `json:"epoch"`   // epochs done
	Batch   int `json:"batch"`   // batches done in the epoch after these
	Update  int `json:"update"`  // steps done since the beginning
	Batches int `json:"batches"` // batches done since the beginning
}

// A partial holds the sums of an epoch under way.
type partial struct {
	Loss    float64    `json:"loss"` // loss · images
	Correct int        `json:"correct"`
	Images  int        `json:"images"`
	Terms   []TermLoss `json:"terms,omitempty"` // term · images
	Norm    float64    `json:"norm"`
	Steps   int        `json:"steps"`
	Seconds float64    `json:"seconds"`
}

// settings are those without which a resumed run would not be the same run.
// Epochs is not among them: a run can be made longer, unless the schedule depends
// on the length (see checkLength). A loss of the caller's own cannot be compared.
type settings struct {
	Seed       uint64          `json:"seed"`
	Batch      int             `json:"batch"`
	Accumulate int             `json:"accumulate"` // batches of all ranks that make a step
	Shuffle    bool            `json:"shuffle"`
	DropLast   bool            `json:"drop_last"`
	Optimizer  OptimizerConfig `json:"optimizer"`
	Schedule   ScheduleConfig  `json:"schedule"`
	ClipNorm   float32         `json:"clip_norm"`
	EMA        float32         `json:"ema"`
	Smoothing  float32         `json:"label_smoothing"`
	Mixup      float64         `json:"mixup"`
	CutMix     float64         `json:"cutmix,omitempty"`
	Weights    []float32       `json:"class_weights,omitempty"`
	Balanced   bool            `json:"balanced_weights,omitempty"`
	Sampling   bool            `json:"balanced_sampling,omitempty"`
	Precision  string          `json:"precision,omitempty"`
	Train      string          `json:"train"` // the transforms, as JSON
	Eval       string          `json:"eval"`
	Images     int             `json:"images"`
	Data       string          `json:"data"` // the dataset's fingerprint
	SyncBN     bool            `json:"sync_batch_norm,omitempty"`
	// Ranks is the number of ranks, where the result depends on it: see ordered.
	Ranks int `json:"ranks,omitempty"`
}

func (t *Trainer) settings() settings {
	train, _ := json.Marshal(t.c.Train) // Validate has seen to it that all numbers are finite
	eval, _ := json.Marshal(t.c.Eval)
	return settings{
		Train: string(train), Eval: string(eval),
		Seed: t.c.Seed, Batch: t.c.Batch, Accumulate: t.c.perStep(), Shuffle: t.c.Shuffle, DropLast: t.c.DropLast,
		Optimizer: t.c.Optimizer, Schedule: t.c.Schedule, ClipNorm: t.c.ClipNorm, EMA: t.c.EMA,
		Smoothing: t.c.LabelSmoothing, Mixup: t.c.MixupAlpha, CutMix: t.c.CutMixAlpha, Weights: t.c.ClassWeights,
		Balanced: t.c.BalancedWeights, Sampling: t.c.BalancedSampling, Precision: t.c.Precision,
		Images: t.source.images.Len(), Data: t.data, SyncBN: t.c.SyncBatchNorm, Ranks: t.c.ordered(),
	}
}

// snapshot takes the state. Kind "best" reads the evaluated weights.
func (t *Trainer) snapshot(kind string) (*Snapshot, error) {
	if err := t.syncCounters(); err != nil {
		return nil, err
	}
	raw, err := json.Marshal(progress{progressVersion, kind, t.settings(), t.ledger.pos, t.ledger.part, t.ledger.history, t.c.Epochs})
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	s := &Snapshot{Progress: raw}
	from := t.store
	if kind == KindBest {
		from = t.judge.store
	}
	if err := s.read(from, t.vars, true); err != nil {
		return nil, err
	}
	if kind == KindLast {
		err = s.read(t.store, t.programs.step.state.kept(), false)
	}
	return s, err
}

// read appends the values of vars.
func (s *Snapshot) read(store *engine.Store, vars []*engine.Variable, net bool) error {
	for _, v := range vars {
		st := SnapTensor{Name: v.Name, Spec: v.Spec, Data: make([]byte, v.Bytes())}
		if net {
			st.Variable = v
		}
		if err := store.Get(v, st.Data); err != nil {
			return fmt.Errorf("snapshot: %w", fault(store.Backend(), err))
		}
		s.Tensors = append(s.Tensors, st)
	}
	return nil
}

// notFinite returns the name of the first float32 tensor that holds a NaN or an
// infinity, "" if there is none.
func (s *Snapshot) notFinite() string {
	for _, t := range s.Tensors {
		if t.Spec.DType != engine.Float32 {
			continue
		}
		for i := 0; i+4 <= len(t.Data); i += 4 {
			if !finite(float64(math.Float32frombits(binary.NativeEndian.Uint32(t.Data[i:])))) {
				return t.Name
			}
		}
	}
	return ""
}

// save takes a snapshot and hands it to the caller's hook, if there is one and
// every number is finite.
func (t *Trainer) save(kind string) error {
	if t.hooks.Save == nil {
		return nil
	}
	s, err := t.snapshot(kind)
	if err != nil {
		return t.failed(err)
	}
	if name := s.notFinite(); name != "" {
		return t.ledger.diverged(name, t.ledger.step.loss, t.ledger.step.epoch, t.ledger.step.step)
	}
	if kind == KindBest || t.c.rank() == 0 {
		if err := t.hooks.Save(kind, s); err != nil {
			return fmt.Errorf("saving the %s snapshot: %w", kind, err)
		}
	}
	if kind == KindLast {
		at := t.ledger.pos
		t.saved = &at
	}
	return nil
}

// Resume puts the trainer, which must not have run, where the snapshot was
// taken. The snapshot must be of kind "last" and of the same run: the same
// net, data and settings; only Epochs, Patience, SaveEvery and Workers may
// differ, Epochs not where the schedule depends on it (cosine, onecycle). A loss
// of the caller's own is the caller's care. All is checked before anything is
// changed.
func (t *Trainer) Resume(s *Snapshot) error {
	if t.started {
		return errors.New("resume: the trainer has run already; make a new one")
	}
	var p progress
	if err := json.Unmarshal(s.Progress, &p); err != nil {
		return fmt.Errorf("resume: the snapshot's progress cannot be read: %w", err)
	}
	switch {
	case p.Version != progressVersion:
		return fmt.Errorf("resume: the snapshot has version %d, this program reads %d", p.Version, progressVersion)
	case p.Kind != KindLast:
		return fmt.Errorf("resume: a %q snapshot holds no optimizer state; use the %q one", p.Kind, KindLast)
	}
	if err := p.Settings.differs(t.settings()); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := t.checkLength(p); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := t.checkPosition(p); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if err := t.restore(s); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	l := t.ledger
	l.pos, l.part, l.history, t.counted = p.Position, p.Partial, p.History, p.Position.Batches
	t.resumed, t.saved = true, &p.Position
	return nil
}

// checkPosition makes sure that a snapshot's figures fit together.
func (t *Trainer) checkPosition(p progress) error {
	at := p.Position
	l := t.ledger
	whole := at.Batch%t.c.perStep() == 0 || at.Batch == l.batches
	if at.Epoch < 0 || at.Batch < 0 || at.Batch > l.batches || !whole || at.Batches != at.Epoch*l.batches+at.Batch ||
		len(p.History) != at.Epoch || p.Partial.Images < 0 || at.Update != at.Epoch*l.steps()+l.stepsOf(at.Batch) {
		return fmt.Errorf("the snapshot's progress does not fit together: %+v", at)
	}
	return nil
}

// restore copies the snapshot's tensors into the store, after it has found all
// of them.
func (t *Trainer) restore(s *Snapshot) error {
	have := make(map[string]*SnapTensor, len(s.Tensors))
	for i := range s.Tensors {
		have[s.Tensors[i].Name] = &s.Tensors[i]
	}
	want := append(append([]*engine.Variable(nil), t.vars...), t.programs.step.state.kept()...)
	for _, v := range want {
		st := have[v.Name]
		if st == nil {
			return fmt.Errorf("the snapshot lacks %s", v.Name)
		}
		if !st.Spec.Equal(v.Spec) || len(st.Data) != v.Bytes() {
			return fmt.Errorf("%s is %v (%d bytes) in the snapshot, %v here", v.Name, st.Spec, len(st.Data), v.Spec)
		}
	}
	if len(want) != len(s.Tensors) {
		known := make(map[string]bool, len(want))
		for _, v := range want {
			known[v.Name] = true
		}
		for _, st := range s.Tensors {
			if !known[st.Name] {
				return fmt.Errorf("the snapshot has a tensor %s, which this run does not", st.Name)
			}
		}
	}
	for _, v := range want {
		if err := t.store.Set(v, have[v.Name].Data); err != nil {
			return err
		}
	}
	return nil
}

// syncCounters adds the batches since the last call to the net's
// num_batches_tracked.
func (t *Trainer) syncCounters() error {
	delta := int64(t.ledger.pos.Batches - t.counted)
	if delta == 0 {
		return nil
	}
	net, ok := t.net.(Tracker)
	if !ok {
		return nil
	}
	for _, v := range net.Counters() {
		n := make([]int64, 1)
		if err := t.store.Get(v, engine.Bytes(n)); err != nil {
			return fault(t.store.Backend(), err)
		}
		n[0] += delta
		if err := t.store.Set(v, engine.Bytes(n)); err != nil {
			return fault(t.store.Backend(), err)
		}
	}
	t.counted = t.ledger.pos.Batches
	return nil
}
