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
	"github.com/potstill/potstill/layers/checkpoint/onnxnet"
	"github.com/potstill/potstill/layers/checkpoint/onnxread"
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
	// Weights names one of several nets in a file: the key of its state_dict, or
	// the prefix of its tensors' names (see foreign.ReadWeights); "." for the
	// tensors without one. "" stands for the only net.
	Weights string
	// Input is the size of the images of an ONNX file that leaves it open.
	Input onnxnet.Options
}

// KindImport is the kind of the event that begins the history of a model from
// another program's file.
const KindImport = "import"

// importSize is what is assumed of a file that does not say what its images went
// through: the shorter side is scaled to it, and the middle is cropped to it.
// Pictures of the study, of that size already, go through unchanged.
const importSize = 256

// Open reads a model's file of any format: potstill's own, PyTorch's legacy and
// zip formats, the study's 8-bit and 16-bit pickles, safetensors of other
// writers, and ONNX, which holds its net too (package onnxnet). The content
// decides, not the name.
//
// A file of another program says nothing of preprocessing and classes: the
// Checkpoint has no class names, and it is assumed (Preprocess.Assumed) that the
// shorter side is scaled to 256, or to the size that its net takes, and a square
// cropped from the middle. Its history
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
	match   *identify.Match   // nil for ours, and for ONNX
	onnx    *onnxread.Model   // nil for others
	notes   []string
}

func open(path string, o OpenOptions) (*Checkpoint, *opened, error) {
	begin, err := head(path)
	if err != nil {
		return nil, nil, err
	}
	if onnxread.Sniff(begin) {
		return importedONNX(path, o)
	}
	if safetensors.Sniff(begin) {
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
			if err == nil && o.Weights != "" {
				err = bad(path, "leave --weights out", "it holds one net only")
			}
			return c, &opened{ours: f}, err
		}
	}
	f, err := foreign.ReadWeights(path, o.Weights)
	if err != nil {
		return nil, nil, err
	}
	return imported(path, f, o)
}

// head returns the first bytes of a regular file, which tell its format.
func head(path string) ([]byte, error) {
	file, err := openFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer file.Close()
	var begin [512]byte
	n, err := io.ReadFull(file, begin[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, unreadable(path, err)
	}
	return begin[:n], nil
}

// unreadable names the file once.
func unreadable(path string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fmt.Errorf("read %s: %w", path, err)
}

// importedPreprocess is what is assumed for a net: the shorter side scaled to
// 256, or to the size that the net takes, and a square from the middle.
func importedPreprocess(n *layers.Net) Preprocess {
	size := cmp.Or(n.Input.Height, importSize)
	return Preprocess{Size: size, Resize: size, Gray: n.Input.Channels == 1, Assumed: true}
}

// imported makes a checkpoint of another program's file.
func imported(path string, f *foreign.File, o OpenOptions) (*Checkpoint, *opened, error) {
	match, err := identified(f, o)
	if err != nil {
		reason, fix, told := strings.Cut(err.Error(), "; ") // of what names no family
		var e *identify.Error
		if errors.As(err, &e) || !told {
			reason, fix = err.Error()+unread(f), hint(f, o, e)
		}
		return nil, nil, &foreign.FormatError{Path: path, Reason: reason, Fix: fix}
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
	c.Warnings = f.Warnings
	if match.LeftOut != "" {
		c.Warnings = append(slices.Clone(c.Warnings), match.LeftOut)
	}
	for _, n := range op.notes {
		event.Detail += "; " + n
	}
	c.History = []Event{event}
	return c, op, nil
}

func identified(f *foreign.File, o OpenOptions) (*identify.Match, error) {
	tensors := f.Tensors
	if o.Weights == identify.Root {
		tensors = identify.WithoutPrefix(tensors)
	}
	switch {
	case o.Net != nil:
		return identify.IdentifyNet(o.Net, tensors)
	case o.Arch.Family != "":
		return identify.IdentifyAs(o.Arch, tensors)
	}
	return identify.Identify(tensors)
}

// unread tells of tensors that the reader had to leave out, which may be what is
// missing.
func unread(f *foreign.File) string {
	if len(f.Unread) == 0 {
		return ""
	}
	return fmt.Sprintf(" (its tensor %s was not read, for its type)", f.Unread[0])
}

// hint is what to do about a file whose net is not known. Advice to name the
// family, or to leave it out, is given only where it helps.
func hint(f *foreign.File, o OpenOptions, e *identify.Error) string {
	if e == nil {
		return "name another net with --arch"
	}
	if e.Hint != "" {
		return e.Hint
	}
	if fix := reparametrized(f.Tensors); fix != "" {
		return fix
	}
	given := o.Net != nil || o.Arch.Family != ""
	var families []string
	if len(f.Tensors) > mostTried {
		given = false
	} else {
		families = identify.Nearest(f.Tensors, mostAdvised)
	}
	if given {
		if m, err := identify.Identify(f.Tensors); err == nil {
			return fmt.Sprintf("leave --arch out: it is a %s", m.Net)
		}
	}
	for _, family := range families {
		if family == o.Arch.Family {
			continue
		}
		if _, err := identify.IdentifyAs(layers.Arch{Family: family}, f.Tensors); err == nil {
			if given {
				return "name the family that it is of with --arch " + family
			}
			return fmt.Sprintf("if the rest is no part of what it computes, leave it out with --arch %s", family)
		}
	}
	return "describe its net in a file and name that with --arch (potstill summary " + layers.Families()[0] +
		" --yaml prints one), or save a net of one of the families that potstill summary --help lists"
}

// What advice would help is tried out for files of up to mostTried tensors, with
// up to mostAdvised families.
const (
	mostTried   = 2048
	mostAdvised = 2
)

// reparametrized returns what to do about tensors that stand for another, by a
// function that the file does not hold; "" if there are none.
func reparametrized(tensors []foreign.Tensor) string {
	for _, way := range []struct{ part, call string }{
		{".parametrizations.", `torch.nn.utils.parametrize.remove_parametrizations(module, "weight") on the modules with parametrizations`},
		{"_mask.", `torch.nn.utils.prune.remove(module, "weight") on the pruned modules`},
		{".weight_orig.", "torch.nn.utils.remove_spectral_norm(module) on the modules with weight_orig"},
		{".weight_g.", "torch.nn.utils.remove_weight_norm(module) on the modules with weight_g and weight_v"},
	} {
		for i := range tensors {
			if strings.Contains("."+tensors[i].Name+".", way.part) {
				return "before saving the state_dict, call " + way.call
			}
		}
	}
	return ""
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
