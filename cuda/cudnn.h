// Prototypes of cuDNN 9's convolution interface, and what cudnn.c makes of them.
//
// The two lists below are the one statement of what this package believes of
// the library: the bindings expand them to a table of function pointers and an
// enumeration, scripts/abi.sh expands them to static assertions against
// NVIDIA's own headers. Enumerations are passed as unsigned, their underlying
// type in C.
#ifndef POTSTILL_CUDA_CUDNN_H
#define POTSTILL_CUDA_CUDNN_H

#include <stddef.h>
#include <stdint.h>

#include "driver.h"
#include "library.h"

#ifdef POTSTILL_ABI // the library's own names, so that swapped parameters fail
typedef cudnnHandle_t dnn_handle;
typedef cudnnTensorDescriptor_t dnn_tensor;
typedef cudnnFilterDescriptor_t dnn_filter;
typedef cudnnConvolutionDescriptor_t dnn_convolution;
typedef cudnnActivationDescriptor_t dnn_activation;
typedef cudaStream_t dnn_stream;
typedef cudnnConvolutionFwdAlgoPerf_t dnn_forward_perf;
typedef cudnnConvolutionBwdDataAlgoPerf_t dnn_data_perf;
typedef cudnnConvolutionBwdFilterAlgoPerf_t dnn_filter_perf;
#else
typedef struct dnn_handle_opaque *dnn_handle;
typedef struct dnn_tensor_opaque *dnn_tensor;
typedef struct dnn_filter_opaque *dnn_filter;
typedef struct dnn_convolution_opaque *dnn_convolution;
typedef struct dnn_activation_opaque *dnn_activation;
typedef struct CUstream_st *dnn_stream;
typedef struct dnn_perf dnn_forward_perf;
typedef struct dnn_perf dnn_data_perf;
typedef struct dnn_perf dnn_filter_perf;
#endif

// dnn_perf is cudnnConvolutionFwdAlgoPerf_t and its two sisters, which differ
// in the name of algo's enumeration only.
struct dnn_perf {
    unsigned algo;
    unsigned status;
    float time;
    size_t memory;
    unsigned determinism;
    unsigned mathType;
    int reserved[3];
};

