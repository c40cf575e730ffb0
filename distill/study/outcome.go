package study

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/potstill/potstill/distill/compress"
	"github.com/potstill/potstill/distill/prune"
	"github.com/potstill/potstill/distill/quant"
	"github.com/potstill/potstill/distill/shrink"
	"github.com/potstill/potstill/distill/study/report"
	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/atomicfile"
	"github.com/potstill/potstill/engine/metrics"
	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint"
)

// codeVersion is part of every key. Raise it when a change of the code changes
// what a step computes.
const codeVersion = 2

// outcomeFile is written last: a folder that has it is finished.
const outcomeFile = "outcome.json"

// An outcome is what a unit has come to.
type outcome struct {
	Name    string    `json:"name"`
	Key     string    `json:"key"`
	Started time.Time `json:"started"` // of the run that finished it
	Seconds float64   `json:"seconds"` // that this run spent on it
	Device  string    `json:"device"`

	// Of a model: the file in the unit's folder, and what it holds.
	File   string         `json:"file,omitempty"`
	Bytes  int64          `json:"bytes,omitempty"`
	SHA256 string         `json:"sha256,omitempty"`
	Params int64          `json:"params,omitempty"`
	Arch   *layers.Arch   `json:"arch,omitempty"`
	Widths []int          `json:"widths,omitempty"` // see prune.WidthsOf
	Epochs []report.Epoch `json:"epochs,omitempty"`

	// Unmeasured says of an imported model that it has other classes than the
	// data: it is there to be trained further.
	Unmeasured bool `json:"unmeasured,omitempty"`

	// Of every other unit: the validation images, classified by the file's model.
	Accuracy  float64   `json:"accuracy"`
	Loss      float64   `json:"loss"`
	Confusion [][]int   `json:"confusion,omitempty"`
	Mistakes  []mistake `json:"mistakes,omitempty"`
	// All figures of the validation and of the test images, where there are any.
	// They, and what follows, are missing in outcomes of earlier versions.
	Val  *metrics.Figures `json:"val,omitempty"`
	Test *metrics.Figures `json:"test,omitempty"`
	MACs int64            `json:"macs,omitempty"` // for one image, as torchinfo counts them
	// Of a measurement: the median of its passes, the time for one image, and the
	// bytes that the planner gives a batch of one.
	ImagesPerSecond float64         `json:"images_per_second,omitempty"`
	Latency         *report.Latency `json:"latency,omitempty"`
	Memory          int64           `json:"memory,omitempty"`
}

// top1 is the accuracy by which models are compared: on the test images, or
// where there are none on the validation images.
func (o *outcome) top1() float64 {
	if o.Test != nil {
		return o.Test.Top1
	}
	return o.Accuracy
}

// A mistake is a picture of the validation part, by number.
type mistake struct {
	Index     int     `json:"index"`
	Label     int     `json:"label"`
	Predicted int     `json:"predicted"`
	Prob      float64 `json:"prob"`
}

// content is what a unit's key is the hash of.
type content struct {
	Version   int
	Kind      string
	Arch      *layers.Arch `json:",omitempty"`
	Net       string       `json:",omitempty"` // the SHA-256 of a net of one's own
	Method    any          `json:",omitempty"` // a compression method's settings, but those below
	Train     *training    `json:",omitempty"`
	From      string       `json:",omitempty"`
	Base      string       `json:",omitempty"`
	Teacher   string       `json:",omitempty"`
	Others    []string     `json:",omitempty"` // further teachers
	Beside    []string     `json:",omitempty"` // models of the report
	Mult      float64      `json:",omitempty"`
	Scheme    string       `json:",omitempty"`
	File      string       `json:",omitempty"` // the SHA-256 of an imported file
	Weights   string       `json:",omitempty"` // which net of it
	Input     string       `json:",omitempty"` // the size that it leaves open
	Passes    int          `json:",omitempty"`
	Data      string
	Limit     Limit
	Transform checkpoint.Preprocess
	Device    string
}

