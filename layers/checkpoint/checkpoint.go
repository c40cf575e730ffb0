// Package checkpoint stores a trained model in one file that describes itself:
// a sealed safetensors file (package safetensors) of the tensors under
// PyTorch's names and in PyTorch's layouts, with one metadata entry, "potstill",
// that holds the rest as JSON: the net itself (layers.Net), class names,
// preprocessing, encodings, history, metrics, and where a training run stands.
//
// # Tensors
//
// A float tensor of the state_dict is F32 where it is stored in full, and a
// counter (num_batches_tracked) a scalar I64. What is stored in codes (see
// layers.Codes) is U8 or F16. The schemes that store a whole state so leave
// counters and scalars as they are:
//
//	affine8          U8 codes, one range a tensor
//	affine4-block    U8, two codes of 4 bits in each, one range for 64 weights that
//	                 follow each other in an output channel, for tensors of two axes
//	                 or more; else F32
//	affine8-channel  U8 codes, one range an output channel, for tensors of two
//	                 or more axes; vectors in F32
//	float16          F16; F32 where a value is beyond ±65504
//
// The weight of a module with a quantizer of its own (layers.Fake) may be stored as
// the quantizer's codes: I8 of the weight's shape, or for codes of B < 8 bits
// I8 [⌈n·B/8⌉], bit behind bit. Scales and zero points are F32 tensors of the net.
//
// The arithmetic of the other codes is that of package affine. The ranges of the codes lie in one
// F32 tensor [ranges,2] of (min, max), named "affine/range", in the order of
// the state_dict, a tensor's channels in order; ranges that float32 cannot hold,
// as the study's pickles have them, in an F64 tensor "affine/range64". The
// description's "encodings" say which codes are read how. What a training run
// needs beside the model (moments of the optimizer, the moving average) is
// stored under names that begin with "train/".
//
// # Versions
//
// Version 2 holds the net. Files of version 1 described it by its family and
// widths; they are read as if they held the net that the family makes.
//
// # Other programs' files
//
// [Open] also takes what PyTorch and the study write (package foreign): it finds
// out which net the tensors are (package identify) and says in the history where
// they came from. [Inspect] tells what any of these files holds, byte by byte.
package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/data/classlist"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// A Checkpoint is the content of a file.
type Checkpoint struct {
	Net *layers.Net
	// Classes names the classes in the order of the logits. It may be empty:
	// then they have numbers only.
	Classes    []string
	Preprocess Preprocess
	// History tells how the model came about, the oldest event first.
	History []Event
	// Metrics are figures measured on the model, as in "val_accuracy".
	Metrics map[string]float64
	// State is the model's content. What is stored in codes has them, and what
	// they decode to.
	State layers.StateDict
	// Extra are the tensors of a training run. Their names begin with ExtraPrefix.
	Extra []safetensors.Tensor
	// Progress is where the training run stands, in the trainer's own form.
	Progress json.RawMessage

	// Warnings are what whoever uses another program's file should know, a line
	// each: that tensors were left out, or computed from others. They are not
	// stored.
	Warnings []string

	// Path and Bytes are the file that Load has read, and its size.
	Path  string
	Bytes int64
}

// ExtraPrefix begins the names of the tensors in Extra.
const ExtraPrefix = "train/"

// Preprocess is what an image goes through before it meets the net: Resize
// (shorter side, 0: none), a center crop to Size, division by 255, and, where
// Mean and Std are given, (x-Mean)/Std channel by channel.
type Preprocess struct {
	Size   int       `json:"size"`
	Width  int       `json:"width,omitempty"` // where it is not Size, which is then the height
	Gray   bool      `json:"gray,omitempty"`  // one channel, for nets that take one
	Resize int       `json:"resize,omitempty"`
	Mean   []float32 `json:"mean,omitempty"`
	Std    []float32 `json:"std,omitempty"`
	// Assumed says that nobody has said so: the model came from another program's
	// file, which does not tell.
	Assumed bool `json:"assumed,omitempty"`
}

