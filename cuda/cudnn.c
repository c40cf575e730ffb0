//go:build linux && cgo

#include "cudnn.h"
#include "loader.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

const char *ps_dnn_bind(struct dnn_api *api, void *library) {
#define F(result, name, params)                     \
    *(void **)&api->name = ps_symbol(library, #name); \
    if (!api->name) return #name;
    DNN_FUNCTIONS(F)
#undef F
    return NULL;
}

void *ps_dnn_part(const char *so) { return dlopen(so, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD); }

// failed keeps what the library says of a call that failed. The library's text
// belongs to the thread, so it is taken at once.
static int failed(struct dnn *d, const char *call, unsigned status) {
    ps_failure *f = &d->failure;
    f->call = call;
    f->number = (int)status;
    snprintf(f->code, sizeof f->code, "%s", d->api.cudnnGetErrorString(status));
    f->text[0] = 0;
    d->api.cudnnGetLastErrorString(f->text, sizeof f->text);
    f->text[sizeof f->text - 1] = 0;
    return (int)status;
}

// CALL returns from the function with the status of a call that failed.
#define CALL(d, name, ...)                                      \
    do {                                                        \
        unsigned status_ = (d)->api.name(__VA_ARGS__);          \
        if (status_) return failed((d), #name, status_);        \
    } while (0)

static int enter(struct dnn *d) {
    int r = ps_enter(d->context);
    if (r) {
        d->failure.call = "cuCtxSetCurrent";
        d->failure.number = r & ~PS_ENTERING;
        d->failure.code[0] = d->failure.text[0] = 0;
    }
    return r;
}

#define ENTER(d)              \
    do {                      \
        int r_ = enter(d);    \
        if (r_) return r_;    \
    } while (0)

int ps_dnn_open(struct dnn *d, dnn_stream stream) {
    ENTER(d);
    CALL(d, cudnnCreate, &d->handle);
    unsigned status = d->api.cudnnSetStream(d->handle, stream);
    if (status) {
        failed(d, "cudnnSetStream", status);
        d->api.cudnnDestroy(d->handle);
        d->handle = NULL;
    }
    return (int)status;
}

int ps_dnn_close(struct dnn *d) {
    dnn_handle handle = d->handle;
    d->handle = NULL;
    if (!handle) return 0;
    ENTER(d);
    CALL(d, cudnnDestroy, handle);
    return 0;
}

// math_type is what the descriptor allows: fused multiply-adds of fp32 only,
// TF32 where the card has it, or tensor cores for bf16.
static unsigned math_type(const struct conv_shape *s) {
    if (s->bf16) return PS_CUDNN_TENSOR_OP_MATH;
    return s->tf32 ? PS_CUDNN_DEFAULT_MATH : PS_CUDNN_FMA_MATH;
}

static int describe(struct conv *c, const struct conv_shape *s) {
    struct dnn *d = c->dnn;
    unsigned type = s->bf16 ? PS_CUDNN_DATA_BFLOAT16 : PS_CUDNN_DATA_FLOAT;
    CALL(d, cudnnCreateTensorDescriptor, &c->x);
    CALL(d, cudnnCreateTensorDescriptor, &c->y);
    CALL(d, cudnnCreateFilterDescriptor, &c->w);
    CALL(d, cudnnCreateConvolutionDescriptor, &c->desc);
    CALL(d, cudnnSetTensor4dDescriptor, c->x, PS_CUDNN_TENSOR_NHWC, type, s->n, s->c, s->h, s->w);
    CALL(d, cudnnSetTensor4dDescriptor, c->y, PS_CUDNN_TENSOR_NHWC, type, s->n, s->o, s->oh, s->ow);
    CALL(d, cudnnSetFilter4dDescriptor, c->w, type, PS_CUDNN_TENSOR_NHWC, s->o, s->c / s->groups, s->kh, s->kw);
    CALL(d, cudnnSetConvolution2dDescriptor, c->desc, s->pad[0], s->pad[1], s->stride[0], s->stride[1], s->dilation[0], s->dilation[1],
         PS_CUDNN_CROSS_CORRELATION, PS_CUDNN_DATA_FLOAT);
    CALL(d, cudnnSetConvolutionGroupCount, c->desc, s->groups);
    c->math = math_type(s);
    CALL(d, cudnnSetConvolutionMathType, c->desc, c->math);
    if (c->fuse == FUSE_NOTHING) return 0;
    CALL(d, cudnnCreateTensorDescriptor, &c->bias);
    CALL(d, cudnnCreateActivationDescriptor, &c->act);
    CALL(d, cudnnSetTensor4dDescriptor, c->bias, PS_CUDNN_TENSOR_NHWC, type, 1, s->o, 1, 1);
    // The library takes no other answer to NaN here.
    CALL(d, cudnnSetActivationDescriptor, c->act,
         c->fuse == FUSE_RELU ? PS_CUDNN_ACTIVATION_RELU : PS_CUDNN_ACTIVATION_IDENTITY, PS_CUDNN_NOT_PROPAGATE_NAN, 0.0);
    return 0;
}

// suggest asks the library's heuristics, which run nothing, for its algorithms
// in the order in which it would try them.
static int suggest(struct conv *c) {
    struct dnn *d = c->dnn;
    int max = 0;
    c->count = 0;
    switch (c->pass) {
    case CONV_FORWARD:
        CALL(d, cudnnGetConvolutionForwardAlgorithmMaxCount, d->handle, &max);
        if (max > DNN_MAX_ALGORITHMS) max = DNN_MAX_ALGORITHMS;
        CALL(d, cudnnGetConvolutionForwardAlgorithm_v7, d->handle, c->x, c->w, c->desc, c->y, max, &c->count, c->perf);
        break;
    case CONV_BACKWARD_DATA:
        CALL(d, cudnnGetConvolutionBackwardDataAlgorithmMaxCount, d->handle, &max);
        if (max > DNN_MAX_ALGORITHMS) max = DNN_MAX_ALGORITHMS;
        CALL(d, cudnnGetConvolutionBackwardDataAlgorithm_v7, d->handle, c->w, c->y, c->desc, c->x, max, &c->count,
             c->perf);
        break;
    default:
        CALL(d, cudnnGetConvolutionBackwardFilterAlgorithmMaxCount, d->handle, &max);
        if (max > DNN_MAX_ALGORITHMS) max = DNN_MAX_ALGORITHMS;
        CALL(d, cudnnGetConvolutionBackwardFilterAlgorithm_v7, d->handle, c->x, c->y, c->desc, c->w, max, &c->count,
             c->perf);
    }
    return 0;
}

static int set_math(struct conv *c, unsigned math) {
    if (c->math == math) return 0;
    CALL(c->dnn, cudnnSetConvolutionMathType, c->desc, math);
    c->math = math;
    return 0;
}

static unsigned workspace(struct conv *c, unsigned algo, size_t *bytes) {
    struct dnn *d = c->dnn;
    switch (c->pass) {
    case CONV_FORWARD:
        return d->api.cudnnGetConvolutionForwardWorkspaceSize(d->handle, c->x, c->w, c->desc, c->y, algo, bytes);
    case CONV_BACKWARD_DATA:
        return d->api.cudnnGetConvolutionBackwardDataWorkspaceSize(d->handle, c->w, c->y, c->desc, c->x, algo, bytes);
    default:
        return d->api.cudnnGetConvolutionBackwardFilterWorkspaceSize(d->handle, c->x, c->y, c->desc, c->w, algo, bytes);
    }
}

// promised says whether the documentation has the algorithm deterministic; the
// heuristics' answer is held against it.
static int promised(int pass, unsigned algo) {
    if (pass == CONV_BACKWARD_DATA) return algo != PS_CUDNN_CONVOLUTION_BWD_DATA_ALGO_0;
    if (pass == CONV_BACKWARD_FILTER)
        return algo != PS_CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0 && algo != PS_CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3;
    return 1;
}

// select keeps the algorithms that can run within the arithmetic asked for,
// each once, with the workspace that each really takes.
static int select_usable(struct conv *c, unsigned allowed) {
    int kept = 0;
    for (int i = 0; i < c->count; i++) {
        struct dnn_perf p = c->perf[i];
        if (p.status || p.mathType == PS_CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION) continue;
        // The one algorithm that the identity goes with.
        if (c->fuse == FUSE_IDENTITY && p.algo != PS_CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM) continue;
        if (allowed == PS_CUDNN_FMA_MATH) {
            // The default would let TF32 in.
            if (p.mathType == PS_CUDNN_TENSOR_OP_MATH) continue;
            p.mathType = PS_CUDNN_FMA_MATH;
        }
        int seen = 0;
        for (int k = 0; k < kept; k++) seen |= c->perf[k].algo == p.algo && c->perf[k].mathType == p.mathType;
        if (seen) continue;
        int r = set_math(c, p.mathType);
        if (r) return r;
        if (workspace(c, p.algo, &p.memory)) continue;
        p.determinism = p.determinism == PS_CUDNN_DETERMINISTIC && promised(c->pass, p.algo);
        c->perf[kept++] = p;
    }
    c->count = kept;
    return 0;
}

int ps_conv_open(struct conv *c, struct dnn *d, const struct conv_shape *s, int pass, int fuse) {
    memset(c, 0, sizeof *c);
    c->dnn = d;
    c->pass = pass;
    c->fuse = fuse;
    ENTER(d);
    int r = describe(c, s);
    if (!r) r = suggest(c);
    if (!r) r = select_usable(c, math_type(s));
    if (r) {
        ps_failure first = d->failure;
        ps_conv_close(c);
        d->failure = first;
    }
    return r;
}

int ps_conv_close(struct conv *c) {
    struct dnn *d = c->dnn;
    dnn_tensor x = c->x, y = c->y, bias = c->bias;
    dnn_filter w = c->w;
    dnn_convolution desc = c->desc;
    dnn_activation act = c->act;
    c->x = c->y = c->bias = NULL;
    c->w = NULL;
    c->desc = NULL;
    c->act = NULL;
    if (act) CALL(d, cudnnDestroyActivationDescriptor, act);
    if (bias) CALL(d, cudnnDestroyTensorDescriptor, bias);
    if (desc) CALL(d, cudnnDestroyConvolutionDescriptor, desc);
    if (w) CALL(d, cudnnDestroyFilterDescriptor, w);
    if (y) CALL(d, cudnnDestroyTensorDescriptor, y);
    if (x) CALL(d, cudnnDestroyTensorDescriptor, x);
    return 0;
}

int ps_conv_run(struct conv *c, unsigned algo, unsigned math, uint64_t x, uint64_t w, uint64_t y, uint64_t ws,
                size_t bytes) {
    static const float one = 1, zero = 0;
    struct dnn *d = c->dnn;
    void *px = (void *)x, *pw = (void *)w, *py = (void *)y, *pws = (void *)ws;
    ENTER(d);
    int r = set_math(c, math);
    if (r) return r;
    switch (c->pass) {
    case CONV_FORWARD:
        CALL(d, cudnnConvolutionForward, d->handle, &one, c->x, px, c->w, pw, c->desc, algo, pws, bytes, &zero, c->y, py);
        break;
    case CONV_BACKWARD_DATA:
        CALL(d, cudnnConvolutionBackwardData, d->handle, &one, c->w, pw, c->y, py, c->desc, algo, pws, bytes, &zero,
             c->x, px);
        break;
    default:
        CALL(d, cudnnConvolutionBackwardFilter, d->handle, &one, c->x, px, c->y, py, c->desc, algo, pws, bytes, &zero,
             c->w, pw);
    }
    return 0;
}

int ps_conv_run_fused(struct conv *c, unsigned algo, unsigned math, uint64_t x, uint64_t w, uint64_t bias, uint64_t z,
                      uint64_t y, uint64_t ws, size_t bytes) {
    static const float one = 1, zero = 0;
    struct dnn *d = c->dnn;
    ENTER(d);
    int r = set_math(c, math);
    if (r) return r;
    // With a factor of zero z is not read, but must be somewhere.
    CALL(d, cudnnConvolutionBiasActivationForward, d->handle, &one, c->x, (void *)x, c->w, (void *)w, c->desc, algo,
         (void *)ws, bytes, z ? &one : &zero, c->y, (void *)(z ? z : y), c->bias, (void *)bias, c->act, c->y, (void *)y);
    return 0;
}
