// Prototypes of NCCL, and what nccl.c makes of them. The lists are held against
// NVIDIA's header by scripts/abi.sh, as those of cuDNN are.
#ifndef POTSTILL_CUDA_NCCL_H
#define POTSTILL_CUDA_NCCL_H

#include <stddef.h>
#include <stdint.h>

#include "driver.h"
#include "library.h"

#ifdef POTSTILL_ABI // the library's own names, so that swapped parameters fail
typedef ncclComm_t nccl_comm;
typedef ncclUniqueId nccl_id;
typedef cudaStream_t nccl_stream;
#else
typedef struct nccl_comm_opaque *nccl_comm;
typedef struct CUstream_st *nccl_stream;
// nccl_id is passed by value.
typedef struct nccl_id {
    char internal[128];
} nccl_id;
#endif

#define NCCL_FUNCTIONS(F) \
    F(unsigned, ncclGetVersion, (int *version)) \
    F(unsigned, ncclGetUniqueId, (nccl_id *id)) \
    F(unsigned, ncclCommInitRank, (nccl_comm *comm, int ranks, nccl_id id, int rank)) \
    F(unsigned, ncclCommDestroy, (nccl_comm comm)) \
    F(unsigned, ncclCommAbort, (nccl_comm comm)) \
    F(unsigned, ncclCommGetAsyncError, (nccl_comm comm, unsigned *error)) \
    F(const char *, ncclGetErrorString, (unsigned result)) \
    F(unsigned, ncclGroupStart, (void)) \
    F(unsigned, ncclGroupEnd, (void)) \
    F(unsigned, ncclSend, (const void *from, size_t count, unsigned type, int peer, nccl_comm comm, nccl_stream stream)) \
    F(unsigned, ncclRecv, (void *to, size_t count, unsigned type, int peer, nccl_comm comm, nccl_stream stream)) \
    F(unsigned, ncclAllGather, (const void *from, void *to, size_t count, unsigned type, nccl_comm comm, nccl_stream stream))

// Those that older versions lack.
#define NCCL_OPTIONAL(F) \
    F(const char *, ncclGetLastError, (nccl_comm comm))

#define NCCL_CONSTANTS(C) \
    C(ncclSuccess, 0) \
    C(ncclUnhandledCudaError, 1) \
    C(ncclSystemError, 2) \
    C(ncclInternalError, 3) \
    C(ncclInvalidArgument, 4) \
    C(ncclInvalidUsage, 5) \
    C(ncclRemoteError, 6) \
    C(ncclInProgress, 7) \
    C(ncclFloat32, 7)

struct nccl_api {
#define F(result, name, params) result(*name) params;
    NCCL_FUNCTIONS(F)
    NCCL_OPTIONAL(F)
#undef F
};

#ifndef POTSTILL_ABI

enum {
#define C(name, value) PS_##name = value,
    NCCL_CONSTANTS(C)
#undef C
};

// nccl is a communicator of one context.
struct nccl {
    struct nccl_api api;
    const ps_context *context;
    nccl_comm comm;
    int size;
    ps_failure failure; // of the calls that enqueue
};

// ps_nccl_bind fills the table from an open library and returns the name of the
// first function that it lacks, or NULL.
const char *ps_nccl_bind(struct nccl_api *api, void *library);

// ps_nccl_version calls an int f(int *version), which returns 0.
int ps_nccl_version(void *f);

// What follows returns 0 or fills a ps_failure and returns another number. But for
// ps_nccl_error and ps_nccl_abort, which need none, the context is made current on the thread first.
int ps_nccl_id(struct nccl *n, nccl_id *id);
int ps_nccl_open(struct nccl *n, const nccl_id *id, int rank, int size);
int ps_nccl_close(struct nccl *n);

// ps_nccl_error returns an error that has come up meanwhile, and ps_nccl_abort
// has what is enqueued end at once and frees the communicator. They may be called by another
// thread than the rest, also while one waits for the device; f is the caller's.
int ps_nccl_error(struct nccl *n, ps_failure *f);
int ps_nccl_abort(struct nccl *n, ps_failure *f);

// ps_nccl_gather enqueues a copy of the `count` floats at `from` of every rank to `to`, in the
// order of the ranks. In ps_nccl_exchange every rank sends the `count` floats at `from` + r·count
// to rank r, and gets at `to`, in the order of the ranks, what they have sent to it.
int ps_nccl_gather(struct nccl *n, nccl_stream stream, uint64_t from, uint64_t to, size_t count);
int ps_nccl_exchange(struct nccl *n, nccl_stream stream, uint64_t from, uint64_t to, size_t count);

#endif // POTSTILL_ABI
#endif
