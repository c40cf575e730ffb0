// Package kernels holds the sources of the CUDA kernels, which NVRTC compiles
// for the card at hand.
//
// They are written in the common subset of CUDA C++ and C, so that cuda/fake
// can compile the same text for the host. Activations lie in NHWC, weights of
// convolutions in HWIO. A source is one operator family; its variants are made
// by options, above all -DBF16, which stores activations as bfloat16 while all
// arithmetic, weights and sums stay in float32. Every kernel takes one struct
// by value, and gives the same bits at every run.
package kernels

import (
	"embed"
	"fmt"
	"math/bits"
	"strings"
)

//go:embed *.cu*
var files embed.FS

// Source returns the text of a source, ready to be compiled: common.cuh, and
// behind it the file name.cu, with the files of this package that it includes
// in their places. Lines are numbered as in the files.
func Source(name string) (string, error) {
	var b strings.Builder
	for _, file := range []string{"common.cuh", name + ".cu"} {
		if err := write(&b, file, 0); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

// write appends a file, which is included so deep.
func write(b *strings.Builder, file string, depth int) error {
	if depth > 8 {
		return fmt.Errorf("kernel source %s: included by itself", file)
	}
	text, err := files.ReadFile(file)
	if err != nil {
		return fmt.Errorf("kernel source %s: %w", file, err)
	}
	fmt.Fprintf(b, "#line 1 %q\n", file)
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if rest, ok := strings.CutPrefix(line, `#include "`); ok {
			included, _, _ := strings.Cut(rest, `"`)
			if err := write(b, included, depth+1); err != nil {
				return err
			}
			fmt.Fprintf(b, "#line %d %q\n", n+1, file)
			continue
		}
		b.WriteString(line)
	}
	return nil
}

// Names returns the names that Source knows, in alphabetic order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".cu"); ok {
			names = append(names, name)
		}
	}
	return names
}

// A FastDiv is a divisor as the kernels' div_by wants it: ⌊n/d⌋ is
// (⌊n·Mul/2³²⌋ + n) >> Shift for every n < 2³¹. It mirrors common.cuh's fastdiv.
type FastDiv struct{ Mul, Shift, Div uint32 }

// Divisor returns the FastDiv for division by d, which must lie in [1, 2³¹];
// what lies outside is taken to its nearer end.
func Divisor(d int) FastDiv {
	d = min(max(d, 1), 1<<31)
	shift := bits.Len(uint(d - 1))
	mul := (uint64(1)<<32)*(uint64(1)<<shift-uint64(d))/uint64(d) + 1
	return FastDiv{Mul: uint32(mul), Shift: uint32(shift), Div: uint32(d)}
}
