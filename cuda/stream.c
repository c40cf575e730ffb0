//go:build linux && cgo

#include "driver.h"

#include <stdlib.h>

ps_stream *ps_stream_new(const ps_context *c, void *stream) {
    ps_stream *s = aligned_alloc(16, (sizeof *s + 15) / 16 * 16);
    if (!s)
        return NULL;
    s->context = c;
    s->stream = stream;
    s->foreign = 0;
    s->lent = 0;
    s->kernel = 0;
    s->size = 0;
    s->extra[0] = (void *)1; // CU_LAUNCH_PARAM_BUFFER_POINTER
    s->extra[1] = s->args;
    s->extra[2] = (void *)2; // CU_LAUNCH_PARAM_BUFFER_SIZE
    s->extra[3] = &s->size;
    s->extra[4] = (void *)0; // CU_LAUNCH_PARAM_END
    return s;
}

int ps_stream_open(const ps_context *c, ps_stream **out) {
    PS_ENTER(c);
    void *stream;
    // Not ordered with the legacy default stream, which others may use.
    int r = c->driver->cuStreamCreate(&stream, 1); // CU_STREAM_NON_BLOCKING
    if (r)
        return r;
    if (!(*out = ps_stream_new(c, stream))) {
        c->driver->cuStreamDestroy_v2(stream);
        return 2; // CUDA_ERROR_OUT_OF_MEMORY
    }
    return 0;
}

int ps_stream_close(ps_stream *s) {
    int r = 0;
    if (!s->foreign && !(r = ps_enter(s->context)))
        r = s->context->driver->cuStreamDestroy_v2(s->stream);
    free(s);
    return r;
}

int ps_stream_sync(const ps_stream *s) {
    PS_ENTER(s->context);
    return s->context->driver->cuStreamSynchronize(s->stream);
}

int ps_stream_record(ps_stream *s, void *event) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuEventRecord(event, s->stream);
}

int ps_stream_wait(ps_stream *s, void *event) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuStreamWaitEvent(s->stream, event, 0);
}

int ps_stream_write(ps_stream *s, uint64_t dst, const void *src, size_t bytes) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuMemcpyHtoDAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_read(ps_stream *s, void *dst, uint64_t src, size_t bytes) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuMemcpyDtoHAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_copy(ps_stream *s, uint64_t dst, uint64_t src, size_t bytes) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuMemcpyDtoDAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_fill(ps_stream *s, uint64_t dst, unsigned char value, size_t bytes) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuMemsetD8Async(dst, value, bytes, s->stream);
}

int ps_launch(ps_stream *s, void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
              unsigned by, unsigned bz, unsigned shared, int waits) {
    static const ps_launch_attribute overlaps = {
        .id = 6, // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION
        .value.programmatic = 1,
    };
    PS_ENTER(s->context);
    const ps_driver *d = s->context->driver;
    int r;
    // Only directly behind a kernel, so that in a graph, too, it is a kernel that
    // this one depends on, and nothing else.
    if (waits && s->kernel && !s->lent) {
        ps_launch_config c = { { gx, gy, gz }, { bx, by, bz }, shared, s->stream, &overlaps, 1 };
        r = d->cuLaunchKernelEx(&c, function, NULL, s->extra);
    } else {
        r = d->cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, s->stream, NULL, s->extra);
    }
    s->kernel = !r;
    return r;
}

// Relaxed, since the goroutine that captures may end on another thread than it
// began on, and since other goroutines may allocate meanwhile.
int ps_capture_begin(ps_stream *s) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuStreamBeginCapture_v2(s->stream, 2); // CU_STREAM_CAPTURE_MODE_RELAXED
}

int ps_capture_end(ps_stream *s, void **graph) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuStreamEndCapture(s->stream, graph);
}

int ps_graph_launch(ps_stream *s, void *exec) {
    PS_ENTER(s->context);
    s->kernel = 0;
    return s->context->driver->cuGraphLaunch(exec, s->stream);
}
