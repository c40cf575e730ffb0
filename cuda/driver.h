// The CUDA driver: prototypes of our own, and what is done in one crossing.
//
// Functions return the driver's result (0 is success); PS_ENTERING is added
// when it was making the context current that failed.
#ifndef POTSTILL_CUDA_DRIVER_H
#define POTSTILL_CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#define PS_ENTERING 0x10000
#define PS_ARGS_MAX 4096 // bytes of a kernel's parameters: the limit of CUDA 12.0
#define PS_ATTRIBUTES 8

// The driver's CUlaunchAttribute and CUlaunchConfig.
typedef struct ps_launch_attribute {
    int id;
    _Alignas(8) union {
        char bytes[64];
        int programmatic; // programmaticStreamSerializationAllowed
    } value;
} ps_launch_attribute;

typedef struct ps_launch_config {
    unsigned grid[3], block[3], shared;
    void *stream;
    const ps_launch_attribute *attributes;
    unsigned n;
} ps_launch_config;

// Every handle of the driver is a pointer; CUdeviceptr is 64 bits wide.
//
// The names are those that libcuda exports: where cuda.h has #define f f_v2, f_v2.
// They are in CUDA 12.0 and in 13, with these prototypes. Optional ones are not
// in every version.
#define PS_DRIVER_FUNCTIONS(X)                                                                  \
    X(cuInit, (unsigned flags))                                                                 \
    X(cuDriverGetVersion, (int *version))                                                       \
    X(cuGetErrorName, (int result, const char **name))                                          \
    X(cuGetErrorString, (int result, const char **text))                                        \
    X(cuDeviceGetCount, (int *count))                                                           \
    X(cuDeviceGet, (int *device, int ordinal))                                                  \
    X(cuDeviceGetName, (char *name, int size, int device))                                      \
    X(cuDeviceGetUuid_v2, (void *uuid, int device))                                             \
    X(cuDeviceTotalMem_v2, (size_t *bytes, int device))                                         \
    X(cuDeviceGetAttribute, (int *value, int attribute, int device))                            \
    X(cuDevicePrimaryCtxRetain, (void **context, int device))                                   \
    X(cuDevicePrimaryCtxRelease_v2, (int device))                                               \
    X(cuCtxSetCurrent, (void *context))                                                         \
    X(cuCtxGetDevice, (int *device))                                                            \
    X(cuCtxSynchronize, (void))                                                                 \
    X(cuMemGetInfo_v2, (size_t *free, size_t *total))                                           \
    X(cuMemAlloc_v2, (uint64_t *p, size_t bytes))                                               \
    X(cuMemFree_v2, (uint64_t p))                                                               \
    X(cuMemGetAddressRange_v2, (uint64_t *base, size_t *bytes, uint64_t p))                     \
    X(cuPointerGetAttribute, (void *value, int attribute, uint64_t p))                          \
    X(cuMemHostAlloc, (void **p, size_t bytes, unsigned flags))                                 \
    X(cuMemFreeHost, (void *p))                                                                 \
    X(cuMemcpyHtoDAsync_v2, (uint64_t dst, const void *src, size_t bytes, void *stream))        \
    X(cuMemcpyDtoHAsync_v2, (void *dst, uint64_t src, size_t bytes, void *stream))              \
    X(cuMemcpyDtoDAsync_v2, (uint64_t dst, uint64_t src, size_t bytes, void *stream))           \
    X(cuMemsetD8Async, (uint64_t dst, unsigned char value, size_t bytes, void *stream))         \
    X(cuStreamCreate, (void **stream, unsigned flags))                                          \
    X(cuStreamDestroy_v2, (void *stream))                                                       \
    X(cuStreamGetCtx, (void *stream, void **context))                                           \
    X(cuStreamSynchronize, (void *stream))                                                      \
    X(cuStreamWaitEvent, (void *stream, void *event, unsigned flags))                           \
    X(cuStreamBeginCapture_v2, (void *stream, int mode))                                        \
    X(cuStreamEndCapture, (void *stream, void **graph))                                         \
    X(cuEventCreate, (void **event, unsigned flags))                                            \
    X(cuEventDestroy_v2, (void *event))                                                         \
    X(cuEventRecord, (void *event, void *stream))                                               \
    X(cuEventQuery, (void *event))                                                              \
    X(cuEventSynchronize, (void *event))                                                        \
    X(cuModuleLoadData, (void **module, const void *image))                                     \
    X(cuModuleUnload, (void *module))                                                           \
    X(cuModuleGetFunction, (void **function, void *module, const char *name))                   \
    X(cuFuncSetAttribute, (void *function, int attribute, int value))                           \
    X(cuLaunchKernel, (void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,      \
                       unsigned by, unsigned bz, unsigned shared, void *stream, void **params, \
                       void **extra))                                                           \
    X(cuGraphInstantiateWithFlags, (void **exec, void *graph, unsigned long long flags))        \
    X(cuGraphDestroy, (void *graph))                                                            \
    X(cuGraphLaunch, (void *exec, void *stream))                                                \
    X(cuGraphExecDestroy, (void *exec))

#define PS_DRIVER_OPTIONAL(X)                                                                   \
    X(cuLaunchKernelEx, (const void *config, void *function, void **params, void **extra))      \
    X(cuEventElapsedTime_v2, (float *ms, void *start, void *end))                               \
    X(cuEventElapsedTime, (float *ms, void *start, void *end))

