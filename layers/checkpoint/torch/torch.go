// Package torch reads and writes the files of PyTorch's torch.save, as far as
// they hold state_dicts, without PyTorch and without executing anything.
//
// # Reading
//
// [Read] takes the zip format (PyTorch 1.6 and later; entries stored or
// deflated) and the legacy format before it (four pickles and the storages).
// The tar format of PyTorch before 0.1.10, TorchScript archives, big-endian
// files and whole pickled modules are refused, each by name.
//
// Tensors may be strided views and share storages, be parameters, and have been
// on any device. A state_dict may be nested in a checkpoint under one of the
// usual names; what else the checkpoint holds (an epoch, an optimizer) is left
// out, with a note. The prefix of DataParallel or torch.compile is removed from
// the names, with a note.
//
// # What a pickle may name
//
// collections.OrderedDict and defaultdict; torch's functions _rebuild_tensor,
// _rebuild_tensor_v2, _rebuild_tensor_v3, _rebuild_parameter and
// _rebuild_parameter_with_state; its storage classes and types of elements;
// torch.Size and torch.device; what NumPy's arrays and scalars need; and, as
// names without a meaning, builtins such as dict and set, argparse.Namespace
// and pathlib's paths, which checkpoints often have beside the state_dict.
//
// # Limits
//
// Files have at most [named.MaxFile] bytes. Every length, offset, shape and
// stride is held against the file before memory is allocated, and all that
// reading allocates is taken from a [named.Budget] of [named.Expansion] bytes
// for each byte of the file. In a zip file no two entries may have one name or
// overlap, none may have a path that leads out of the archive, and what is
// inflated must have the length and sum announced.
package torch

import (
	"bytes"

	"github.com/potstill/potstill/layers/checkpoint/named"
)

// Expansion is how many bytes reading may allocate for each byte of the file.
const Expansion = named.Expansion

// The formats that [Read] knows.
const (
	FormatZip    = "PyTorch zip"
	FormatLegacy = "PyTorch legacy"
)

const (
	fixState     = "save the state_dict alone: torch.save(model.state_dict(), path)"
	fixResave    = "open it with PyTorch and save it again: torch.save(torch.load(path, weights_only=True), path)"
	magicNumber  = "119547037146038801333356" // 0x1950a86a20f9469cfc6c
	protocol     = 1001
	tarMagicAt   = 257
	tarMagicText = "ustar"
)

// magicBytes is the number as a pickle of protocol 2 or later holds it.
var magicBytes = []byte{0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19}

// Sniff returns the format of a file that begins with head, of some hundred
// bytes, or "" where it is neither of PyTorch's. The tar format counts as
// legacy.
func Sniff(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return FormatZip
	case bytes.Contains(head[:min(len(head), 32)], magicBytes),
		bytes.HasPrefix(head, []byte("L"+magicNumber)), isTar(head):
		return FormatLegacy
	}
	return ""
}

func isTar(head []byte) bool {
	return len(head) >= tarMagicAt+len(tarMagicText) && string(head[tarMagicAt:tarMagicAt+len(tarMagicText)]) == tarMagicText
}

// Read reads the file at path. What is wrong with its content is a
// [*named.FormatError].
func Read(path string) (*named.File, error) {
	b, err := named.Load(path, func(head []byte) error {
		if Sniff(head) == "" {
			return unknown()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := Decode(b)
	if err != nil {
		return nil, named.WithPath(path, err)
	}
	f.Path = path
	return f, nil
}

func unknown() error {
	return named.Refused("name a file made by torch.save", "it does not begin as a file of PyTorch does")
}

// Decode decodes the bytes of a whole file. Every error is a
// [*named.FormatError] without a path.
func Decode(b []byte) (*named.File, error) { return DecodeWeights(b, "") }

// DecodeWeights is Decode of one of several nets in a file: that of the
// state_dict under the key weights, or of the tensors whose names begin with
// weights and a dot.
func DecodeWeights(b []byte, weights string) (*named.File, error) {
	r := &reading{budget: named.NewBudget(len(b)), storages: map[string]*storage{}}
	head := b[:min(len(b), named.HeadLen)]
	var root any
	var err error
	f := &named.File{Format: Sniff(head)}
	switch {
	case f.Format == FormatZip:
		root, err = r.zip(b)
	case isTar(head):
		err = named.Refused(fixResave, "it is in the tar format of PyTorch before 0.1.10, which is not taken")
	case f.Format == FormatLegacy:
		root, err = r.legacy(b)
	default:
		return nil, unknown()
	}
	if err != nil {
		return nil, err
	}
	if weights, err = r.collect(root, f, weights); err != nil {
		return nil, err
	}
	if err := f.Settle(weights, r.budget); err != nil {
		return nil, err
	}
	return f, nil
}