// An Event is a step in a model's history.
type Event struct {
	Kind   string `json:"kind"` // train, distill, prune, quantize, import, …
	Detail string `json:"detail,omitempty"`
	Data   string `json:"data,omitempty"`   // fingerprint of the data set
	Parent string `json:"parent,omitempty"` // Fingerprint of the file it was made from
	// Teacher is the Fingerprint of the file that was distilled from; Recipe the
	// study's recipe and step.
	Teacher string    `json:"teacher,omitempty"`
	Recipe  string    `json:"recipe,omitempty"`
	Time    time.Time `json:"time,omitzero"`
}

// Save writes c to path and returns the file's size in bytes. It is atomic: a
// reader finds the old file or the whole new one. A checkpoint that Load would
// refuse is not written. Equal checkpoints make equal files.
func Save(path string, c *Checkpoint) (bytes int64, err error) {
	f, err := c.file()
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return safetensors.Write(path, f)
}

// Size returns the size in bytes of the file that Save would write.
func Size(c *Checkpoint) (int64, error) {
	f, err := c.file()
	if err != nil {
		return 0, err
	}
	n := counter(0)
	err = f.Encode(&n)
	return int64(n), err
}

// A counter counts the bytes that are written to it.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// file returns what Save writes.
func (c *Checkpoint) file() (*safetensors.File, error) {
	if c.Net == nil {
		return nil, errors.New("there is no net")
	}
	if err := c.Net.Validate(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.Net.CheckState(c.State); err != nil {
		return nil, err
	}
	if err := checkCodes(c.Net, c.State); err != nil {
		return nil, err
	}
	m, err := c.Net.Model()
	if err != nil {
		return nil, err
	}
	d := description{
		Version: version, Net: c.Net, Classes: c.Classes, Preprocess: c.Preprocess,
		History: c.History, Metrics: c.Metrics, Progress: c.Progress,
	}
	f := &safetensors.File{}
	f.Tensors, d.Encodings = pack(inOrder(m, c.State))
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("describing the model: %w", err)
	}
	f.Metadata = map[string]string{metadataKey: string(text)}
	f.Tensors = append(f.Tensors, c.Extra...)
	return f, nil
}

// inOrder returns a state in the order of the model's state_dict.
func inOrder(m *layers.Model, s layers.StateDict) layers.StateDict {
	out := make(layers.StateDict, 0, len(s))
	for _, slot := range m.Slots() {
		out = append(out, *s.Find(slot.Variable.Name))
	}
	return out
}

// Load reads and verifies the checkpoint at path. What is wrong with the file
// is a *safetensors.FormatError: one line with the file, the fault and what to do.
func Load(path string) (*Checkpoint, error) {
	f, err := read(path)
	if err != nil {
		return nil, err
	}
	return load(path, f)
}

// read is safetensors.Read with the advice for checkpoints.
func read(path string) (*safetensors.File, error) {
	if strings.HasPrefix(path, BuiltinPrefix) {
		return readBuiltin(path)
	}
	f, err := safetensors.Read(path)
	var format *safetensors.FormatError
	if errors.As(err, &format) && format.Fix == "" {
		format.Fix = hintDamaged
	}
	return f, err
}

