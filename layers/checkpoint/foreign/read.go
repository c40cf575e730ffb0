package foreign

import (
	"errors"
	"strings"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
	"github.com/potstill/potstill/layers/checkpoint/study8"
	"github.com/potstill/potstill/layers/checkpoint/torch"
)

// FormatSafetensors is the format of safetensors files of any writer.
const FormatSafetensors = "safetensors"

// Expansion is how many bytes a reader may allocate for each byte of the file.
const Expansion = named.Expansion

const fixKnown = "name a state_dict of PyTorch, an ONNX file, a pickle of the study, a safetensors file or a checkpoint of potstill"

// Read reads the file at path, of any of the formats that the package knows.
// What is wrong with its content is a [*FormatError]: one line with the file,
// the fault and what to do. A file of no known format is refused after its first
// 512 bytes.
func Read(path string) (*File, error) { return ReadWeights(path, "") }

// ReadWeights is Read of one of several nets in a file: that of the state_dict
// under the key weights, or of the tensors whose names begin with weights and a
// dot, which are removed. Keys and prefixes may be joined by dots. All is read
// for "".
func ReadWeights(path, weights string) (*File, error) {
	safe := false
	b, err := named.Load(path, func(head []byte) error {
		safe = format(head) == FormatSafetensors
		if safe {
			return errSafetensors // which has a reader of its own for files
		}
		if format(head) == "" {
			return unknown(head)
		}
		return nil
	})
	if safe {
		return readSafetensors(path, weights)
	}
	if err != nil {
		return nil, err
	}
	f, err := DecodeWeights(b, weights)
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	f.Path = path
	return f, nil
}

var errSafetensors = errors.New("a safetensors file")

// Decode decodes the bytes of a whole file, as [Read] does. Every error is a
// [*FormatError] without a path.
func Decode(b []byte) (*File, error) { return DecodeWeights(b, "") }

// DecodeWeights is Decode of one of several nets, as [ReadWeights] names them.
func DecodeWeights(b []byte, weights string) (*File, error) {
	head := b[:min(len(b), named.HeadLen)]
	switch format(head) {
	case "":
		return nil, unknown(head)
	case FormatSafetensors:
		f, err := safetensors.Decode(b)
		if err != nil {
			return nil, err
		}
		return fromSafetensors(f, len(b), weights)
	case study8.FormatPlain:
		return study8.DecodeWeights(b, weights)
	}
	return torch.DecodeWeights(b, weights)
}

// format returns the format of a file that begins with head, with
// study8.FormatPlain for every pickle that is not PyTorch's, or "".
func format(head []byte) string {
	if f := torch.Sniff(head); f != "" {
		return f
	}
	if safetensors.Sniff(head) {
		return FormatSafetensors
	}
	if study8.Sniff(head) {
		return study8.FormatPlain
	}
	return ""
}

// others are what files of other programs begin with.
var others = []struct{ magic, name string }{
	{"\x89HDF", "a file of HDF5, as Keras writes"},
	{"GGUF", "a file of GGUF"},
	{"\x93NUMPY", "a single NumPy array (.npy)"},
	{"\x1f\x8b", "compressed by gzip"},
	{"\xff\xd8\xff", "a JPEG picture"},
	{"\x89PNG", "a PNG picture"},
	{"{", "a text in JSON"},
}

func unknown(head []byte) error {
	if len(head) == 0 {
		return named.Refused(fixKnown, "the file is empty")
	}
	for _, o := range others {
		if strings.HasPrefix(string(head), o.magic) {
			return named.Refused(fixKnown, "it is %s", o.name)
		}
	}
	return named.Refused(fixKnown, "it is of no known format")
}

func readSafetensors(path, weights string) (*File, error) {
	f, err := safetensors.Read(path)
	if err != nil {
		return nil, err
	}
	size := 0
	for i := range f.Tensors {
		size += len(f.Tensors[i].Data) + 64
	}
	out, err := fromSafetensors(f, size, weights)
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	out.Path = path
	return out, nil
}

// dtypes are PyTorch's names of the types of safetensors.
var dtypes = map[safetensors.DType]string{
	safetensors.F64: "float64", safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16",
	safetensors.I64: "int64", safetensors.I32: "int32", safetensors.I16: "int16", safetensors.I8: "int8",
	safetensors.U8: "uint8", safetensors.BOOL: "bool",
	safetensors.U64: "uint64", safetensors.U32: "uint32", safetensors.U16: "uint16", safetensors.C64: "complex64",
	safetensors.F8E4M3: "float8_e4m3fn", safetensors.F8E5M2: "float8_e5m2", safetensors.F8E4M3Z: "float8_e4m3fnuz",
	safetensors.F8E5M2Z: "float8_e5m2fnuz", safetensors.F8E8M0: "float8_e8m0fnu",
}

// fromSafetensors takes the tensors over; size stands for the file's.
func fromSafetensors(s *safetensors.File, size int, weights string) (*File, error) {
	f := &File{Format: FormatSafetensors, Tensors: make([]Tensor, 0, len(s.Tensors))}
	budget := named.NewBudget(size)
	for i := range s.Tensors {
		t := &s.Tensors[i]
		shape := append([]int{}, t.Shape...)
		if err := f.Take(named.Decode(t.Name, dtypes[t.DType], t.Data, named.Contiguous(shape, false), budget)); err != nil {
			return nil, err
		}
	}
	return f, f.Settle(weights, budget)
}
