//go:build linux && cgo

#include "nccl.h"
#include "loader.h"

#include <stdio.h>
#include <string.h>

const char *ps_nccl_bind(struct nccl_api *api, void *library) {
#define F(result, name, params) *(void **)&api->name = ps_symbol(library, #name);
    NCCL_OPTIONAL(F)
#undef F
#define F(result, name, params)                       \
    *(void **)&api->name = ps_symbol(library, #name); \
    if (!api->name) return #name;
    NCCL_FUNCTIONS(F)
#undef F
    return NULL;
}

int ps_nccl_version(void *f) {
    int version = 0;
    return ((unsigned (*)(int *))f)(&version) ? 0 : version;
}

static const char *name_of(unsigned result) {
    switch (result) {
#define NAME(name) case PS_##name: return #name
        NAME(ncclUnhandledCudaError);
        NAME(ncclSystemError);
        NAME(ncclInternalError);
        NAME(ncclInvalidArgument);
        NAME(ncclInvalidUsage);
        NAME(ncclRemoteError);
        NAME(ncclInProgress);
#undef NAME
    }
    return "ncclResult";
}

// comm_of returns the communicator, which another thread may take away (take).
static nccl_comm comm_of(struct nccl *n) { return __atomic_load_n(&n->comm, __ATOMIC_ACQUIRE); }

static nccl_comm take(struct nccl *n) { return __atomic_exchange_n(&n->comm, NULL, __ATOMIC_ACQ_REL); }

// failed keeps what the library says of a call that failed.
static int failed(struct nccl *n, ps_failure *f, const char *call, unsigned result) {
    const char *more = n->api.ncclGetLastError ? n->api.ncclGetLastError(NULL) : NULL;
    f->call = call;
    f->number = (int)result;
    snprintf(f->code, sizeof f->code, "%s", name_of(result));
    snprintf(f->text, sizeof f->text, "%s%s%s", n->api.ncclGetErrorString(result), more && *more ? ": " : "", more ? more : "");
    return (int)result;
}

// CALL returns from the function with the result of a call that failed.
#define CALL(n, f, name, ...)                              \
    do {                                                   \
        unsigned result_ = (n)->api.name(__VA_ARGS__);     \
        if (result_) return failed(n, f, #name, result_);  \
    } while (0)

static int enter(struct nccl *n, ps_failure *f) {
    int r = ps_enter(n->context);
    if (r) {
        f->call = "cuCtxSetCurrent";
        f->number = r & ~PS_ENTERING;
        f->code[0] = f->text[0] = 0;
    }
    return r;
}

#define ENTER(n, f)            \
    do {                       \
        int r_ = enter(n, f);  \
        if (r_) return r_;     \
    } while (0)

int ps_nccl_id(struct nccl *n, nccl_id *id) {
    ENTER(n, &n->failure);
    CALL(n, &n->failure, ncclGetUniqueId, id);
    return 0;
}

int ps_nccl_open(struct nccl *n, const nccl_id *id, int rank, int size) {
    n->size = size;
    ENTER(n, &n->failure);
    CALL(n, &n->failure, ncclCommInitRank, &n->comm, size, *id, rank);
    return 0;
}

int ps_nccl_close(struct nccl *n) {
    nccl_comm comm = take(n);
    if (!comm) return 0;
    ENTER(n, &n->failure);
    CALL(n, &n->failure, ncclCommDestroy, comm);
    return 0;
}

int ps_nccl_error(struct nccl *n, ps_failure *f) {
    unsigned error = 0;
    nccl_comm comm = comm_of(n);
    if (!comm) return 0;
    CALL(n, f, ncclCommGetAsyncError, comm, &error);
    if (error && error != PS_ncclInProgress) return failed(n, f, "ncclCommGetAsyncError", error);
    return 0;
}

int ps_nccl_abort(struct nccl *n, ps_failure *f) {
    nccl_comm comm = take(n);
    if (!comm) return 0;
    CALL(n, f, ncclCommAbort, comm);
    return 0;
}

int ps_nccl_gather(struct nccl *n, nccl_stream stream, uint64_t from, uint64_t to, size_t count) {
    ENTER(n, &n->failure);
    CALL(n, &n->failure, ncclAllGather, (const void *)(uintptr_t)from, (void *)(uintptr_t)to, count, PS_ncclFloat32, comm_of(n), stream);
    return 0;
}

int ps_nccl_exchange(struct nccl *n, nccl_stream stream, uint64_t from, uint64_t to, size_t count) {
    ENTER(n, &n->failure);
    CALL(n, &n->failure, ncclGroupStart);
    nccl_comm comm = comm_of(n);
    unsigned result = 0;
    const char *call = NULL;
    for (int r = 0; r < n->size && !result; r++) {
        const uint64_t at = (uint64_t)r * count * 4;
        call = "ncclSend";
        result = n->api.ncclSend((const void *)(uintptr_t)(from + at), count, PS_ncclFloat32, r, comm, stream);
        if (!result) {
            call = "ncclRecv";
            result = n->api.ncclRecv((void *)(uintptr_t)(to + at), count, PS_ncclFloat32, r, comm, stream);
        }
    }
    if (result) failed(n, &n->failure, call, result);
    unsigned ended = n->api.ncclGroupEnd();
    if (!result && ended) failed(n, &n->failure, "ncclGroupEnd", ended);
    return (int)(result ? result : ended);
}
