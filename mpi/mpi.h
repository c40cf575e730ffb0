// What the bindings use of MPI. A handle (communicator, type, request, error handler) is
// a pointer in the ABI of MPI 5 and in Open MPI, and an int in MPICH. Both are passed in a
// register of 64 bits, of which MPICH reads the lower half, and both fit into eight bytes of
// memory, of which MPICH uses the first four: that is so on the little-endian machines that
// this package is built for.
#ifndef POTSTILL_MPI_H
#define POTSTILL_MPI_H

#include <stdint.h>

typedef uint64_t handle;

#define MPI_FUNCTIONS(F)                                                                                        \
    F(Init_thread, (int *, char ***, int, int *))                                                               \
    F(Finalize, (void))                                                                                         \
    F(Comm_rank, (handle, int *))                                                                               \
    F(Comm_size, (handle, int *))                                                                               \
    F(Comm_set_errhandler, (handle, handle))                                                                    \
    F(Ialltoall, (const void *, int, handle, void *, int, handle, handle, handle *))                            \
    F(Iallgather, (const void *, int, handle, void *, int, handle, handle, handle *))                           \
    F(Isend, (const void *, int, handle, int, int, handle, handle *))                                           \
    F(Irecv, (void *, int, handle, int, int, handle, handle *))                                                 \
    F(Test, (handle *, int *, void *))                                                                          \
    F(Abort, (handle, int))                                                                                     \
    F(Error_string, (int, char *, int *))                                                                       \
    F(Get_library_version, (char *, int *))

enum { ABI_STANDARD, ABI_MPICH, ABI_OPENMPI };

struct mpi {
    int abi;
    handle world, byte, errors_return, request_null;
    int any_source, funneled;
#define F(name, params) int(*name) params;
    MPI_FUNCTIONS(F)
#undef F
};

// ps_mpi_open opens a library; on failure it fills err and returns NULL.
void *ps_mpi_open(const char *path, char *err, int size);

// ps_mpi_bind fills m from an open library and returns the name of the first function that
// it lacks, NULL if there is none.
const char *ps_mpi_bind(struct mpi *m, void *library);

// ps_mpi_memory returns zeroed memory that stays.
void *ps_mpi_memory(int bytes);

int ps_mpi_init(struct mpi *m, int *rank, int *size);
int ps_mpi_finalize(struct mpi *m);
void ps_mpi_version(struct mpi *m, char *text); // 8192 bytes
void ps_mpi_error(struct mpi *m, int code, char *text); // 512 bytes
int ps_mpi_alltoall(struct mpi *m, const void *in, void *out, int bytes, handle *request);
int ps_mpi_allgather(struct mpi *m, const void *in, void *out, int bytes, handle *request);
int ps_mpi_send(struct mpi *m, const void *p, int bytes, int to, int tag, handle *request);
int ps_mpi_receive(struct mpi *m, void *p, int bytes, int tag, handle *request);
void ps_mpi_abort(struct mpi *m, int code);

// ps_mpi_test asks for the end of a request for up to `microseconds`, and lets other
// threads go first in between.
int ps_mpi_test(struct mpi *m, handle *request, int microseconds, int *done);

#endif
