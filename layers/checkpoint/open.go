package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers"
	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/identify"
)

// OpenOptions say how Open reads a file of another program.
type OpenOptions struct {
	// Arch is the net that the file holds; its zero value leaves it to be found.
	// Widths, classes and channels that it leaves open follow from the shapes.
	Arch layers.Arch
	// Net, if not nil, is the net that the file holds, up to its widths.
	Net *layers.Net
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
// Checkpoint has the study's centre crop to 256, or to the size that its net
// takes, and no class names. Its history
// is one event of kind KindImport, whose Parent is the file's Fingerprint. Its
// 8-bit codes and 16-bit floats are kept as they are.
//
// What is wrong with its content is a [*foreign.FormatError]: one line with the
// file, the fault and what to do.
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
			if err == nil && o.Arch.Family != "" && o.Arch.Family != c.Net.Family {
				err = bad(path, "leave the architecture out", "it says itself that it is a %s, not a %s", c.Net, o.Arch.Family)
			}
			if err == nil && o.Net != nil {
				err = bad(path, "leave the architecture out", "it holds its own net")
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

// importedPreprocess is the centre crop that is assumed for a net.
func importedPreprocess(n *layers.Net) Preprocess {
	return Preprocess{Size: cmp.Or(n.Input.Height, importSize)}
}

// imported makes a checkpoint of another program's file.
func imported(path string, f *foreign.File, o OpenOptions) (*Checkpoint, *opened, error) {
	match, err := identified(f, o)
	if err != nil {
		hint := "if it is one, name its family, or a YAML file of its net, with --arch: "
		if o.Arch.Family != "" || o.Net != nil {
			hint = "leave --arch out, or name another family: "
		}
		return nil, nil, &foreign.FormatError{Path: path, Reason: err.Error(), Mend: hint + strings.Join(layers.Families(), ", ")}
	}
	keepCodes(match)
	c := &Checkpoint{
		Net: match.Net, Preprocess: importedPreprocess(match.Net), State: match.State, Path: path,
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
	for _, n := range op.notes {
		event.Detail += "; " + n
	}
	c.History = []Event{event}
	return c, op, nil
}

func identified(f *foreign.File, o OpenOptions) (*identify.Match, error) {
	switch {
	case o.Net != nil:
		return identify.IdentifyNet(o.Net, f.Tensors)
	case o.Arch.Family != "":
		return identify.IdentifyAs(o.Arch, f.Tensors)
	}
	return identify.Identify(f.Tensors)
}

// keepCodes gives the state the codes that its file stores it in: 8-bit codes,
// and 16-bit floats where all weights are such.
func keepCodes(m *identify.Match) {
	weights, halves := 0, 0
	for i, t := range m.Sources {
		e := &m.State[i]
		if t == nil || e.Integer() {
			continue
		}
		weights++
		switch {
		case t.Coded:
			e.Codes = &layers.Codes{
				Encoding: layers.Encoding{Rule: layers.MinMax, Bits: 8}, Bytes: t.Codes, Ranges: []float64{t.Min, t.Max},
			}
		case t.DType == "float16":
			halves++
		}
	}
	if halves < weights {
		return
	}
	if s, err := Quantize(m.State, Float16); err == nil {
		m.State = s
	}
}
