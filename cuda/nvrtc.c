//go:build linux && cgo

#include "nvrtc.h"
#include "loader.h"

#include <stdlib.h>
#include <string.h>

ps_nvrtc *ps_nvrtc_open(void *handle, const char **missing) {
    ps_nvrtc *n = calloc(1, sizeof *n);
    *missing = NULL;
    if (!n) {
        *missing = "memory";
        return NULL;
    }
#define X(name, params)                            \
    *(void **)&n->name = ps_symbol(handle, #name); \
    if (!n->name && !*missing)                     \
        *missing = #name;
    PS_NVRTC_FUNCTIONS(X)
#undef X
#define X(name, result, params) *(void **)&n->name = ps_symbol(handle, #name);
    PS_NVRTC_OPTIONAL(X)
#undef X
    if (*missing) {
        free(n);
        return NULL;
    }
    return n;
}

// keep_log copies the program's log, if it has one.
static void keep_log(const ps_nvrtc *n, void *program, ps_compiled *out) {
    size_t size = 0;
    if (n->nvrtcGetProgramLogSize(program, &size) || size < 2)
        return;
    char *log = calloc(1, size + 1);
    if (log && n->nvrtcGetProgramLog(program, log)) {
        free(log);
        log = NULL;
    }
    out->log = log;
}

int ps_nvrtc_compile(const ps_nvrtc *n, const char *source, const char *name, int options,
                     char **option, int ptx, ps_compiled *out) {
    void *program = NULL;
    int r;
    memset(out, 0, sizeof *out);
#define STEP(f, ...)                    \
    if (!out->call && (r = n->f(__VA_ARGS__))) \
        out->call = #f;
    r = 0;
    STEP(nvrtcCreateProgram, &program, source, name, 0, NULL, NULL)
    STEP(nvrtcCompileProgram, program, options, (const char *const *)option)
    if (program)
        keep_log(n, program, out);
    if (ptx) {
        STEP(nvrtcGetPTXSize, program, &out->size)
    } else {
        STEP(nvrtcGetCUBINSize, program, &out->size)
    }
    if (!out->call && !(out->image = malloc(out->size ? out->size : 1))) {
        out->call = "malloc";
        r = 1; // NVRTC_ERROR_OUT_OF_MEMORY
    }
    if (ptx) {
        STEP(nvrtcGetPTX, program, out->image)
    } else {
        STEP(nvrtcGetCUBIN, program, out->image)
    }
#undef STEP
    if (out->call && n->nvrtcGetErrorString)
        out->code = n->nvrtcGetErrorString(r); // its own, static
    if (program)
        n->nvrtcDestroyProgram(&program);
    return r;
}

void ps_nvrtc_release(ps_compiled *out) {
    free(out->image);
    free(out->log);
    out->image = out->log = NULL;
}

int ps_nvrtc_ptx(const ps_nvrtc *n) { return n->nvrtcGetPTXSize && n->nvrtcGetPTX; }

int ps_nvrtc_archs(const ps_nvrtc *n, int *archs, int size) {
    int count = 0;
    if (!n->nvrtcGetNumSupportedArchs || !n->nvrtcGetSupportedArchs ||
        n->nvrtcGetNumSupportedArchs(&count) || count < 1 || count > size ||
        n->nvrtcGetSupportedArchs(archs))
        return 0;
    return count;
}