#define DNN_FUNCTIONS(F) \
    F(size_t, cudnnGetVersion, (void)) \
    F(const char *, cudnnGetErrorString, (unsigned status)) \
    F(void, cudnnGetLastErrorString, (char *message, size_t size)) \
    F(unsigned, cudnnCreate, (dnn_handle *handle)) \
    F(unsigned, cudnnDestroy, (dnn_handle handle)) \
    F(unsigned, cudnnSetStream, (dnn_handle handle, dnn_stream stream)) \
    F(unsigned, cudnnCreateTensorDescriptor, (dnn_tensor *desc)) \
    F(unsigned, cudnnDestroyTensorDescriptor, (dnn_tensor desc)) \
    F(unsigned, cudnnSetTensor4dDescriptor, (dnn_tensor desc, unsigned format, unsigned type, int n, int c, int h, int w)) \
    F(unsigned, cudnnCreateFilterDescriptor, (dnn_filter *desc)) \
    F(unsigned, cudnnDestroyFilterDescriptor, (dnn_filter desc)) \
    F(unsigned, cudnnSetFilter4dDescriptor, (dnn_filter desc, unsigned type, unsigned format, int k, int c, int h, int w)) \
    F(unsigned, cudnnCreateConvolutionDescriptor, (dnn_convolution *desc)) \
    F(unsigned, cudnnDestroyConvolutionDescriptor, (dnn_convolution desc)) \
    F(unsigned, cudnnSetConvolution2dDescriptor, (dnn_convolution desc, int padH, int padW, int strideH, int strideW, \
      int dilationH, int dilationW, unsigned mode, unsigned computeType)) \
    F(unsigned, cudnnSetConvolutionGroupCount, (dnn_convolution desc, int groups)) \
    F(unsigned, cudnnSetConvolutionMathType, (dnn_convolution desc, unsigned math)) \
    F(unsigned, cudnnCreateActivationDescriptor, (dnn_activation *desc)) \
    F(unsigned, cudnnDestroyActivationDescriptor, (dnn_activation desc)) \
    F(unsigned, cudnnSetActivationDescriptor, (dnn_activation desc, unsigned mode, unsigned nan, double coefficient)) \
    F(unsigned, cudnnGetConvolutionForwardAlgorithmMaxCount, (dnn_handle handle, int *count)) \
    F(unsigned, cudnnGetConvolutionBackwardDataAlgorithmMaxCount, (dnn_handle handle, int *count)) \
    F(unsigned, cudnnGetConvolutionBackwardFilterAlgorithmMaxCount, (dnn_handle handle, int *count)) \
    F(unsigned, cudnnGetConvolutionForwardAlgorithm_v7, (dnn_handle handle, dnn_tensor x, dnn_filter w, \
      dnn_convolution conv, dnn_tensor y, int requested, int *returned, dnn_forward_perf *results)) \
    F(unsigned, cudnnGetConvolutionBackwardDataAlgorithm_v7, (dnn_handle handle, dnn_filter w, dnn_tensor dy, \
      dnn_convolution conv, dnn_tensor dx, int requested, int *returned, dnn_data_perf *results)) \
    F(unsigned, cudnnGetConvolutionBackwardFilterAlgorithm_v7, (dnn_handle handle, dnn_tensor x, dnn_tensor dy, \
      dnn_convolution conv, dnn_filter dw, int requested, int *returned, dnn_filter_perf *results)) \
    F(unsigned, cudnnGetConvolutionForwardWorkspaceSize, (dnn_handle handle, dnn_tensor x, dnn_filter w, \
      dnn_convolution conv, dnn_tensor y, unsigned algo, size_t *bytes)) \
    F(unsigned, cudnnGetConvolutionBackwardDataWorkspaceSize, (dnn_handle handle, dnn_filter w, dnn_tensor dy, \
      dnn_convolution conv, dnn_tensor dx, unsigned algo, size_t *bytes)) \
    F(unsigned, cudnnGetConvolutionBackwardFilterWorkspaceSize, (dnn_handle handle, dnn_tensor x, dnn_tensor dy, \
      dnn_convolution conv, dnn_filter dw, unsigned algo, size_t *bytes)) \
    F(unsigned, cudnnConvolutionForward, (dnn_handle handle, const void *alpha, dnn_tensor xDesc, const void *x, \
      dnn_filter wDesc, const void *w, dnn_convolution conv, unsigned algo, void *ws, size_t wsBytes, \
      const void *beta, dnn_tensor yDesc, void *y)) \
    F(unsigned, cudnnConvolutionBiasActivationForward, (dnn_handle handle, const void *alpha, dnn_tensor xDesc, \
      const void *x, dnn_filter wDesc, const void *w, dnn_convolution conv, unsigned algo, void *ws, size_t wsBytes, \
      const void *alpha2, dnn_tensor zDesc, const void *z, dnn_tensor biasDesc, const void *bias, \
      dnn_activation activation, dnn_tensor yDesc, void *y)) \
    F(unsigned, cudnnConvolutionBackwardData, (dnn_handle handle, const void *alpha, dnn_filter wDesc, const void *w, \
      dnn_tensor dyDesc, const void *dy, dnn_convolution conv, unsigned algo, void *ws, size_t wsBytes, \
      const void *beta, dnn_tensor dxDesc, void *dx)) \
    F(unsigned, cudnnConvolutionBackwardFilter, (dnn_handle handle, const void *alpha, dnn_tensor xDesc, const void *x, \
      dnn_tensor dyDesc, const void *dy, dnn_convolution conv, unsigned algo, void *ws, size_t wsBytes, \
      const void *beta, dnn_filter dwDesc, void *dw))

