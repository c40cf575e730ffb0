// Package foreign reads the model files of other programs: PyTorch's
// state_dicts in the legacy and the zip format (package torch), the study's
// 8-bit and 16-bit pickles (package study8), and safetensors of any writer.
//
// What a file holds is found from its content, never from its name. Nothing in
// a file is executed. Every reader checks sizes before it allocates; together
// the values, the pickle's objects and inflated entries take at most
// [torch.Expansion] bytes for each byte of the file, and a constant.
package foreign

import "github.com/potstill/potstill/layers/checkpoint/named"

// The types that all readers and writers of foreign files share.
type (
	// Tensor is a named array; see [named.Tensor].
	Tensor = named.Tensor
	// File is the content of a file; see [named.File].
	File = named.File
	// FormatError is one line: the file, what is wrong, and what to do.
	FormatError = named.FormatError
)

// WithPath puts the file's name before an error.
func WithPath(path string, err error) error { return named.WithPath(path, err) }
