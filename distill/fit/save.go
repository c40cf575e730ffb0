package fit

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/potstill/potstill/distill"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data"
	"github.com/potstill/potstill/engine/train"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// An identity is the part of a run that its trainer cannot know: the loss.
type identity struct {
	Teacher string            `json:"teacher,omitempty"` // SHA-256 of its state
	Others  []string          `json:"other_teachers,omitempty"`
	KD      *distill.Settings `json:"kd,omitempty"`
	// Views are the further preparations of the images, in words.
	Views  []string `json:"views,omitempty"`
	Freeze []string `json:"freeze,omitempty"` // patterns
	distill.Sparsity
}

// A position is what last.safetensors holds as Progress.
type position struct {
	identity
	Trainer json.RawMessage `json:"trainer"`
}

// distilled adds the teachers.
func (i *identity) distilled(teachers []*checkpoint.Checkpoint, kd distill.Settings, views []data.Transform) {
	i.Teacher, i.KD = stateHash(teachers[0]), &kd
	for _, t := range teachers[1:] {
		i.Others = append(i.Others, stateHash(t))
	}
	for _, v := range views {
		i.Views = append(i.Views, v.Describe())
	}
}

// stateHash is the SHA-256 of a model's state, in hexadecimal.
func stateHash(c *checkpoint.Checkpoint) string {
	h := sha256.New()
	var word [8]byte
	for _, e := range c.State {
		_, _ = io.WriteString(h, e.Name+"\x00")
		data := e.Data
		for _, n := range e.Int {
			data = append(data, float32(n)) // as runs of version 1 have it
		}
		for _, v := range data {
			binary.LittleEndian.PutUint32(word[:], math.Float32bits(v))
			_, _ = h.Write(word[:4]) // never fails
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// differs says in what the loss of a run differs from that of the run before.
func (i identity) differs(now identity) error {
	switch {
	case i.Teacher == "" && now.Teacher != "":
		return fmt.Errorf("the run had no teacher and has one now; leave it out, or start a new run")
	case i.Teacher != "" && now.Teacher == "":
		return fmt.Errorf("the run had a teacher and has none now; name it, or start a new run")
	case i.Teacher != now.Teacher || !slices.Equal(i.Others, now.Others):
		return fmt.Errorf("the run had another teacher; name that one, or start a new run")
	case !slices.Equal(i.Freeze, now.Freeze):
		return fmt.Errorf("frozen was %q and is %q now; name the same, or start a new run", i.Freeze, now.Freeze)
	case i.Sparsity != now.Sparsity:
		return fmt.Errorf("sparsity was %v and is %v now; give the same, or start a new run", i.Sparsity, now.Sparsity)
	case !slices.Equal(i.Views, now.Views):
		return fmt.Errorf("the teacher's images were prepared as %q and are as %q now (--share-images gives it the student's); prepare them the same, or start a new run", i.Views, now.Views)
	case i.KD != nil && now.KD != nil && *i.KD != *now.KD:
		return fmt.Errorf("the distillation was %v and is %v now; use the old settings, or start a new run", *i.KD, *now.KD)
	}
	return nil
}

// save is the trainer's way to the files.
func (s *session) save(kind string, snap *train.Snapshot) error {
	err := s.write(kind, snap)
	if err != nil && s.saveErr == nil {
		s.saveErr = err
	}
	return err
}

func (s *session) write(kind string, snap *train.Snapshot) error {
	best, dir := kind == train.KindBest, s.j.Dir
	if !s.writes() {
		dir = ""
	}
	if dir == "" && !best {
		return nil
	}
	c, err := s.checkpoint(snap, !best)
	if err != nil {
		return err
	}
	if best {
		s.best = c
	}
	if dir == "" {
		return nil
	}
	name := LastFile
	if best {
		name = BestFile
	}
	if c.Bytes, err = checkpoint.Save(s.path(name), c); err != nil {
		return err
	}
	s.saved = s.saved || !best
	return nil
}

// checkpoint makes one of a snapshot: of the model alone, or with all that a
// resumed run needs.
func (s *session) checkpoint(snap *train.Snapshot, whole bool) (*checkpoint.Checkpoint, error) {
	var err error
	c := &checkpoint.Checkpoint{
		Net: s.model.Net(), Classes: s.j.Data.Classes, Preprocess: s.j.Preprocess, History: s.history,
	}
	if c.Metrics, err = figures(snap); err != nil {
		return nil, err
	}
	if c.State, err = stateOf(s.model, snap); err != nil {
		return nil, err
	}
	if !whole {
		// A net with quantizers computes with what the codes of its weights stand for.
		c.State, err = c.Net.Encode(c.State)
		return c, err
	}
	for _, t := range snap.Tensors {
		if t.Variable != nil {
			continue
		}
		extra, err := toTensor(t)
		if err != nil {
			return nil, err
		}
		c.Extra = append(c.Extra, extra)
	}
	c.Progress, err = json.Marshal(position{s.ident, snap.Progress})
	return c, err
}

// figures returns those of the snapshot's last epoch, nil before the
// first is done. They hold no times.
func figures(snap *train.Snapshot) (map[string]float64, error) {
	var p struct {
		History []train.EpochInfo `json:"history"`
	}
	if err := json.Unmarshal(snap.Progress, &p); err != nil {
		return nil, fmt.Errorf("the snapshot's history: %w", err)
	}
	if len(p.History) == 0 {
		return nil, nil
	}
	e := p.History[len(p.History)-1]
	return map[string]float64{
		"epoch": float64(e.Epoch), "val_accuracy": e.ValAccuracy, "val_loss": e.ValLoss,
		"train_accuracy": e.TrainAccuracy, "train_loss": e.TrainLoss,
	}, nil
}

// stateOf returns the model's state in a snapshot, in PyTorch's layouts.
func stateOf(m *layers.Model, snap *train.Snapshot) (layers.StateDict, error) {
	have := make(map[*engine.Variable][]byte, len(snap.Tensors))
	for _, t := range snap.Tensors {
		have[t.Variable] = t.Data
	}
	var out layers.StateDict
	for _, slot := range m.Slots() {
		v := slot.Variable
		raw, ok := have[v]
		if !ok || len(raw) != v.Bytes() {
			return nil, fmt.Errorf("the snapshot lacks %s", v.Name)
		}
		e, err := slot.Entry(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// snapshotOf reverses checkpoint and stateOf.
func snapshotOf(m *layers.Model, c *checkpoint.Checkpoint) (*train.Snapshot, identity, error) {
	var p position
	if err := json.Unmarshal(c.Progress, &p); err != nil || len(p.Trainer) == 0 {
		return nil, p.identity, fmt.Errorf("%s is a model without the state of a run; resume needs %s of a run that was stopped", c.Path, LastFile)
	}
	snap := &train.Snapshot{Progress: p.Trainer}
	for _, slot := range m.Slots() {
		v, e := slot.Variable, c.State.Find(slot.Variable.Name)
		t := train.SnapTensor{Name: v.Name, Variable: v, Spec: v.Spec, Data: slot.Raw(e)}
		snap.Tensors = append(snap.Tensors, t)
	}
	for i := range c.Extra {
		x := &c.Extra[i]
		v, err := safetensors.Float32s(x)
		if err != nil {
			return nil, p.identity, fmt.Errorf("%s: %w", c.Path, err)
		}
		snap.Tensors = append(snap.Tensors, train.SnapTensor{
			Name: strings.TrimPrefix(x.Name, checkpoint.ExtraPrefix), Spec: engine.F32(x.Shape...), Data: engine.Bytes(v),
		})
	}
	return snap, p.identity, nil
}

// resume puts the trainer where last was taken, if there is one.
func (s *session) resume(t *train.Trainer, last *checkpoint.Checkpoint) error {
	if last == nil {
		return nil
	}
	if err := sameNet(s.model.Net(), last.Net); err != nil {
		return fmt.Errorf("resume: %s is a run of %w; name the same model and images, or start a new run", last.Path, err)
	}
	if err := last.CheckDataset(s.j.Data); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	snap, ident, err := snapshotOf(s.model, last)
	if err != nil {
		return err
	}
	if err := ident.differs(s.ident); err != nil {
		return fmt.Errorf("resume: %s: %w", last.Path, err)
	}
	if err := t.Resume(snap); err != nil {
		return fmt.Errorf("%s: %w", last.Path, err)
	}
	s.saved = true
	if len(t.History()) == 0 {
		return nil
	}
	if s.best, err = checkpoint.Load(s.path(BestFile)); err != nil {
		return fmt.Errorf("resume: the best weights so far are lost: %w", err)
	}
	return nil
}

// called names a net, with its widths where it is of a family.
func called(a layers.Arch) string {
	if a.Widths == nil {
		return cmp.Or(a.Family, "a net without a name")
	}
	return fmt.Sprintf("%s %v", a.Family, a.Widths)
}

// sameNet says what the net of a run is, where it is not the one named now.
func sameNet(now, run *layers.Net) error {
	a, b := run.Arch(), now.Arch()
	switch {
	case now.Equal(run):
		return nil
	case called(a) != called(b):
		return fmt.Errorf("%s, not of %s", called(a), called(b))
	case run.Classes() != now.Classes():
		return fmt.Errorf("%s with %d classes, and these images have %d", called(a), run.Classes(), now.Classes())
	case run.Input.Channels != now.Input.Channels:
		return fmt.Errorf("%s for images of %d channels, not of %d", called(a), run.Input.Channels, now.Input.Channels)
	}
	return fmt.Errorf("another %s", run)
}

// toTensor converts what belongs to a run and not to its model. It is in the
// engine's layout, in the file as in the store.
func toTensor(t train.SnapTensor) (safetensors.Tensor, error) {
	if t.Spec.DType != engine.Float32 {
		return safetensors.Tensor{}, fmt.Errorf("%s is %v; only float32 can be saved", t.Name, t.Spec)
	}
	return safetensors.FromFloat32(checkpoint.ExtraPrefix+t.Name, t.Spec.Shape, floats(t.Data)), nil
}

// floats returns the numbers that raw holds in the machine's byte order.
func floats(raw []byte) []float32 {
	out := make([]float32, len(raw)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.NativeEndian.Uint32(raw[4*i:]))
	}
	return out
}
