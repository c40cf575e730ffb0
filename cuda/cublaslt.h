// Prototypes of cuBLASLt 12 and 13, and what cublaslt.c makes of them. See
// cudnn.h for the two lists.
#ifndef POTSTILL_CUDA_CUBLASLT_H
#define POTSTILL_CUDA_CUBLASLT_H

#include <stddef.h>
#include <stdint.h>

#include "driver.h"
#include "library.h"

#ifdef POTSTILL_ABI // the library's own names, so that swapped parameters fail
typedef cublasLtHandle_t lt_handle;
typedef cublasLtMatmulDesc_t lt_desc;
typedef cublasLtMatrixLayout_t lt_layout;
typedef cublasLtMatmulPreference_t lt_preference;
typedef cublasLtMatmulAlgo_t lt_algo;
typedef cublasLtMatmulHeuristicResult_t lt_heuristic;
typedef cudaStream_t lt_stream;
#else
typedef struct lt_handle_opaque *lt_handle;
typedef struct lt_desc_opaque *lt_desc;
typedef struct lt_layout_opaque *lt_layout;
typedef struct lt_preference_opaque *lt_preference;
typedef struct lt_algo_layout lt_algo;
typedef struct lt_heuristic_layout lt_heuristic;
typedef struct CUstream_st *lt_stream;
#endif

// lt_algo_layout is cublasLtMatmulAlgo_t.
struct lt_algo_layout {
    uint64_t data[8];
};

// lt_heuristic_layout is cublasLtMatmulHeuristicResult_t.
struct lt_heuristic_layout {
    struct lt_algo_layout algo;
    size_t workspaceSize;
    unsigned state;
    float wavesCount;
    int reserved[4];
};

#define LT_FUNCTIONS(F) \
    F(size_t, cublasLtGetVersion, (void)) \
    F(const char *, cublasLtGetStatusName, (unsigned status)) \
    F(const char *, cublasLtGetStatusString, (unsigned status)) \
    F(unsigned, cublasLtCreate, (lt_handle *handle)) \
    F(unsigned, cublasLtDestroy, (lt_handle handle)) \
    F(unsigned, cublasLtMatmulDescCreate, (lt_desc *desc, unsigned computeType, unsigned scaleType)) \
    F(unsigned, cublasLtMatmulDescDestroy, (lt_desc desc)) \
    F(unsigned, cublasLtMatmulDescSetAttribute, (lt_desc desc, unsigned attribute, const void *value, size_t bytes)) \
    F(unsigned, cublasLtMatrixLayoutCreate, (lt_layout *layout, unsigned type, uint64_t rows, uint64_t cols, int64_t ld)) \
    F(unsigned, cublasLtMatrixLayoutDestroy, (lt_layout layout)) \
    F(unsigned, cublasLtMatmulPreferenceCreate, (lt_preference *preference)) \
    F(unsigned, cublasLtMatmulPreferenceDestroy, (lt_preference preference)) \
    F(unsigned, cublasLtMatmulPreferenceSetAttribute, (lt_preference preference, unsigned attribute, \
      const void *value, size_t bytes)) \
    F(unsigned, cublasLtMatmulAlgoGetHeuristic, (lt_handle handle, lt_desc desc, lt_layout a, lt_layout b, lt_layout c, \
      lt_layout d, lt_preference preference, int requested, lt_heuristic *results, int *returned)) \
    F(unsigned, cublasLtMatmulAlgoConfigGetAttribute, (const lt_algo *algo, unsigned attribute, void *value, \
      size_t bytes, size_t *written)) \
    F(unsigned, cublasLtMatmul, (lt_handle handle, lt_desc desc, const void *alpha, const void *a, lt_layout aLayout, \
      const void *b, lt_layout bLayout, const void *beta, const void *c, lt_layout cLayout, void *d, \
      lt_layout dLayout, const lt_algo *algo, void *ws, size_t wsBytes, lt_stream stream))

