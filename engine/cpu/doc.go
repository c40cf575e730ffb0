// Package cpu is the backend for processors. Its kernels are C in the vector
// extensions of GCC and Clang, compiled once per instruction set (AVX-512,
// AVX2, and four-float vectors for anything else, NEON among it) from one text
// and chosen when the backend is made; without cgo they are plain Go.
//
// A kernel is lowered to launches: a C function, its arguments, and a number of
// tasks that may run in any order on any thread. Enqueue appends launches to a
// command list, and Sync hands the list to the thread pool in one call across
// the language border. A program's list is recorded once and replayed.
//
// Activations are float32 or bfloat16 (see engine's bfloat16.go). The kernels on
// them are one text for both (elem in C, a type parameter in Go): they widen what
// they read, compute in float32, and round what they write. The table of
// kernels holds those of one type behind those of the other. An op that has no kernel for bfloat16
// is computed in float32, from copies of its inputs (widened.go).
//
// How sums are cut into parts depends on shapes alone, and partial results are
// summed in a fixed order, so the number of threads never shows in a result.
// It does show which instruction set ran: the width of a vector decides the
// order of some sums.
package cpu
