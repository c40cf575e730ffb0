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

int ps_stream_record(const ps_stream *s, void *event) {
    PS_ENTER(s->context);
    return s->context->driver->cuEventRecord(event, s->stream);
}

int ps_stream_wait(const ps_stream *s, void *event) {
    PS_ENTER(s->context);
    return s->context->driver->cuStreamWaitEvent(s->stream, event, 0);
}

int ps_stream_write(const ps_stream *s, uint64_t dst, const void *src, size_t bytes) {
    PS_ENTER(s->context);
    return s->context->driver->cuMemcpyHtoDAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_read(const ps_stream *s, void *dst, uint64_t src, size_t bytes) {
    PS_ENTER(s->context);
    return s->context->driver->cuMemcpyDtoHAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_copy(const ps_stream *s, uint64_t dst, uint64_t src, size_t bytes) {
    PS_ENTER(s->context);
    return s->context->driver->cuMemcpyDtoDAsync_v2(dst, src, bytes, s->stream);
}

int ps_stream_fill(const ps_stream *s, uint64_t dst, unsigned char value, size_t bytes) {
    PS_ENTER(s->context);
    return s->context->driver->cuMemsetD8Async(dst, value, bytes, s->stream);
}

int ps_launch(ps_stream *s, void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
              unsigned by, unsigned bz, unsigned shared) {
    PS_ENTER(s->context);
    return s->context->driver->cuLaunchKernel(function, gx, gy, gz, bx, by, bz, shared, s->stream,
                                              NULL, s->extra);
}

// Relaxed, since the goroutine that captures may end on another thread than it
// began on, and since other goroutines may allocate meanwhile.
int ps_capture_begin(const ps_stream *s) {
    PS_ENTER(s->context);
    return s->context->driver->cuStreamBeginCapture_v2(s->stream, 2); // CU_STREAM_CAPTURE_MODE_RELAXED
}

int ps_capture_end(const ps_stream *s, void **graph) {
    PS_ENTER(s->context);
    return s->context->driver->cuStreamEndCapture(s->stream, graph);
}

int ps_graph_launch(const ps_stream *s, void *exec) {
    PS_ENTER(s->context);
    return s->context->driver->cuGraphLaunch(exec, s->stream);
}
