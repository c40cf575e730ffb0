//go:build !linux || !cgo || !(amd64 || arm64)

package mpi

import (
	"errors"
	"os"
)

var errBuild = errors.New("mpi: this build has no MPI: it is built without cgo, or for another system than Linux on x86-64 or arm64; build it with CGO_ENABLED=1 and a C compiler")

// A World is nothing in this build: Open fails.
type World struct{}

// Open returns an error: this build has no MPI.
func Open(Options) (*World, error) { return nil, errBuild }

// Rank returns 0.
func (w *World) Rank() int { return 0 }

// Size returns 1.
func (w *World) Size() int { return 1 }

// AllGather returns Open's error.
func (w *World) AllGather(out, in []byte) error { return errBuild }

// AllToAll returns Open's error.
func (w *World) AllToAll(out, in []byte) error { return errBuild }

// Err returns nil.
func (w *World) Err() error { return nil }

// Library returns nothing.
func (w *World) Library() string { return "" }

// Sent returns 0.
func (w *World) Sent() int64 { return 0 }

// Close returns Open's error.
func (w *World) Close() error { return errBuild }

// Exit is os.Exit.
func Exit(code int) { os.Exit(code) }

// Abort does nothing.
func (w *World) Abort(int) {}
