// Package checkpoint stores a trained model in one file that describes itself:
// a sealed safetensors file (package safetensors) of the tensors under
// PyTorch's names and in PyTorch's layouts, with one metadata entry, "potstill",
// that holds the rest as JSON: architecture, class names, preprocessing,
// quantisation, history, metrics, and where a training run stands.
//
// # Tensors
//
// Without quantisation each float tensor of the state_dict is F32 and each
// counter (num_batches_tracked) a scalar I64. Scalars stay so in every form.
//
//	affine8          U8 codes, one range a tensor
//	affine8-channel  U8 codes, one range an output channel for tensors of two
//	                 or more axes, one range for vectors
//	float16          F16; F32 where a value is beyond ±65504
//
// The arithmetic is that of package affine. The ranges of all coded tensors
// lie in one F32 tensor [ranges,2] of (min, max), named "affine/range", in the
// order of the state_dict, a tensor's channels in order. What a training run
// needs beside the model (moments of the optimiser, the moving average) is
// stored under names that begin with "train/".
//
// # Other programs' files
//
// [Open] also takes what PyTorch and the study write (package foreign): it finds
// out which net the tensors are (package identify) and says in the history where
// they came from. [Inspect] tells what any of these files holds, byte by byte.
package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A Checkpoint is the content of a file.
type Checkpoint struct {
	Arch layers.Arch
	// Classes names the classes in the order of the logits. It may be empty:
	// then they have numbers only.
	Classes    []string
	Preprocess Preprocess
	// Quant is how the tensors are stored: one of the constants below.
	Quant string
	// History tells how the model came about, the oldest event first.
	History []Event
	// Metrics are figures measured on the model, as in "val_accuracy".
	Metrics map[string]float64
	// State is the model's content; after Load, decoded to float32.
	State layers.StateDict
	// Extra are the tensors of a training run. Their names begin with ExtraPrefix.
	Extra []safetensors.Tensor
	// Progress is where the training run stands, in the trainer's own form.
	Progress json.RawMessage

	// Path and Bytes are the file that Load has read, and its size.
	Path  string
	Bytes int64
}

// The ways to store a state: in full; as 8-bit codes with one range a tensor,
// the study's; as 8-bit codes with one range an output channel, vectors (biases,
// BatchNorm) in full; in half precision.
const (
	Float32           = ""
	Affine8           = "affine8"
	Affine8PerChannel = "affine8-channel"
	Float16           = "float16"
)

// ExtraPrefix begins the names of the tensors in Extra.
const ExtraPrefix = "train/"

// Preprocess is what an image goes through before it meets the net: Resize
// (shorter side, 0: none), a centre crop to Size, division by 255, and, where
// Mean and Std are given, (x-Mean)/Std channel by channel.
type Preprocess struct {
	Size   int       `json:"size"`
	Resize int       `json:"resize,omitempty"`
	Mean   []float32 `json:"mean,omitempty"`
	Std    []float32 `json:"std,omitempty"`
}

