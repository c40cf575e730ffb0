// Package kernels holds the CPU's kernels in C, compiled for each instruction set, the
// pool of threads that runs lists of them, and the memory that they work on. It is a
// package of its own so that a change in package cpu, which lowers operators to lists
// of kernels, does not compile the C code again.
//
// Without cgo it is empty, and package cpu computes in Go.
package kernels
