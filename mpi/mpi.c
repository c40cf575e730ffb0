//go:build linux && cgo && (amd64 || arm64)

#define _GNU_SOURCE
#include "mpi.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void *ps_mpi_open(const char *path, char *err, int size) {
    // Open MPI's parts look for its symbols globally.
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (!library) {
        const char *why = dlerror();
        snprintf(err, size, "%s", why ? why : "the loader does not say why");
    }
    return library;
}

const char *ps_mpi_bind(struct mpi *m, void *library) {
    memset(m, 0, sizeof *m);
#define F(name, params)                                        \
    *(void **)&m->name = dlsym(library, "MPI_" #name);         \
    if (!m->name) return "MPI_" #name;
    MPI_FUNCTIONS(F)
#undef F
    int major = 0, minor = 0;
    int (*abi)(int *, int *) = NULL;
    *(void **)&abi = dlsym(library, "MPI_Abi_get_version");
    void *world = dlsym(library, "ompi_mpi_comm_world");
    if (world) {
        m->abi = ABI_OPENMPI;
        m->world = (handle)world;
        m->byte = (handle)dlsym(library, "ompi_mpi_byte");
        m->errors_return = (handle)dlsym(library, "ompi_mpi_errors_return");
        m->request_null = (handle)dlsym(library, "ompi_request_null");
        m->any_source = -1, m->funneled = 1;
        if (!m->byte || !m->errors_return || !m->request_null) return "ompi_mpi_byte";
    } else if (abi && abi(&major, &minor) == 0 && major > 0) {
        m->abi = ABI_STANDARD;
        m->world = 0x101, m->byte = 0x247, m->errors_return = 0x143, m->request_null = 0x180;
        m->any_source = -1, m->funneled = 1024;
    } else {
        m->abi = ABI_MPICH;
        m->world = 0x44000000, m->byte = 0x4c00010d, m->errors_return = 0x54000001, m->request_null = 0x2c000000;
        m->any_source = -2, m->funneled = 1;
    }
    return NULL;
}

void *ps_mpi_memory(int bytes) { return calloc(1, bytes); }

int ps_mpi_init(struct mpi *m, int *rank, int *size) {
    int provided = 0;
    int r = m->Init_thread(NULL, NULL, m->funneled, &provided);
    if (!r) r = m->Comm_set_errhandler(m->world, m->errors_return);
    if (!r) r = m->Comm_rank(m->world, rank);
    if (!r) r = m->Comm_size(m->world, size);
    return r;
}

int ps_mpi_finalize(struct mpi *m) { return m->Finalize(); }

void ps_mpi_version(struct mpi *m, char *text) {
    int n = 0;
    if (m->Get_library_version(text, &n)) n = 0;
    text[n] = 0;
}

void ps_mpi_error(struct mpi *m, int code, char *text) {
    int n = 0;
    if (m->Error_string(code, text, &n)) n = 0;
    text[n] = 0;
}

int ps_mpi_alltoall(struct mpi *m, const void *in, void *out, int bytes, handle *request) {
    *request = 0;
    return m->Ialltoall(in, bytes, m->byte, out, bytes, m->byte, m->world, request);
}

int ps_mpi_allgather(struct mpi *m, const void *in, void *out, int bytes, handle *request) {
    *request = 0;
    return m->Iallgather(in, bytes, m->byte, out, bytes, m->byte, m->world, request);
}

int ps_mpi_send(struct mpi *m, const void *p, int bytes, int to, int tag, handle *request) {
    *request = 0;
    return m->Isend(p, bytes, m->byte, to, tag, m->world, request);
}

int ps_mpi_receive(struct mpi *m, void *p, int bytes, int tag, handle *request) {
    *request = 0;
    return m->Irecv(p, bytes, m->byte, m->any_source, tag, m->world, request);
}

void ps_mpi_abort(struct mpi *m, int code) { m->Abort(m->world, code); }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

int ps_mpi_test(struct mpi *m, handle *request, int microseconds, int *done) {
    char status[64]; // larger than that of any of the three
    const int64_t end = now() + microseconds;
    for (;;) {
        int r = m->Test(request, done, status);
        if (r || *done || now() >= end) return r;
        sched_yield();
    }
}
