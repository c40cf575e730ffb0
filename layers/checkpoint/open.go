package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/affine"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/identify"
)

// OpenOptions say how Open reads a file of another program.
type OpenOptions struct {
	// Arch is the net that the file holds; its zero value leaves it to be found.
	// Widths, classes and channels that it leaves open follow from the shapes.
	Arch layers.Arch
}

// KindImport is the kind of the event that begins the history of a model from
// another program's file.
const KindImport = "import"

// importSize is the centre crop that is assumed for a file that does not say
// what its images went through: the study's.
const importSize = 256

// Open reads a model's file of any format: potstill's own, PyTorch's legacy and
// zip formats, the study's 8-bit and 16-bit pickles, and safetensors of other
// writers. The content decides, not the name.
//
// A file of another program says nothing of preprocessing and classes: the
// Checkpoint has the study's centre crop to 256 and no class names. Its history
// is one event of kind KindImport, whose Parent is the file's Fingerprint. Quant
// is set where storing the state in that way gives back the file's very codes.
//
// What is wrong with its content is a [*foreign.FormatError]: one line with the
// file, the fault and the mend.
func Open(path string, o OpenOptions) (*Checkpoint, error) {
	c, _, err := open(path, o)
	return c, err
}

// opened is what reading a file tells beside the model.
type opened struct {
	ours    *safetensors.File // nil for files of other programs
	foreign *foreign.File     // nil for ours
	match   *identify.Match   // nil for ours
	notes   []string
}

func open(path string, o OpenOptions) (*Checkpoint, *opened, error) {
	is, err := isSafetensors(path)
	if err != nil {
		return nil, nil, err
	}
	if is {
		f, err := read(path)
		if err != nil {
			return nil, nil, err
		}
		if _, ok := f.Metadata[metadataKey]; ok {
			c, err := load(path, f)
			if err == nil && o.Arch.Family != "" && o.Arch.Family != c.Arch.Family {
				err = bad(path, "leave the architecture out", "it says itself that it is a %s, not a %s", c.Arch.Family, o.Arch.Family)
			}
			return c, &opened{ours: f}, err
		}
	}
	f, err := foreign.Read(path)
	if err != nil {
		return nil, nil, err
	}
	return imported(path, f, o)
}

// isSafetensors reports whether a file begins as safetensors do.
func isSafetensors(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, unreadable(path, err)
	}
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("read %s: not a regular file; name a model's file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return false, unreadable(path, err)
	}
	defer file.Close()
	var begin [9]byte
	n, err := io.ReadFull(file, begin[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, unreadable(path, err)
	}
	return safetensors.Sniff(begin[:n]), nil
}

// unreadable names the file once.
func unreadable(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// imported makes a checkpoint of another program's file.
func imported(path string, f *foreign.File, o OpenOptions) (*Checkpoint, *opened, error) {
	match, err := identified(f, o)
	if err != nil {
		mend := "if it is one, name its family with --arch: "
		if o.Arch.Family != "" {
			mend = "leave --arch out, or name another family: "
		}
		return nil, nil, &foreign.FormatError{Path: path, Reason: err.Error(), Mend: mend + strings.Join(layers.Families(), ", ")}
	}
	c := &Checkpoint{
		Arch: match.Arch, Preprocess: Preprocess{Size: importSize}, State: match.State, Path: path,
	}
	event := Event{Kind: KindImport, Detail: f.Format}
	if event.Parent, err = Fingerprint(path); err != nil {
		return nil, nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	c.Bytes = info.Size()
	op := &opened{foreign: f, match: match, notes: slices.Concat(f.Notes, match.Notes)}
	var note string
	if c.Quant, note = quantOf(match); note != "" {
		op.notes = append(op.notes, note)
	}
	for _, n := range op.notes {
		event.Detail += "; " + n
	}
	c.History = []Event{event}
	return c, op, nil
}

func identified(f *foreign.File, o OpenOptions) (*identify.Match, error) {
	if o.Arch.Family != "" {
		return identify.IdentifyAs(o.Arch, f.Tensors)
	}
	return identify.Identify(f.Tensors)
}

// quantOf returns the way to store a state that gives back what its file holds:
// the same 8-bit codes on the same ranges, or the same 16-bit floats. The note
// says where codes are lost.
func quantOf(m *identify.Match) (quant, note string) {
	weights, coded, half := 0, 0, 0
	same := true
	for i, t := range m.Sources {
		if t == nil || m.State[i].Integer {
			continue
		}
		weights++
		switch {
		case t.Coded:
			coded++
			codes, lo, hi, err := affine.Encode8(t.Float)
			same = same && err == nil && lo == t.Min && hi == t.Max && bytes.Equal(codes, t.Codes)
		case t.DType == "float16":
			half++
		}
	}
	switch {
	case coded == weights && same:
		return Affine8, ""
	case half == weights:
		return Float16, ""
	case coded > 0:
		return Float32, fmt.Sprintf("its 8-bit codes (%d of %d tensors) are not all those of the study's rule; they are kept as the weights they stand for", coded, weights)
	}
	return Float32, ""
}