#define DNN_CONSTANTS(C) \
    C(CUDNN_STATUS_SUCCESS, 0) \
    C(CUDNN_STATUS_BAD_PARAM, 2000) \
    C(CUDNN_STATUS_NOT_SUPPORTED, 3000) \
    C(CUDNN_STATUS_INTERNAL_ERROR, 4000) \
    C(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED, 4003) \
    C(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED, 4004) \
    C(CUDNN_DATA_FLOAT, 0) \
    C(CUDNN_DATA_BFLOAT16, 9) \
    C(CUDNN_TENSOR_NHWC, 1) \
    C(CUDNN_CROSS_CORRELATION, 1) \
    C(CUDNN_DEFAULT_MATH, 0) \
    C(CUDNN_TENSOR_OP_MATH, 1) \
    C(CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION, 2) \
    C(CUDNN_FMA_MATH, 3) \
    C(CUDNN_ACTIVATION_RELU, 1) \
    C(CUDNN_ACTIVATION_IDENTITY, 5) \
    C(CUDNN_NOT_PROPAGATE_NAN, 0) \
    C(CUDNN_NON_DETERMINISTIC, 0) \
    C(CUDNN_DETERMINISTIC, 1) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, 0) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, 1) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_GEMM, 2) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT, 3) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_FFT, 4) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING, 5) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD, 6) \
    C(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, 7) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, 0) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, 1) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, 2) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING, 3) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, 4) \
    C(CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED, 5) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, 0) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, 1) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, 2) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, 3) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD, 4) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED, 5) \
    C(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING, 6)

struct dnn_api {
#define F(result, name, params) result(*name) params;
    DNN_FUNCTIONS(F)
#undef F
};

#ifndef POTSTILL_ABI

enum {
#define C(name, value) PS_##name = value,
    DNN_CONSTANTS(C)
#undef C
};

enum { DNN_MAX_ALGORITHMS = 32 };

// dnn is an open cuDNN with a handle on one stream of one context.
struct dnn {
    struct dnn_api api;
    const ps_context *context;
    dnn_handle handle;
    ps_failure failure;
};

// conv_shape mirrors ConvShape: activations NHWC, filters KRSC.
struct conv_shape {
    int n, h, w, c, o, kh, kw, oh, ow;
    int stride[2], pad[2], dilation[2]; // height, width
    int groups, bf16, tf32;
};

enum { CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_FILTER };

// What stands behind a forward pass: nothing, or a bias with an activation.
enum { FUSE_NOTHING, FUSE_IDENTITY, FUSE_RELU };

// conv holds the descriptors of one pass over one shape, and the algorithms
// that the library offers for it.
struct conv {
    struct dnn *dnn;
    dnn_tensor x, y, bias; // bias only if something is fused, act too
    dnn_filter w;
    dnn_convolution desc;
    dnn_activation act;
    int pass, fuse;
    unsigned math; // what desc is set to
    int count;
    struct dnn_perf perf[DNN_MAX_ALGORITHMS];
};

// ps_dnn_bind fills the table from an open library and returns the name of the
// first function that it lacks, or NULL.
const char *ps_dnn_bind(struct dnn_api *api, void *library);

// ps_dnn_part returns the loader's handle of the library that it has open by
// that name, NULL if it has none.
void *ps_dnn_part(const char *so);

// What follows returns 0 or fills dnn->failure and returns another number. The
// context is made current on the thread first.
int ps_dnn_open(struct dnn *d, dnn_stream stream);
int ps_dnn_close(struct dnn *d);
int ps_conv_open(struct conv *c, struct dnn *d, const struct conv_shape *s, int pass, int fuse);
int ps_conv_close(struct conv *c);

// ps_conv_run enqueues the pass. x, w and y are device addresses; the one that
// the pass computes is written.
int ps_conv_run(struct conv *c, unsigned algo, unsigned math, uint64_t x, uint64_t w, uint64_t y, uint64_t ws,
                size_t bytes);

// ps_conv_run_fused enqueues a forward pass that was opened with something
// fused. Without a residual z is 0.
int ps_conv_run_fused(struct conv *c, unsigned algo, unsigned math, uint64_t x, uint64_t w, uint64_t bias, uint64_t z,
                      uint64_t y, uint64_t ws, size_t bytes);

#endif // POTSTILL_ABI
#endif