// setKey gives u its key and its folder. The units it needs have theirs.
func (s *session) setKey(u *unit) error {
	c := content{
		Version: codeVersion, Kind: u.step.Kind, Mult: u.mult, Passes: u.step.Passes,
		Data: s.ds.Fingerprint, Limit: s.r.Data.Limit, Transform: s.r.Data.preprocess(), Device: deviceClass(s.b),
	}
	c.method(u.method)
	if trains(u.step.Kind) {
		c.Train = &u.train
	}
	if u.from == nil {
		a := u.step.arch(len(s.ds.Classes))
		if c.Arch = &a; layers.IsYAML(a.Family) && u.step.Kind != kindImport {
			n, err := layers.Open(a)
			if err != nil {
				return err
			}
			text, err := json.Marshal(n)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(text)
			c.Net = hex.EncodeToString(sum[:])
		}
	}
	if u.step.Kind == kindImport {
		c.Weights, c.Input = u.step.Weights, u.step.Input
		var err error
		if c.File, err = checkpoint.Fingerprint(u.step.File); err != nil {
			return fmt.Errorf("read %s: %w; name a model's file", u.step.File, bare(err))
		}
	}
	if m, ok := u.method.(*shrink.Method); u.step.Kind == kindEvaluate || ok && m.Timed() {
		c.Device = fmt.Sprintf("%s with %d threads", s.b.Name(), threads(s.b))
	}
	for at, other := range map[*string]*unit{&c.From: u.from, &c.Base: u.base} {
		if other != nil {
			*at = other.key
		}
	}
	for i, t := range u.teachers {
		if i == 0 {
			c.Teacher = t.key
		} else {
			c.Others = append(c.Others, t.key)
		}
	}
	for _, b := range u.beside {
		c.Beside = append(c.Beside, b.key)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	u.key = hex.EncodeToString(sum[:])
	u.dir = filepath.Join(s.o.Dir, "work", u.claimName())
	return nil
}

// method puts a compression method into the content, the way it stands in the
// keys of studies that were run before there was a table of methods.
func (c *content) method(m compress.Method) {
	switch m := m.(type) {
	case nil:
	case *quant.Options:
		c.Kind, c.Scheme = "quantise", m.Scheme
		if m.Scheme == quant.Int8 {
			c.Method = m
		}
	case *prune.Options:
		switch {
		case m.Ranked():
			c.Method = m
		case m.Widths != nil:
			c.Method = m.Widths
		}
	default:
		c.Method = m
	}
}

// deviceClass is the kind of a backend: its variants round differently, but
// compute the same.
func deviceClass(b engine.Backend) string {
	name := b.Name()
	if i := strings.IndexAny(name, "/:"); i >= 0 {
		name = name[:i]
	}
	return name
}

// threads returns how many threads a backend says it has; 0: it does not say.
func threads(b engine.Backend) int {
	if t, ok := b.(interface{ Threads() int }); ok {
		return t.Threads()
	}
	return 0
}

// findOutcome returns the outcome of a finished unit, nil where it is to be
// made (again): none there, not of this key, or its model's file damaged.
func (u *unit) findOutcome() *outcome {
	text, err := os.ReadFile(filepath.Join(u.dir, outcomeFile))
	if err != nil {
		return nil
	}
	o := new(outcome)
	if json.Unmarshal(text, o) != nil || o.Key != u.key {
		return nil
	}
	if o.File != "" {
		sum, err := checkpoint.Fingerprint(filepath.Join(u.dir, filepath.Base(o.File)))
		if err != nil || sum != o.SHA256 {
			return nil
		}
	}
	return o
}

// prepare makes the unit's folder. One that had been finished and has been
// damaged since is emptied; an unfinished one is resumed.
func (u *unit) prepare() error {
	u.unlock()
	if _, err := os.Stat(filepath.Join(u.dir, outcomeFile)); err == nil {
		if err := os.RemoveAll(u.dir); err != nil {
			return hinted(writing(u.dir, err))
		}
	}
	if err := os.MkdirAll(u.dir, 0o777); err != nil {
		return hinted(writing(u.dir, err))
	}
	return nil
}

// writeOutcome marks a unit as finished. The file appears whole or not at all.
func (u *unit) writeOutcome(o *outcome) error {
	text, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", outcomeFile, err)
	}
	path := filepath.Join(u.dir, outcomeFile)
	if err := atomicfile.Write(path, append(text, '\n'), 0o666); err != nil {
		return writing(path, err)
	}
	return nil
}

// writing is the error for a path that cannot be written.
func writing(path string, err error) error {
	return fmt.Errorf("writing %s: %w", path, bare(err))
}

// hinted adds to an error of writing what can be done about it.
func hinted(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w; free some space and run the same command again: what is finished is kept", err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w; choose another output folder", err)
	}
	return err
}

// bare strips the path off an error of package os: the message around it names
// the file already.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