// An Event is a step in a model's history.
type Event struct {
	Kind   string `json:"kind"` // train, distill, prune, quantise, import, …
	Detail string `json:"detail,omitempty"`
	Data   string `json:"data,omitempty"`   // fingerprint of the data set
	Parent string `json:"parent,omitempty"` // Fingerprint of the file it was made from
	// Teacher is the Fingerprint of the file that was distilled from; Recipe the
	// study's recipe and step.
	Teacher string    `json:"teacher,omitempty"`
	Recipe  string    `json:"recipe,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// metadataKey is the metadata entry that holds a description.
const metadataKey = "potstill"

// version is the newest form of the description that is understood.
const version = 1

// description is the JSON form of all but the tensors.
type description struct {
	Version    int                `json:"version"`
	Arch       layers.Arch        `json:"arch"`
	Classes    []string           `json:"classes,omitempty"`
	Preprocess Preprocess         `json:"preprocess"`
	Quant      string             `json:"quant,omitempty"`
	History    []Event            `json:"history,omitempty"`
	Metrics    map[string]float64 `json:"metrics,omitempty"`
	Progress   json.RawMessage    `json:"progress,omitempty"`
}

// Save writes c to path and returns the file's size in bytes. It is atomic: a
// reader finds the old file or the whole new one. A checkpoint that Load would
// refuse is not written. Equal checkpoints make equal files.
func Save(path string, c *Checkpoint) (bytes int64, err error) {
	fail := func(err error) (int64, error) { return 0, fmt.Errorf("write %s: %w", path, err) }
	m, err := layers.New(c.Arch)
	if err != nil {
		return fail(err)
	}
	if err := c.check(m); err != nil {
		return fail(err)
	}
	if err := m.Check(c.State); err != nil {
		return fail(err)
	}
	text, err := json.Marshal(description{
		Version: version, Arch: m.Arch(), Classes: c.Classes, Preprocess: c.Preprocess,
		Quant: c.Quant, History: c.History, Metrics: c.Metrics, Progress: c.Progress,
	})
	if err != nil {
		return fail(fmt.Errorf("describing the model: %w", err))
	}
	f := &safetensors.File{Metadata: map[string]string{metadataKey: string(text)}}
	if f.Tensors, err = encode(m, c.State, c.Quant); err != nil {
		return fail(err)
	}
	f.Tensors = append(f.Tensors, c.Extra...)
	return safetensors.Write(path, f)
}

// Load reads and verifies the checkpoint at path. What is wrong with the file
// is a *safetensors.FormatError: one line with the file, the fault and the mend.
func Load(path string) (*Checkpoint, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	return load(path, f)
}

// read is safetensors.Read with the advice for checkpoints.
func read(path string) (*safetensors.File, error) {
	f, err := safetensors.Read(path)
	var format *safetensors.FormatError
	if errors.As(err, &format) && format.Mend == "" {
		format.Mend = mendDamaged
	}
	return f, err
}

// load is Load for a file that has been read.
func load(path string, f *safetensors.File) (*Checkpoint, error) {
	text, ok := f.Metadata[metadataKey]
	if !ok {
		return nil, bad(path, "name a file that potstill has written, or import it with potstill convert", "not a potstill checkpoint: it has no metadata %q", metadataKey)
	}
	var d description
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, bad(path, "", "its description is not understood: %v", err)
	}
	if d.Version != version {
		return nil, bad(path, newer, "its description is of version %d, not %d", d.Version, version)
	}
	c := &Checkpoint{
		Arch: d.Arch, Classes: d.Classes, Preprocess: d.Preprocess, Quant: d.Quant,
		History: d.History, Metrics: d.Metrics, Progress: d.Progress, Path: path,
	}
	m, err := layers.New(c.Arch)
	if err != nil {
		return nil, bad(path, newer, "%v", err)
	}
	if err := c.check(m); err != nil {
		return nil, bad(path, "", "%v", err)
	}
	var model []safetensors.Tensor
	for _, t := range f.Tensors {
		if strings.HasPrefix(t.Name, ExtraPrefix) {
			c.Extra = append(c.Extra, t)
		} else {
			model = append(model, t)
		}
	}
	if c.State, err = decode(m, model, c.Quant); err != nil {
		return nil, bad(path, "", "%v", err)
	}
	if info, err := os.Stat(path); err == nil {
		c.Bytes = info.Size()
	}
	return c, nil
}

// newer is the mend for a file that this version cannot know.
const newer = "use the version of potstill that wrote it"

// mendDamaged is the mend for a damaged file: there may be others of its run.
const mendDamaged = "the file is damaged or cut short; copy it again or resume from an earlier checkpoint"

// bad returns the error for a file that is not what it should be, damaged where
// there is no other mend.
func bad(path, mend, format string, args ...any) error {
	if mend == "" {
		mend = mendDamaged
	}
	return &safetensors.FormatError{Path: path, Reason: fmt.Sprintf(format, args...), Mend: mend}
}

// check reports the first thing in c, its tensors aside, that does not fit the model.
func (c *Checkpoint) check(m *layers.Model) error {
	a := m.Arch()
	if len(c.Classes) != 0 && len(c.Classes) != a.Classes {
		return fmt.Errorf("%d class names for a model of %d classes", len(c.Classes), a.Classes)
	}
	p := c.Preprocess
	if p.Size < 0 || p.Resize < 0 {
		return fmt.Errorf("preprocessing to a size of %d, resized to %d: neither may be negative", p.Size, p.Resize)
	}
	if len(p.Mean) != len(p.Std) || len(p.Mean) != 0 && len(p.Mean) != a.InChannels {
		return fmt.Errorf("normalisation by %d means and %d deviations for %d channels", len(p.Mean), len(p.Std), a.InChannels)
	}
	for i, s := range p.Std {
		if !(s > 0) || !finite(float64(s)) || !finite(float64(p.Mean[i])) {
			return fmt.Errorf("normalisation by mean %g and deviation %g", p.Mean[i], s)
		}
	}
	for name, v := range c.Metrics {
		if !finite(v) {
			return fmt.Errorf("metric %s is %g; only finite figures can be stored", name, v)
		}
	}
	for _, t := range c.Extra {
		if !strings.HasPrefix(t.Name, ExtraPrefix) {
			return fmt.Errorf("the name of the training tensor %q does not begin with %q", t.Name, ExtraPrefix)
		}
	}
	return checkQuant(c.Quant)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Restore builds the model and loads its state into store.
func (c *Checkpoint) Restore(store *engine.Store) (*layers.Model, error) {
	m, err := layers.New(c.Arch)
	if err == nil {
		err = m.Load(store, c.State)
	}
	if err != nil {
		return nil, c.named(err)
	}
	return m, nil
}

// LoadInto loads the state into the model m, which was built for its own
// purpose: weights to start a training from. A model of another family, other
// widths or another number of classes is refused.
func (c *Checkpoint) LoadInto(m *layers.Model, store *engine.Store) error {
	a, own := m.Arch(), c.Arch
	if own.Family == a.Family && own.Classes != a.Classes {
		return c.named(fmt.Errorf("it is a model of %d classes, %d are needed; choose a checkpoint or data with the same classes", own.Classes, a.Classes))
	}
	if err := m.Load(store, c.State); err != nil {
		return c.named(fmt.Errorf("it holds %s %v, not %s %v: %w", own.Family, own.Widths, a.Family, a.Widths, err))
	}
	return nil
}

// LoadBody loads the state into the model m, which differs in the number of its
// classes: all but the last layer, which starts as PyTorch's does, drawn from
// the seed. Every other tensor must fit.
func (c *Checkpoint) LoadBody(m *layers.Model, store *engine.Store, seed uint64) error {
	if err := m.Init(store, seed); err != nil {
		return err
	}
	fresh, err := m.State(store)
	if err != nil {
		return err
	}
	head := headOf(m)
	var state layers.StateDict
	for _, e := range c.State {
		if !strings.HasPrefix(e.Name, head) {
			state = append(state, e)
		}
	}
	for _, e := range fresh {
		if strings.HasPrefix(e.Name, head) {
			state = append(state, e)
		}
	}
	if err := m.Load(store, state); err != nil {
		a := m.Arch()
		return c.named(fmt.Errorf("it holds %s %v, not %s %v: %w", c.Arch.Family, c.Arch.Widths, a.Family, a.Widths, err))
	}
	return nil
}

// headOf returns how the names of the last layer's tensors begin, as in "fc.".
func headOf(m *layers.Model) string {
	slots := m.Slots()
	name := slots[len(slots)-1].Variable.Name
	return name[:strings.LastIndexByte(name, '.')+1]
}

// CheckClasses reports whether the model was made for data with the given
// classes: as many, and where the checkpoint names them, the same names.
func (c *Checkpoint) CheckClasses(classes []string) error {
	const mend = "choose the data it was trained on, or train a model for these"
	if len(classes) != c.Arch.Classes {
		return c.named(fmt.Errorf("the model has %d classes, the data %d; %s", c.Arch.Classes, len(classes), mend))
	}
	for i, name := range c.Classes {
		if classes[i] != name {
			return c.named(fmt.Errorf("class %d of the model is %q, of the data %q; %s", i, name, classes[i], mend))
		}
	}
	return nil
}

// named puts the file's name in front of an error.
func (c *Checkpoint) named(err error) error {
	if c.Path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", c.Path, err)
}

// Fingerprint returns the SHA-256 of the file at path in hexadecimal, by which
// the checkpoints made from it name it as their Parent.
func Fingerprint(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
