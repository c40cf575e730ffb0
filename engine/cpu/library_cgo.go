//go:build cgo

package cpu

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/potstill/potstill/engine"
	"github.com/potstill/potstill/engine/cpu/kernels"
)

// compiled says whether there are kernels in C.
const compiled = true

// Variants returns the instruction sets that this build has and this machine
// can run, the best first.
func Variants() []string {
	level := kernels.Level()
	tiles, wide, narrow := kernels.Dots()
	narrowLevel, least := 1, "generic" // of the narrow dots; what every processor has
	if runtime.GOARCH == "arm64" {
		narrowLevel, least = 0, "neon"
	}
	var v []string
	for _, s := range instructionSets {
		var has bool
		switch s.by {
		case kernels.ByPairs:
			has = true
		case kernels.ByDots:
			has = wide && s.level > 1 || narrow && s.level == narrowLevel
		case kernels.ByTiles:
			has = tiles
		}
		if has && s.level <= level {
			v = append(v, s.name)
		}
	}
	return append(v, least)
}

// EmulatedVariants returns instruction sets that are emulated, and slow: tests hold to the others
// what this machine may not be able to run.
func EmulatedVariants() []string {
	if _, wide, _ := kernels.Dots(); wide {
		return []string{"avx512amx-emulated"}
	}
	return nil
}

// An instructionSet is what a variant stands for, with its number in C.
type instructionSet struct {
	name  string
	level int
	by    kernels.Products
}

// instructionSets are in the order of their speed, but for avx512amx: nobody has timed it, and so it
// is not the first. Every processor with AVX512_BF16 has
// AVX512_VNNI as well, and every one with AMX-INT8 both. Behind them are that of arm64 with
// FEAT_DotProd, and what is emulated.
var instructionSets = []instructionSet{
	{"avx512bf16fma", 4, kernels.ByDots}, {"avx512amx", 4, kernels.ByTiles}, {"avx512bf16", 3, kernels.ByDots},
	{"avx512vnni", 2, kernels.ByDots}, {"avx512", 2, kernels.ByPairs}, {"avx2vnni", 1, kernels.ByDots}, {"avx2", 1, kernels.ByPairs},
	{"neondot", 0, kernels.ByDots},
	{"avx512amx-emulated", 2, kernels.ByEmulatedTiles},
}

// setOf returns the instruction set of a variant; one that has nothing beyond what every
// processor of its kind has, as neon and generic, has level 0.
func setOf(variant string) instructionSet {
	for _, s := range instructionSets {
		if s.name == variant {
			return s
		}
	}
	return instructionSet{}
}

// A library is a pool of threads with its table of kernels.
type library struct{ pool *kernels.Pool }

func openLibrary(variant string, threads int) (*library, error) {
	names := kernels.Names()
	if len(names) != len(kernelNames) {
		return nil, fmt.Errorf("the build is broken: %d kernels in C, %d in Go", len(names), len(kernelNames))
	}
	for i, name := range kernelNames {
		if names[i] != name {
			return nil, fmt.Errorf("the build is broken: kernel %d is %s in C, %s in Go", i, names[i], name)
		}
	}
	set := setOf(variant)
	pool := kernels.NewPool(threads, set.level, set.by)
	if pool == nil {
		return nil, errors.New("the system refuses another thread")
	}
	return &library{pool: pool}, nil
}

func (l *library) run(commands []command) {
	if len(commands) == 0 {
		return
	}
	l.pool.Run(unsafe.Pointer(&commands[0]), len(commands))
}

func (l *library) close() { l.pool.Close() }

// allocate returns memory aligned to a cache line.
func allocate(bytes int) (unsafe.Pointer, error) {
	p := kernels.Pages(bytes)
	if p == nil {
		return nil, engine.ErrOutOfMemory
	}
	return p, nil
}

func release(p unsafe.Pointer) { kernels.Free(p) }

// An arena hands out memory outside the Go heap that is freed all at once.
type arena struct {
	blocks []unsafe.Pointer
	left   int            // bytes of the last block that are free
	next   unsafe.Pointer // where they start
}

const arenaBlock = 1 << 16

// keep copies values into the arena and returns where.
func keep[T any](a *arena, values []T) unsafe.Pointer {
	var zero T
	n := (int(unsafe.Sizeof(zero))*len(values) + 15) &^ 15
	if n == 0 {
		return nil
	}
	if n > a.left {
		size := max(n, arenaBlock)
		a.next, a.left = kernels.Allocate(size), size
		a.blocks = append(a.blocks, a.next)
	}
	p := a.next
	copy(unsafe.Slice((*T)(p), len(values)), values)
	a.next, a.left = unsafe.Add(a.next, n), a.left-n
	return p
}

// reset frees everything but one block, which it reuses.
func (a *arena) reset() {
	if len(a.blocks) > 1 {
		a.free()
	}
	if len(a.blocks) == 1 {
		a.next, a.left = a.blocks[0], arenaBlock
	}
}

func (a *arena) free() {
	for _, b := range a.blocks {
		kernels.Free(b)
	}
	*a = arena{}
}