// load is Load for a file that has been read.
func load(path string, f *safetensors.File) (*Checkpoint, error) {
	text, ok := f.Metadata[metadataKey]
	if !ok {
		return nil, bad(path, "name a file that potstill has written, or import it with potstill convert", "not a potstill checkpoint: it has no metadata %q", metadataKey)
	}
	d, err := describe([]byte(text))
	if err != nil {
		return nil, bad(path, hintOf(err), "%v", err)
	}
	c := &Checkpoint{
		Net: d.Net, Classes: d.Classes, Preprocess: d.Preprocess,
		History: d.History, Metrics: d.Metrics, Progress: d.Progress, Path: path,
	}
	m, err := c.Net.Model()
	if err != nil {
		return nil, bad(path, newer, "%v", err)
	}
	if err := c.check(); err != nil {
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
	if c.State, err = unpack(m, model, d.Encodings); err != nil {
		return nil, bad(path, "", "%v", err)
	}
	c.Bytes = sizeOf(path)
	return c, nil
}

// hintDamaged is the hint for a damaged file: there may be others of its run.
const hintDamaged = "the file is damaged or cut short; copy it again or resume from an earlier checkpoint"

// bad returns the error for a file that is not what it should be, damaged where
// there is no other hint.
func bad(path, hint, format string, args ...any) error {
	if hint == "" {
		hint = hintDamaged
	}
	return &safetensors.FormatError{Path: path, Reason: fmt.Sprintf(format, args...), Fix: hint}
}

// maxSize is the most pixels of a side of an image, as package data has it.
const maxSize = 1 << 13

// check reports the first thing in c, its tensors aside, that does not fit the net.
func (c *Checkpoint) check() error {
	channels := c.Net.Input.Channels
	if n := c.Net.Classes(); len(c.Classes) != 0 && len(c.Classes) != n {
		return fmt.Errorf("%d class names for a model of %d classes", len(c.Classes), n)
	}
	p := c.Preprocess
	if p.Width < 0 || p.Width > maxSize || p.Width != 0 && p.Size == 0 || p.Gray && channels != 1 {
		return fmt.Errorf("preprocessing to a width of %d, gray %v, for a net of %d channels", p.Width, p.Gray, channels)
	}
	if p.Size < 0 || p.Resize < 0 || p.Size > maxSize || p.Resize > maxSize {
		return fmt.Errorf("preprocessing to a size of %d, resized to %d: give numbers from 0 to %d", p.Size, p.Resize, maxSize)
	}
	if in := c.Net.Input; p.Size != 0 && in.Height != 0 && (p.Size != in.Height || cmp.Or(p.Width, p.Size) != in.Width) {
		return fmt.Errorf("preprocessing to %dx%d pixels for a net that takes %dx%d", p.Size, cmp.Or(p.Width, p.Size), in.Height, in.Width)
	}
	if len(p.Mean) != len(p.Std) || len(p.Mean) != 0 && len(p.Mean) != channels {
		return fmt.Errorf("normalization by %d means and %d deviations for %d channels", len(p.Mean), len(p.Std), channels)
	}
	for i, s := range p.Std {
		if !(s > 0) || !finite(float64(s)) || !finite(float64(p.Mean[i])) {
			return fmt.Errorf("normalization by mean %g and deviation %g", p.Mean[i], s)
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
	return nil
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// Scheme returns how the model is stored: see Scheme.
func (c *Checkpoint) Scheme() string { return Scheme(c.State) }

// Restore builds the model and loads its state into store.
func (c *Checkpoint) Restore(store *engine.Store) (*layers.Model, error) {
	m, err := c.Net.Model()
	if err == nil {
		err = m.Load(store, c.State)
	}
	if err != nil {
		return nil, c.named(err)
	}
	return m, nil
}

// Infer is Restore for what evaluates the model: one whose net has quantizers of its
// activations computes in integers (layers.Integers), with the same answer on every
// backend. Others are restored as they are; weights in codes compute as the float32
// numbers that these stand for.
func (c *Checkpoint) Infer(store *engine.Store) (*layers.Model, error) {
	n, s, err := layers.Integers(c.Net, c.State)
	if err != nil {
		return nil, c.named(err)
	}
	m, err := n.Model()
	if err == nil {
		err = m.Load(store, s)
	}
	if err != nil {
		return nil, c.named(err)
	}
	return m, nil
}

// Rewrite returns a copy of the model as a rewrite leaves it, with the same
// class names, preprocessing and history. It has no metrics, for they were
// measured on another net, and no state of a training run.
func (c *Checkpoint) Rewrite(r layers.Rewrite) (*Checkpoint, error) {
	n, s, err := r(c.Net, c.State)
	if err != nil {
		return nil, c.named(err)
	}
	return &Checkpoint{Net: n, Classes: c.Classes, Preprocess: c.Preprocess, State: s, History: slices.Clone(c.History)}, nil
}

// CheckClasses reports whether the model was made for data with the given
// classes: as many, and where the checkpoint names them, the same names, in any
// of Unicode's normal forms.
func (c *Checkpoint) CheckClasses(classes []string) error {
	const hint = "choose the data it was trained on, or train a model for these"
	if n := c.Net.Classes(); len(classes) != n {
		return c.named(fmt.Errorf("the model has %d classes, the data %d; %s", n, len(classes), hint))
	}
	for i, name := range c.Classes {
		if classlist.Normalize(classes[i]) != classlist.Normalize(name) {
			return c.named(fmt.Errorf("class %d of the model is %q, of the data %q; %s", i, name, classes[i], hint))
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
	f, err := openFile(path)
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
