package gpu

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/potstill/potstill/cuda"
)

// A sourceKey names a source of cuda/kernels and the macros it was compiled with.
type sourceKey struct{ source, defines string }

// function returns the kernel of the given name in a source of cuda/kernels,
// compiled with macros such as "-DBF16" or "KERNEL_SIZE=3". Each combination is
// compiled once and kept as long as the backend.
func (b *Backend) function(source, name string, defines ...string) (*cuda.Function, error) {
	options := make([]string, len(defines))
	for i, d := range defines {
		options[i] = "-D" + strings.TrimPrefix(d, "-D")
	}
	key := sourceKey{source, strings.Join(options, " ")}
	if b.wanted != nil {
		b.wanted[key] = true
		return nil, nil // which is launched by nobody
	}
	m := b.modules[key]
	if m == nil {
		text, err := b.source(source)
		if err != nil {
			return nil, err
		}
		if m, err = b.ctx.Compile(source, text, options...); err != nil {
			return nil, b.wrap(fmt.Errorf("compiling %s %s: %w", source, key.defines, err))
		}
		b.modules[key] = m
	}
	f, err := m.Function(name)
	if err != nil {
		return nil, b.wrap(fmt.Errorf("kernel %s of %s %s: %w", name, source, key.defines, err))
	}
	f.Overlap() // as every kernel of that package waits for what is earlier
	return f, nil
}

// launch puts a kernel into the stream. args is the kernel's one argument, the
// mirror of its C struct; it is copied before launch returns. A grid without
// blocks is no work. Nothing is allocated.
func launch[A any](b *Backend, f *cuda.Function, grid, block [3]int, shared int, args *A) error {
	return launchIn(b.stream, f, grid, block, shared, args)
}

// launchIn is launch in another stream than the backend's.
func launchIn[A any](s *cuda.Stream, f *cuda.Function, grid, block [3]int, shared int, args *A) error {
	if grid[0] == 0 || grid[1] == 0 || grid[2] == 0 {
		return nil
	}
	return s.Launch(f, grid, block, shared, unsafe.Pointer(args), int(unsafe.Sizeof(*args)))
}

// ceilDiv returns ⌈a/b⌉.
func ceilDiv(a, b int) int { return (a + b - 1) / b }

// roundUp returns the smallest multiple of 256 that is at least n: workspace is
// cut into parts at that alignment.
func roundUp(n int) int { return (n + 255) &^ 255 }

// inParts calls launch for parts of so many rows, each of no more items than a
// kernel counts (maxItems).
func inParts(rows, items int, launch func(first, rows int) error) error {
	most := max(maxItems/items, 1)
	for first := 0; first < rows; first += most {
		if err := launch(first, min(most, rows-first)); err != nil {
			return err
		}
	}
	return nil
}

// items returns the grid of blocks of elementThreads that stride over n items.
func (b *Backend) items(n int) [3]int {
	return [3]int{b.resident(n, elementThreads, elementBlocks), 1, 1}
}

// resident returns how many blocks a kernel that strides over its elements
// needs: as many as there are elements for, but no more than perSM on each
// multiprocessor.
func (b *Backend) resident(n, threads, perSM int) int {
	return max(1, min(ceilDiv(n, threads), perSM*b.multiprocessors()))
}
