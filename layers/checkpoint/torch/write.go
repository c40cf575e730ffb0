package torch

import (
	"archive/zip"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/potstill/potstill/layers/checkpoint/named"
	"github.com/potstill/potstill/layers/checkpoint/pickle"
	"github.com/potstill/potstill/layers/checkpoint/safetensors"
)

// alignment is what the data of each entry is aligned to, as PyTorch's are, so
// that a file can be mapped into memory.
const alignment = 64

// folder is the name that all entries begin with. PyTorch takes any.
const folder = "archive/"

// storageClasses are the storage classes of the types of elements; types
// without one are written as runs of bytes.
var storageClasses = func() map[string]string {
	classes := map[string]string{}
	for class, dtype := range storageTypes {
		classes[dtype] = class
	}
	return classes
}()

// Write stores the tensors at path as torch.save stores a state_dict, in the zip
// format, and returns the file's size in bytes. torch.load reads it with
// weights_only=True. Tensors are contiguous, on the CPU and in the type
// [named.Tensor.Stored]: coded tensors are written as the float32 they decode
// to. The same tensors give the same bytes. It is atomic, as
// [safetensors.Write] is.
func Write(path string, tensors []named.Tensor) (bytes int64, err error) {
	if err := check(tensors); err != nil {
		return 0, fmt.Errorf("write %s: %w", path, err)
	}
	return safetensors.WriteAtomic(path, func(w io.Writer) error { return encode(w, tensors) })
}

// Encode writes what [Write] stores.
func Encode(w io.Writer, tensors []named.Tensor) error {
	if err := check(tensors); err != nil {
		return err
	}
	return encode(w, tensors)
}

func check(tensors []named.Tensor) error {
	names := make(map[string]bool, len(tensors))
	for i := range tensors {
		t := &tensors[i]
		switch n, ok := named.Volume(t.Shape); {
		case names[t.Name]:
			return fmt.Errorf("two tensors are named %s", named.Quote(t.Name))
		case !utf8.ValidString(t.Name):
			return fmt.Errorf("the tensor name %s is not UTF-8 text", named.Quote(t.Name))
		case !ok || int64(n) > math.MaxUint32/8-1<<20:
			return fmt.Errorf("tensor %s of shape %v is too large for the format", named.Quote(t.Name), t.Shape)
		}
		names[t.Name] = true
	}
	return nil
}

func encode(w io.Writer, tensors []named.Tensor) error {
	out := &zipWriter{}
	out.z = zip.NewWriter(io.MultiWriter(w, &out.at))
	if err := out.entry("data.pkl", stateDictPickle(tensors)); err != nil {
		return err
	}
	for _, e := range [][2]string{{".format_version", "1"}, {".storage_alignment", strconv.Itoa(alignment)}, {"byteorder", "little"}} {
		if err := out.entry(e[0], []byte(e[1])); err != nil {
			return err
		}
	}
	for i := range tensors {
		b, err := tensors[i].Encode()
		if err != nil {
			return err
		}
		if err := out.entry("data/"+strconv.Itoa(i), b); err != nil {
			return err
		}
	}
	if err := out.entry("version", []byte("3\n")); err != nil {
		return err
	}
	return out.z.Close()
}

// zipWriter writes aligned, stored entries.
type zipWriter struct {
	z  *zip.Writer
	at counter
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// entry writes an entry whose data begin at a multiple of the alignment; an
// extra field of the kind "FB" fills the gap, as in PyTorch's own files.
func (w *zipWriter) entry(name string, b []byte) error {
	if err := w.z.Flush(); err != nil {
		return err
	}
	const header, field = 30, 4
	name = folder + name
	gap := (alignment - (int(w.at%alignment)+header+len(name)+field)%alignment) % alignment
	extra := make([]byte, field+gap)
	copy(extra, "FB")
	extra[2] = byte(gap)
	for i := range extra[field:] {
		extra[field+i] = 'Z'
	}
	part, err := w.z.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, Extra: extra, CRC32: crc32.ChecksumIEEE(b),
		CompressedSize64: uint64(len(b)), UncompressedSize64: uint64(len(b)),
	})
	if err != nil {
		return err
	}
	_, err = part.Write(b)
	return err
}

// stateDictPickle returns the pickle of an OrderedDict of tensors, each with a
// storage of its own.
func stateDictPickle(tensors []named.Tensor) []byte {
	w := pickle.NewWriter(2)
	w.Global("collections OrderedDict")
	w.Ops(")R")
	w.Put()
	w.Ops("(")
	for i := range tensors {
		t := &tensors[i]
		n := t.Len()
		dtype := t.Stored()
		class, typed := storageClasses[dtype]
		w.Text(t.Name)
		if typed {
			w.Global("torch._utils _rebuild_tensor_v2")
		} else {
			w.Global("torch._utils _rebuild_tensor_v3")
		}
		w.Ops("((")
		w.Text("storage")
		if typed {
			w.Global("torch " + class)
		} else {
			w.Global("torch.storage UntypedStorage")
			n *= named.Size(dtype)
		}
		w.Text(strconv.Itoa(i))
		w.Text("cpu")
		w.Int(n)
		w.Ops("tQ") // the storage
		w.Int(0)
		w.Ints(t.Shape)
		w.Ints(named.Contiguous(t.Shape, false).Stride)
		w.Bool(false)
		w.Global("collections OrderedDict")
		w.Ops(")R")
		if !typed {
			w.Global("torch " + dtype)
		}
		w.Ops("tR")
	}
	w.Ops("u")
	return w.Stop()
}
