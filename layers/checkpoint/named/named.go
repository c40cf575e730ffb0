// Package named holds what every reader of other programs' model files gives
// and every writer takes: tensors with names, their values decoded, and the
// error that says why bytes are not the file they should be. Package foreign
// offers the same types under its own name, with the readers behind them.
package named

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// A Tensor is a named array, in row-major order whatever the strides of its
// file were. Shapes and layouts are the file's: PyTorch's OIHW for weights of
// convolutions, OI for those of linear layers. A scalar has an empty Shape and
// one value.
type Tensor struct {
	Name  string
	Shape []int

	// DType is the type of the elements in the file, as PyTorch spells it:
	// "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16",
	// "int8", "uint64", "uint32", "uint16", "uint8", "bool" or one of the 8-bit
	// floats ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
	// "float8_e5m2fnuz", "float8_e8m0fnu"). A coded tensor says "uint8".
	DType string

	// Float holds the values of a tensor of floats, or of a coded tensor; Int
	// those of integers and truth values (0 or 1). One of them is nil unless
	// the tensor is empty. Float is exact for all types but float64, whose
	// values are rounded to float32 here and are exact in Double.
	Float  []float32
	Int    []int64
	Double []float64

	// Coded says that the file held 8-bit codes on the range from Min to Max
	// (package affine): Codes are the file's, Float is what they decode to.
	Coded    bool
	Codes    []uint8
	Min, Max float64
}

// Len returns the number of elements that the shape asks for.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// A File is what a model file of another program holds.
type File struct {
	Path string
	// Format is "PyTorch legacy", "PyTorch zip", "8-bit pickle", "16-bit
	// pickle", "pickle" (of plain arrays) or "safetensors".
	Format string
	// Tensors are in the file's order. Their names differ from one another.
	Tensors []Tensor
	// Notes say, a line each, what was done to the names and what was left
	// out: a prefix removed, an optimizer's state ignored.
	Notes []string
	// Warnings are those of the Notes that whoever uses the model should know:
	// that tensors were left out, or computed from others.
	Warnings []string
	// Unread describes the first few tensors that were left out since their
	// types, or values beyond int64, are not read, as in `"x" complex64[2]`.
	Unread  []string
	unread  *FormatError // says so of the first
	unreads int          // how many there are
}

// A FormatError says that bytes are not the file they should be, or hold what
// is not taken.
type FormatError struct {
	Path   string // the file, or empty where bytes were decoded
	Reason string // what is wrong
	Fix    string // what to do; empty stands for the advice for damaged files

	unread bool // a sound tensor of a type that is not read
}

const fixDamaged = "the file is damaged or cut short; copy it again"

// Error returns one line: the file, what is wrong, and what to do.
func (e *FormatError) Error() string {
	path, fix := e.Path, e.Fix
	if path == "" {
		path = "model file"
	}
	if fix == "" {
		fix = fixDamaged
	}
	return path + ": " + e.Reason + "; " + fix
}

// Damaged returns an error with the advice for damaged files.
func Damaged(format string, args ...any) *FormatError {
	return &FormatError{Reason: fmt.Sprintf(format, args...)}
}

// Refused returns an error with advice of its own.
func Refused(fix, format string, args ...any) *FormatError {
	return &FormatError{Reason: fmt.Sprintf(format, args...), Fix: fix}
}

// Quote quotes a name out of a file for an error's line, and shortens what
// would flood it.
func Quote(name string) string {
	const most = 120
	if len(name) > most {
		return strconv.Quote(name[:most]) + "…"
	}
	return strconv.Quote(name)
}

// Plain returns a module's or class's name out of a file for an error's line:
// as it is where it is short and of printable characters, else quoted.
func Plain(name string) string {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }
	if name == "" || len(name) > 120 || strings.ContainsFunc(name, odd) {
		return Quote(name)
	}
	return name
}

// Word returns a name out of a file as an argument of a command for a shell: in
// single quotes where it needs them, and NAME in place of one that would not do.
func Word(name string) string {
	plain := func(r rune) bool {
		return r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-/", r))
	}
	switch {
	case name == "" || len(name) > 120 || Plain(name) != name || strings.Contains(name, "'"):
		return "NAME"
	case strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }):
		return "'" + name + "'"
	}
	return name
}
