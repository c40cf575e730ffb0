package named

import (
	"fmt"
	"strings"
)

// Take adds a tensor that [Decode] has returned. One of a type that is not read
// is left out, and remembered in Unread.
func (f *File) Take(t Tensor, err error) error {
	switch e, ok := err.(*FormatError); {
	case ok && e.unread:
		if f.unread == nil {
			f.unread = e
		}
		if f.unreads++; len(f.Unread) < few {
			f.Unread = append(f.Unread, fmt.Sprintf("%s %s%v", Quote(t.Name), Plain(t.DType), t.Shape))
		}
		return nil
	case err != nil:
		return err
	}
	f.Tensors = append(f.Tensors, t)
	return nil
}

// Settle ends the reading of a file: only the tensors whose names begin with
// the prefix weights are kept, without it (all for ""), the prefixes of wrapped
// models are removed, and reparametrized tensors put together. It is an error
// if nothing is left. What that takes is taken from the budget.
func (f *File) Settle(weights string, b *Budget) error {
	if len(f.Tensors) == 0 && f.unread != nil {
		return f.unread
	}
	if err := f.choose(weights, b); err != nil {
		return err
	}
	if len(f.Unread) > 0 {
		text := strings.Join(f.Unread, ", ")
		if n := f.unreads - len(f.Unread); n > 0 {
			text += fmt.Sprintf(" and %d more", n)
		}
		f.warn("left out, since their types are not read: " + text)
	}
	f.Unwrap()
	return f.Combine(b)
}

// few is how many tensors are described that are not read.
const few = 3

// warn notes what whoever uses the model should know.
func (f *File) warn(line string) {
	f.Notes = append(f.Notes, line)
	f.Warnings = append(f.Warnings, line)
}

// choose keeps the tensors whose names begin with the prefix.
func (f *File) choose(weights string, b *Budget) error {
	prefix := strings.TrimSuffix(weights, ".")
	if prefix == "" {
		return nil
	}
	prefix += "."
	if err := b.Take(2*len(f.Tensors), tensorCost); err != nil {
		return err
	}
	var kept []Tensor
	for i := range f.Tensors {
		if t := f.Tensors[i]; len(t.Name) > len(prefix) && strings.HasPrefix(t.Name, prefix) {
			t.Name = t.Name[len(prefix):]
			kept = append(kept, t)
		}
	}
	if kept == nil {
		return Refused("name the beginning of the names of one net's tensors; the first here is "+Quote(f.Tensors[0].Name),
			"it holds no tensors under %s, which --weights names", Quote(weights))
	}
	f.Notes = append(f.Notes, fmt.Sprintf("only the %d of %d tensors whose names begin with %s were read", len(kept), len(f.Tensors), Quote(prefix)))
	f.Tensors = kept
	return nil
}

// tensorCost is what a Tensor without its values takes, or its place in a map.
const tensorCost = 256
