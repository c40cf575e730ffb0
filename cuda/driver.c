//go:build linux && cgo

#include "driver.h"
#include "loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The context that is current on this thread, by its serial. A number is never
// used again, so one that was closed is never taken for its successor at the
// same address.
static _Thread_local uint64_t current;
static int shared; // others change what is current

ps_driver *ps_driver_open(void *handle, const char **missing) {
    ps_driver *d = calloc(1, sizeof *d);
    *missing = NULL;
    if (!d) {
        *missing = "memory";
        return NULL;
    }
#define X(name, params)                                       \
    *(void **)&d->name = ps_symbol(handle, #name);            \
    if (!d->name && !*missing)                                \
        *missing = #name;
    PS_DRIVER_FUNCTIONS(X)
#undef X
#define X(name, params) *(void **)&d->name = ps_symbol(handle, #name);
    PS_DRIVER_OPTIONAL(X)
#undef X
    if (!d->cuEventElapsedTime && !d->cuEventElapsedTime_v2 && !*missing)
        *missing = "cuEventElapsedTime";
    if (*missing) {
        free(d);
        return NULL;
    }
    return d;
}

void ps_share(void) { __atomic_store_n(&shared, 1, __ATOMIC_RELAXED); }

int ps_enter(const ps_context *c) {
    if (current == c->serial && !__atomic_load_n(&shared, __ATOMIC_RELAXED))
        return 0;
    int r = c->driver->cuCtxSetCurrent(c->context);
    if (r)
        return r | PS_ENTERING;
    current = c->serial;
    return 0;
}

void ps_error(const ps_driver *d, int result, char *name, char *text, size_t size) {
    const char *s = NULL;
    name[0] = text[0] = 0;
    if (d->cuGetErrorName(result, &s) == 0 && s)
        snprintf(name, size, "%s", s);
    s = NULL;
    if (d->cuGetErrorString(result, &s) == 0 && s)
        snprintf(text, size, "%s", s);
}

int ps_init(const ps_driver *d) { return d->cuInit(0); }
int ps_driver_version(const ps_driver *d, int *version) { return d->cuDriverGetVersion(version); }
int ps_device_count(const ps_driver *d, int *count) { return d->cuDeviceGetCount(count); }

int ps_device_info(const ps_driver *d, int ordinal, char *name, size_t size, unsigned char uuid[16],
                   size_t *memory, int values[PS_ATTRIBUTES]) {
    // Numbers of CUdevice_attribute, in the order in which Go reads them.
    static const int attributes[PS_ATTRIBUTES] = {
        75, // COMPUTE_CAPABILITY_MAJOR
        76, // COMPUTE_CAPABILITY_MINOR
        16, // MULTIPROCESSOR_COUNT
        8,  // MAX_SHARED_MEMORY_PER_BLOCK
        97, // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        38, // L2_CACHE_SIZE
        36, // MEMORY_CLOCK_RATE
        37, // GLOBAL_MEMORY_BUS_WIDTH
    };
    int device, r;
    if ((r = d->cuDeviceGet(&device, ordinal)) || (r = d->cuDeviceGetName(name, (int)size, device)) ||
        (r = d->cuDeviceTotalMem_v2(memory, device)) || (r = d->cuDeviceGetUuid_v2(uuid, device)))
        return r;
    for (int i = 0; i < PS_ATTRIBUTES; i++) {
        values[i] = 0;
        r = d->cuDeviceGetAttribute(&values[i], attributes[i], device);
        if (r && i < 5) // the others are for information
            return r;
    }
    return 0;
}

int ps_context_open(const ps_driver *d, int ordinal, uint64_t serial, ps_context **out) {
    ps_context *c = calloc(1, sizeof *c);
    if (!c)
        return 2; // CUDA_ERROR_OUT_OF_MEMORY
    c->driver = d;
    c->serial = serial;
    int r = d->cuDeviceGet(&c->device, ordinal);
    if (!r)
        r = d->cuDevicePrimaryCtxRetain(&c->context, c->device);
    if (r) {
        free(c);
        return r;
    }
    *out = c;
    return 0;
}

int ps_context_sync(const ps_context *c) {
    PS_ENTER(c);
    return c->driver->cuCtxSynchronize();
}

int ps_context_close(ps_context *c) {
    int r = c->foreign ? 0 : c->driver->cuDevicePrimaryCtxRelease_v2(c->device);
    free(c);
    return r;
}

int ps_mem_info(const ps_context *c, size_t *free, size_t *total) {
    PS_ENTER(c);
    return c->driver->cuMemGetInfo_v2(free, total);
}

int ps_alloc(const ps_context *c, size_t bytes, uint64_t *p) {
    PS_ENTER(c);
    return c->driver->cuMemAlloc_v2(p, bytes);
}

int ps_free(const ps_context *c, uint64_t p) {
    PS_ENTER(c);
    return c->driver->cuMemFree_v2(p);
}

int ps_alloc_host(const ps_context *c, size_t bytes, void **p) {
    PS_ENTER(c);
    return c->driver->cuMemHostAlloc(p, bytes, 1); // CU_MEMHOSTALLOC_PORTABLE
}

int ps_free_host(const ps_context *c, void *p) {
    PS_ENTER(c);
    return c->driver->cuMemFreeHost(p);
}

int ps_module_load(const ps_context *c, const void *image, void **module) {
    PS_ENTER(c);
    return c->driver->cuModuleLoadData(module, image);
}

int ps_module_unload(const ps_context *c, void *module) {
    PS_ENTER(c);
    return c->driver->cuModuleUnload(module);
}

int ps_module_function(const ps_context *c, void *module, const char *name, void **function) {
    PS_ENTER(c);
    return c->driver->cuModuleGetFunction(function, module, name);
}

int ps_function_shared(const ps_context *c, void *function, int bytes) {
    PS_ENTER(c);
    return c->driver->cuFuncSetAttribute(function, 8, bytes); // MAX_DYNAMIC_SHARED_SIZE_BYTES
}

int ps_event_open(const ps_context *c, unsigned flags, void **event) {
    PS_ENTER(c);
    return c->driver->cuEventCreate(event, flags);
}

int ps_event_close(const ps_context *c, void *event) {
    PS_ENTER(c);
    return c->driver->cuEventDestroy_v2(event);
}

int ps_event_query(const ps_context *c, void *event) {
    PS_ENTER(c);
    return c->driver->cuEventQuery(event);
}

int ps_event_sync(const ps_context *c, void *event) {
    PS_ENTER(c);
    return c->driver->cuEventSynchronize(event);
}

int ps_event_since(const ps_context *c, void *earlier, void *event, float *ms) {
    PS_ENTER(c);
    if (c->driver->cuEventElapsedTime_v2)
        return c->driver->cuEventElapsedTime_v2(ms, earlier, event);
    return c->driver->cuEventElapsedTime(ms, earlier, event);
}

int ps_graph_instantiate(const ps_context *c, void *graph, void **exec) {
    PS_ENTER(c);
    return c->driver->cuGraphInstantiateWithFlags(exec, graph, 0);
}

int ps_graph_destroy(const ps_context *c, void *graph) {
    PS_ENTER(c);
    return c->driver->cuGraphDestroy(graph);
}

int ps_graph_close(const ps_context *c, void *exec) {
    PS_ENTER(c);
    return c->driver->cuGraphExecDestroy(exec);
}
