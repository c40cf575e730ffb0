package checkpoint

import (
	"archive/zip"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/foreign"
	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// FormatOwn is the Format of potstill's own files.
const FormatOwn = "potstill"

// An Info is all that a model's file tells.
type Info struct {
	*Checkpoint
	// Format is FormatOwn, FormatONNX or one of foreign.File's.
	Format string
	// SHA256 is that of the whole file, in hexadecimal: its Fingerprint.
	SHA256 string
	// Sealed says that the file holds a checksum of itself, which is right.
	Sealed bool
	// Parts account for every byte of the file: their Bytes add up to its size.
	Parts []Part
	// Renamed is the number of tensors whose names are not the family's.
	Renamed int
	// Notes say, a line each, what was done to a file of another program.
	Notes []string
}

// A Part is a share of a file.
type Part struct {
	Name    string `json:"part"`
	Bytes   int64  `json:"bytes"`
	Tensors int    `json:"tensors,omitempty"` // how many it holds
}

// Inspect reads a file as Open does, and tells what its bytes are.
func Inspect(path string, o OpenOptions) (*Info, error) {
	c, op, err := open(path, o)
	if err != nil {
		return nil, err
	}
	i := &Info{Checkpoint: c, Format: FormatOwn, Sealed: op.ours != nil, Notes: op.notes}
	f := op.ours
	if op.onnx != nil {
		i.Format, i.SHA256 = FormatONNX, c.History[0].Parent
		i.Parts = onnxParts(op.onnx, c.Bytes)
		return i, nil
	}
	if op.foreign == nil {
		if i.SHA256, err = Fingerprint(path); err != nil {
			return nil, err
		}
	} else {
		i.SHA256 = c.History[0].Parent
		i.Format, i.Renamed = op.foreign.Format, len(op.match.Renamed)
		if op.foreign.Format == foreign.FormatSafetensors {
			if f, err = read(path); err != nil {
				return nil, err
			}
			i.Sealed = f.Sealed
		}
	}
	switch {
	case f != nil:
		i.Parts, err = safetensorsParts(path, f)
	case op.foreign.Format == torch.FormatZip:
		i.Parts, err = zipParts(path, c.Bytes)
	default:
		i.Parts = pickleParts(op.foreign, c.Bytes)
	}
	if err != nil {
		return nil, err
	}
	return i, nil
}

// A tally adds up parts by name, in the order in which they come.
type tally []Part

func (t *tally) add(name string, bytes int64, tensors int) {
	i := slices.IndexFunc(*t, func(p Part) bool { return p.Name == name })
	if i < 0 {
		i = len(*t)
		*t = append(*t, Part{Name: name})
	}
	(*t)[i].Bytes += bytes
	(*t)[i].Tensors += tensors
}

// sort puts the largest parts first.
func (t tally) sort() {
	slices.SortStableFunc(t, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
}

// safetensorsParts accounts for a safetensors file: its length and header, the
// metadata in it, and the tensors by what they are.
func safetensorsParts(path string, f *safetensors.File) ([]Part, error) {
	head, metadata, err := headerBytes(path)
	if err != nil {
		return nil, err
	}
	var t tally
	t.add("header", head-metadata, 0)
	t.add("metadata", metadata, 0)
	for _, x := range f.Tensors {
		t.add(partOf(x.Name, x.DType), int64(len(x.Data)), 1)
	}
	return t, nil
}

// partOf names the part that a tensor counts for.
func partOf(name string, d safetensors.DType) string {
	switch {
	case strings.HasPrefix(name, ExtraPrefix):
		return "state of a training run"
	case name == rangeName || name == rangeName64:
		return "ranges of the codes"
	}
	switch d {
	case safetensors.U8:
		return "8-bit codes"
	case safetensors.I64:
		return "counters"
	case safetensors.F64:
		return "tensors in float64"
	case safetensors.F32:
		return "tensors in float32"
	case safetensors.F16:
		return "tensors in float16"
	case safetensors.BF16:
		return "tensors in bfloat16"
	}
	return "tensors of type " + string(d)
}

// headerBytes returns how many bytes of a safetensors file, which has been
// verified, come before the data, and how many of them are the metadata's value.
func headerBytes(path string) (head, metadata int64, err error) {
	file, err := openFile(path)
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	var length [8]byte
	if _, err := io.ReadFull(file, length[:]); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	text := make([]byte, binary.LittleEndian.Uint64(length[:]))
	if _, err := io.ReadFull(file, text); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	var h map[string]json.RawMessage
	if err := json.Unmarshal(text, &h); err != nil {
		return 0, 0, fmt.Errorf("read %s: %w", path, err)
	}
	return int64(len(length) + len(text)), int64(len(h["__metadata__"])), nil
}

// zipParts accounts for PyTorch's zip format: the storages as they lie in the
// file, the pickle that names the tensors, what else there is, and the archive.
func zipParts(path string, size int64) ([]Part, error) {
	r, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer r.Close()
	var t tally
	for _, name := range []string{"storages", "pickle", "other entries", "zip archive"} {
		t.add(name, 0, 0)
	}
	rest := size
	for _, e := range r.File {
		n := int64(e.CompressedSize64)
		rest -= n
		_, inside, _ := strings.Cut(e.Name, "/")
		switch {
		case strings.HasPrefix(inside, "data/"):
			t.add("storages", n, 1)
		case inside == "data.pkl":
			t.add("pickle", n, 0)
		default:
			t.add("other entries", n, 0)
		}
	}
	t.add("zip archive", rest, 0)
	return t, nil
}

// pickleParts accounts for a file that is pickles: the tensors' data, and the
// rest. Where tensors share storages they may claim more bytes than there are;
// then they are not told apart.
func pickleParts(f *foreign.File, size int64) []Part {
	var t tally
	rest := size
	for i := range f.Tensors {
		x := &f.Tensors[i]
		n := int64(x.Len()) * int64(named.Size(x.DType))
		rest -= n
		name := "tensors in " + x.DType
		switch {
		case x.Coded:
			name = "8-bit codes"
		case len(x.Shape) == 0:
			name = "counters"
		}
		t.add(name, n, 1)
	}
	if rest < 0 {
		return []Part{{Name: "pickle and shared storages", Bytes: size}}
	}
	t.sort()
	name := "pickle"
	if slices.ContainsFunc(f.Tensors, func(x foreign.Tensor) bool { return x.Coded }) {
		name = "pickle: names, shapes, ranges of the codes"
	}
	t.add(name, rest, 0)
	return t
}