typedef struct ps_driver {
#define X(name, params) int(*name) params;
    PS_DRIVER_FUNCTIONS(X)
    PS_DRIVER_OPTIONAL(X)
#undef X
} ps_driver;

// A context that functions enter: they make it current on the thread they run on.
typedef struct ps_context {
    const ps_driver *driver;
    void *context;   // CUcontext
    uint64_t serial; // no two contexts of a process have the same
    int device;
    int foreign; // somebody else's, who destroys it
} ps_context;

typedef struct ps_stream {
    const ps_context *context;
    void *stream;  // CUstream
    int foreign;   // somebody else's, who destroys it
    int lent;      // other code may enqueue something, too
    int kernel;    // what was enqueued last is a kernel of ps_launch
    void *extra[5];
    size_t size;   // bytes in args
    _Alignas(16) unsigned char args[PS_ARGS_MAX];
} ps_stream;

// ps_driver_open fills a table from libcuda. It returns NULL and names what is
// missing if the library lacks a function.
ps_driver *ps_driver_open(void *handle, const char **missing);

// ps_enter makes a context current on the calling thread, unless it is.
int ps_enter(const ps_context *c);
// ps_share says that other libraries of the process make contexts current too:
// from now on ps_enter takes nothing for granted.
void ps_share(void);

// PS_ENTER returns from the function if the context cannot be made current.
#define PS_ENTER(c)                  \
    do {                             \
        int entered = ps_enter(c);   \
        if (entered)                 \
            return entered;          \
    } while (0)

// ps_error writes the name and the words of a result.
void ps_error(const ps_driver *d, int result, char *name, char *text, size_t size);

int ps_init(const ps_driver *d);
int ps_driver_version(const ps_driver *d, int *version);
int ps_device_count(const ps_driver *d, int *count);
// ps_device_info fills what Device holds; values are the attributes in the order of driver.c.
int ps_device_info(const ps_driver *d, int ordinal, char *name, size_t size, unsigned char uuid[16],
                   size_t *memory, int values[PS_ATTRIBUTES]);

int ps_context_open(const ps_driver *d, int ordinal, uint64_t serial, ps_context **c);
int ps_context_sync(const ps_context *c);
int ps_context_close(ps_context *c); // frees c

// ps_context_adopt finds the ordinal of the device of somebody else's context.
int ps_context_adopt(const ps_driver *d, uintptr_t context, uint64_t serial, ps_context **c, int *ordinal);
// ps_linked returns the libcuda function that the process itself is linked with, NULL if it is not.
void *ps_linked(const char *name);

int ps_mem_info(const ps_context *c, size_t *free, size_t *total);
int ps_alloc(const ps_context *c, size_t bytes, uint64_t *p);
int ps_free(const ps_context *c, uint64_t p);
// ps_memory finds the allocation that p lies in, and its context, NULL if it has none.
int ps_memory(const ps_context *c, uint64_t p, uint64_t *base, size_t *bytes, void **owner);
int ps_alloc_host(const ps_context *c, size_t bytes, void **p);
int ps_free_host(const ps_context *c, void *p);

int ps_module_load(const ps_context *c, const void *image, void **module);
int ps_module_unload(const ps_context *c, void *module);
int ps_module_function(const ps_context *c, void *module, const char *name, void **function);
int ps_function_shared(const ps_context *c, void *function, int bytes);

int ps_event_open(const ps_context *c, unsigned flags, void **event);
int ps_event_close(const ps_context *c, void *event);
int ps_event_query(const ps_context *c, void *event);
int ps_event_sync(const ps_context *c, void *event);
int ps_event_since(const ps_context *c, void *earlier, void *event, float *ms);

int ps_stream_open(const ps_context *c, ps_stream **s);
int ps_stream_adopt(const ps_context *c, uintptr_t stream, void **owner, ps_stream **s);
// ps_stream_new makes the struct of a stream, NULL if there is no memory.
ps_stream *ps_stream_new(const ps_context *c, void *stream);
int ps_stream_close(ps_stream *s); // frees s
int ps_stream_sync(const ps_stream *s);
int ps_stream_record(ps_stream *s, void *event);
int ps_stream_wait(ps_stream *s, void *event);
int ps_stream_write(ps_stream *s, uint64_t dst, const void *src, size_t bytes);
int ps_stream_read(ps_stream *s, void *dst, uint64_t src, size_t bytes);
int ps_stream_copy(ps_stream *s, uint64_t dst, uint64_t src, size_t bytes);
int ps_stream_fill(ps_stream *s, uint64_t dst, unsigned char value, size_t bytes);
// ps_launch launches with the size bytes of parameters that lie in s->args. A
// kernel that waits for what is earlier, and follows another one, may begin
// while that one ends.
int ps_launch(ps_stream *s, void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
              unsigned by, unsigned bz, unsigned shared, int waits);

int ps_capture_begin(ps_stream *s);
int ps_capture_end(ps_stream *s, void **graph);
int ps_graph_instantiate(const ps_context *c, void *graph, void **exec);
int ps_graph_destroy(const ps_context *c, void *graph);
int ps_graph_launch(ps_stream *s, void *exec);
int ps_graph_close(const ps_context *c, void *exec);

#endif
