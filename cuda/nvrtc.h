// NVRTC, the run-time compiler: prototypes of our own for versions 12 and 13.
#ifndef POTSTILL_CUDA_NVRTC_H
#define POTSTILL_CUDA_NVRTC_H

#include <stddef.h>

#define PS_NVRTC_FUNCTIONS(X)                                                                     \
    X(nvrtcCreateProgram, (void **program, const char *source, const char *name, int headers,     \
                           const char *const *header_texts, const char *const *header_names))     \
    X(nvrtcDestroyProgram, (void **program))                                                      \
    X(nvrtcCompileProgram, (void *program, int n, const char *const *options))                    \
    X(nvrtcGetCUBINSize, (void *program, size_t *size))                                           \
    X(nvrtcGetCUBIN, (void *program, char *cubin))                                                \
    X(nvrtcGetProgramLogSize, (void *program, size_t *size))                                      \
    X(nvrtcGetProgramLog, (void *program, char *log))

// Those that may be missing.
#define PS_NVRTC_OPTIONAL(X)                                                                      \
    X(nvrtcGetPTXSize, int, (void *program, size_t *size))                                        \
    X(nvrtcGetPTX, int, (void *program, char *ptx))                                               \
    X(nvrtcGetNumSupportedArchs, int, (int *n))                                                   \
    X(nvrtcGetSupportedArchs, int, (int *archs))                                                  \
    X(nvrtcGetErrorString, const char *, (int result))

typedef struct ps_nvrtc {
#define X(name, params) int(*name) params;
    PS_NVRTC_FUNCTIONS(X)
#undef X
#define X(name, result, params) result(*name) params;
    PS_NVRTC_OPTIONAL(X)
#undef X
} ps_nvrtc;

// What came of a compilation. ps_nvrtc_release frees it.
typedef struct ps_compiled {
    const char *call; // that failed, NULL if none did
    const char *code; // the name of its result
    char *image; // the cubin, or the PTX with its final zero
    size_t size;
    char *log; // NULL if there is none
} ps_compiled;

ps_nvrtc *ps_nvrtc_open(void *handle, const char **missing);

// ps_nvrtc_compile compiles to a cubin or, if ptx, to PTX, as the architecture
// among the options wants it. It returns the result of the call that failed, or 0.
int ps_nvrtc_compile(const ps_nvrtc *n, const char *source, const char *name, int options,
                     char **option, int ptx, ps_compiled *out);
void ps_nvrtc_release(ps_compiled *out);

// ps_nvrtc_ptx says whether the library has the functions for PTX.
int ps_nvrtc_ptx(const ps_nvrtc *n);

// ps_nvrtc_archs writes the architectures that can be compiled for, at most
// size of them, and returns how many; 0 if the library does not tell.
int ps_nvrtc_archs(const ps_nvrtc *n, int *archs, int size);

#endif
