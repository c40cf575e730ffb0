// Package mpi joins the processes that an MPI launcher has started. It needs no header and
// no compiler of MPI: it opens the library when it is asked to, with prototypes of its
// own, and finds out which of three binary interfaces the library has: the standard one of
// MPI 5, MPICH's (also that of Intel MPI and MVAPICH), or Open MPI's.
//
// Of MPI it uses two collectives without arithmetic, point-to-point messages, and
// little else: what is added up is added up by its callers, in an order of their own, for
// the order of MPI's reductions is free. One thread makes all calls
// (MPI_THREAD_FUNNELED).
//
// # A rank that dies
//
// Every rank sends the next one a message of eight bytes every second, also while it
// computes. A rank that has heard nothing of the one before it for eight seconds
// tells all others, and every call fails with an [*engine.PeerError] that names the rank. This
// matters where the launcher does not end the job by itself, as most do.
package mpi
