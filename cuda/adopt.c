//go:build linux && cgo

#define _GNU_SOURCE
#include "driver.h"

#include <dlfcn.h>
#include <stdlib.h>

void *ps_linked(const char *name) { return dlsym(RTLD_DEFAULT, name); }

// ordinal_of returns the number of a device handle, or a result of the driver, negated.
static int ordinal_of(const ps_driver *d, int device) {
    int n, handle, r = d->cuDeviceGetCount(&n);
    for (int i = 0; !r && i < n; i++) {
        r = d->cuDeviceGet(&handle, i);
        if (!r && handle == device)
            return i;
    }
    return r ? -r : -101; // CUDA_ERROR_INVALID_DEVICE
}

int ps_context_adopt(const ps_driver *d, uintptr_t context, uint64_t serial, ps_context **out, int *ordinal) {
    ps_context *c = calloc(1, sizeof *c);
    if (!c)
        return 2; // CUDA_ERROR_OUT_OF_MEMORY
    c->driver = d;
    c->context = (void *)context;
    c->serial = serial;
    c->foreign = 1;
    ps_share();
    int r = ps_enter(c);
    if (!r)
        r = d->cuCtxGetDevice(&c->device);
    if (!r && (*ordinal = ordinal_of(d, c->device)) < 0)
        r = -*ordinal;
    if (r) {
        free(c);
        return r;
    }
    *out = c;
    return 0;
}

int ps_stream_adopt(const ps_context *c, uintptr_t stream, void **owner, ps_stream **out) {
    PS_ENTER(c);
    int r = c->driver->cuStreamGetCtx((void *)stream, owner);
    if (r || *owner != c->context)
        return r;
    if (!(*out = ps_stream_new(c, (void *)stream)))
        return 2; // CUDA_ERROR_OUT_OF_MEMORY
    (*out)->foreign = (*out)->lent = 1;
    return 0;
}

int ps_memory(const ps_context *c, uint64_t p, uint64_t *base, size_t *bytes, void **owner) {
    PS_ENTER(c);
    int r = c->driver->cuMemGetAddressRange_v2(base, bytes, p);
    *owner = NULL;
    if (!r)
        r = c->driver->cuPointerGetAttribute(owner, 1, p); // CU_POINTER_ATTRIBUTE_CONTEXT
    return r;
}