#define LT_CONSTANTS(C) \
    C(CUBLAS_STATUS_SUCCESS, 0) \
    C(CUBLAS_STATUS_INVALID_VALUE, 7) \
    C(CUBLAS_STATUS_NOT_SUPPORTED, 15) \
    C(CUBLAS_COMPUTE_32F, 68) \
    C(CUBLAS_COMPUTE_32F_FAST_TF32, 77) \
    C(CUBLAS_OP_N, 0) \
    C(CUBLAS_OP_T, 1) \
    C(CUDA_R_32F, 0) \
    C(CUDA_R_16BF, 14) \
    C(CUBLASLT_MATMUL_DESC_TRANSA, 3) \
    C(CUBLASLT_MATMUL_DESC_TRANSB, 4) \
    C(CUBLASLT_MATMUL_DESC_EPILOGUE, 7) \
    C(CUBLASLT_MATMUL_DESC_BIAS_POINTER, 8) \
    C(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, 26) \
    C(CUBLASLT_EPILOGUE_DEFAULT, 1) \
    C(CUBLASLT_EPILOGUE_BIAS, 4) \
    C(CUBLASLT_EPILOGUE_BGRADA, 256) \
    C(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, 1) \
    C(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, 5) \
    C(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, 6) \
    C(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, 7) \
    C(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, 8) \
    C(CUBLASLT_ALGO_CONFIG_ID, 0) \
    C(CUBLASLT_ALGO_CONFIG_TILE_ID, 1) \
    C(CUBLASLT_ALGO_CONFIG_SPLITK_NUM, 2) \
    C(CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, 3) \
    C(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, 4) \
    C(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, 5) \
    C(CUBLASLT_ALGO_CONFIG_STAGES_ID, 6) \
    C(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, 7) \
    C(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, 8) \
    C(CUBLASLT_REDUCTION_SCHEME_NONE, 0) \
    C(CUBLASLT_REDUCTION_SCHEME_INPLACE, 1)

struct lt_api {
#define F(result, name, params) result(*name) params;
    LT_FUNCTIONS(F)
#undef F
};

#ifndef POTSTILL_ABI

enum {
#define C(name, value) PS_##name = value,
    LT_CONSTANTS(C)
#undef C
};

enum { LT_MAX_ALGORITHMS = 16, LT_CONFIGS = 9, PS_MATMUL_ALIGNMENT = 16 };

// lt is an open cuBLASLt with a handle in one context.
struct lt {
    struct lt_api api;
    const ps_context *context;
    lt_handle handle;
    ps_failure failure;
};

// matmul_shape mirrors MatmulShape: matrices stored row by row.
struct matmul_shape {
    uint64_t m, n, k;
    int trans_a, trans_b, bf16, float32_out, tf32, bias, bias_grad;
};

// matmul holds the descriptors of one product. The library stores matrices
// column by column, so that it computes Cᵀ = op(B)ᵀ·op(A)ᵀ: first is B, second A.
struct matmul {
    struct lt *lt;
    lt_desc desc;
    lt_layout first, second, out;
    int bias; // one is added, or its gradient made
    uint64_t bias_at; // what desc points to
    int count;
    lt_heuristic found[LT_MAX_ALGORITHMS];
    // config is the algorithm's, by CUBLASLT_ALGO_CONFIG_*; -1 where the
    // library does not know the attribute.
    int config[LT_MAX_ALGORITHMS][LT_CONFIGS];
};

// ps_lt_bind fills the table from an open library and returns the name of the
// first function that it lacks, or NULL.
const char *ps_lt_bind(struct lt_api *api, void *library);

// What follows returns 0 or fills lt->failure and returns another number. The
// context is made current on the thread first.
int ps_lt_open(struct lt *l);
int ps_lt_close(struct lt *l);
int ps_matmul_open(struct matmul *m, struct lt *l, const struct matmul_shape *s, uint64_t max_workspace);
int ps_matmul_close(struct matmul *m);

// ps_matmul_run enqueues C = op(A)·op(B) + bias, or with bias_grad the product and the
// bias's gradient, by the algorithm found at index.
int ps_matmul_run(struct matmul *m, int index, uint64_t a, uint64_t b, uint64_t c, uint64_t bias, uint64_t ws,
                  size_t bytes, void *stream);

#endif // POTSTILL_ABI
#endif
