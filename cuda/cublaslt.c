//go:build linux && cgo

#include "cublaslt.h"
#include "loader.h"

#include <stdio.h>
#include <string.h>

// PLACEHOLDER stands for the bias when algorithms are asked for: some versions
// offer none for a bias that lies nowhere. It is never read.
#define PLACEHOLDER ((uint64_t)1 << 20)

const char *ps_lt_bind(struct lt_api *api, void *library) {
#define F(result, name, params)                        \
    *(void **)&api->name = ps_symbol(library, #name);  \
    if (!api->name) return #name;
    LT_FUNCTIONS(F)
#undef F
    return NULL;
}

static int failed(struct lt *l, const char *call, unsigned status) {
    ps_failure *f = &l->failure;
    f->call = call;
    f->number = (int)status;
    snprintf(f->code, sizeof f->code, "%s", l->api.cublasLtGetStatusName(status));
    snprintf(f->text, sizeof f->text, "%s", l->api.cublasLtGetStatusString(status));
    return (int)status;
}

// CALL returns from the function with the status of a call that failed.
#define CALL(l, name, ...)                               \
    do {                                                 \
        unsigned status_ = (l)->api.name(__VA_ARGS__);   \
        if (status_) return failed((l), #name, status_); \
    } while (0)

static int enter(struct lt *l) {
    int r = ps_enter(l->context);
    if (r) {
        l->failure.call = "cuCtxSetCurrent";
        l->failure.number = r & ~PS_ENTERING;
        l->failure.code[0] = l->failure.text[0] = 0;
    }
    return r;
}

int ps_lt_open(struct lt *l) {
    int r = enter(l);
    if (r) return r;
    CALL(l, cublasLtCreate, &l->handle);
    return 0;
}

int ps_lt_close(struct lt *l) {
    lt_handle handle = l->handle;
    l->handle = NULL;
    if (!handle) return 0;
    int r = enter(l);
    if (r) return r;
    CALL(l, cublasLtDestroy, handle);
    return 0;
}

static int point_bias(struct matmul *m, uint64_t bias) {
    if (m->bias_at == bias) return 0;
    void *p = (void *)bias;
    CALL(m->lt, cublasLtMatmulDescSetAttribute, m->desc, PS_CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p, sizeof p);
    m->bias_at = bias;
    return 0;
}

static int set_operation(struct matmul *m, unsigned attribute, int32_t value) {
    CALL(m->lt, cublasLtMatmulDescSetAttribute, m->desc, attribute, &value, sizeof value);
    return 0;
}

// layout makes the descriptor of a matrix of rows × cols stored row by row,
// which the library sees transposed.
static int layout(struct matmul *m, lt_layout *to, unsigned type, uint64_t rows, uint64_t cols) {
    CALL(m->lt, cublasLtMatrixLayoutCreate, to, type, cols, rows, (int64_t)cols);
    return 0;
}

static int describe(struct matmul *m, const struct matmul_shape *s) {
    unsigned in = s->bf16 ? PS_CUDA_R_16BF : PS_CUDA_R_32F;
    unsigned out = s->bf16 && !s->float32_out ? PS_CUDA_R_16BF : PS_CUDA_R_32F;
    unsigned compute = s->tf32 && !s->bf16 ? PS_CUBLAS_COMPUTE_32F_FAST_TF32 : PS_CUBLAS_COMPUTE_32F;
    int r;
    CALL(m->lt, cublasLtMatmulDescCreate, &m->desc, compute, PS_CUDA_R_32F);
    if ((r = set_operation(m, PS_CUBLASLT_MATMUL_DESC_TRANSA, s->trans_b ? PS_CUBLAS_OP_T : PS_CUBLAS_OP_N)) ||
        (r = set_operation(m, PS_CUBLASLT_MATMUL_DESC_TRANSB, s->trans_a ? PS_CUBLAS_OP_T : PS_CUBLAS_OP_N)))
        return r;
    // B is the library's first matrix, which it calls A.
    int epilogue = s->bias_grad ? PS_CUBLASLT_EPILOGUE_BGRADA : PS_CUBLASLT_EPILOGUE_BIAS;
    if (m->bias && ((r = set_operation(m, PS_CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue)) ||
                    (r = set_operation(m, PS_CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, (int32_t)out)) ||
                    (r = point_bias(m, PLACEHOLDER))))
        return r;
    r = s->trans_b ? layout(m, &m->first, in, s->n, s->k) : layout(m, &m->first, in, s->k, s->n);
    if (!r) r = s->trans_a ? layout(m, &m->second, in, s->k, s->m) : layout(m, &m->second, in, s->m, s->k);
    if (!r) r = layout(m, &m->out, out, s->m, s->n);
    return r;
}

static int prefer(struct lt *l, lt_preference p, uint64_t max_workspace) {
    static const unsigned alignments[] = {
        PS_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, PS_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        PS_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, PS_CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    uint32_t alignment = PS_MATMUL_ALIGNMENT;
    CALL(l, cublasLtMatmulPreferenceSetAttribute, p, PS_CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &max_workspace,
         sizeof max_workspace);
    for (int i = 0; i < 4; i++)
        CALL(l, cublasLtMatmulPreferenceSetAttribute, p, alignments[i], &alignment, sizeof alignment);
    return 0;
}

// configure reads what makes an algorithm this one. Attributes that a version
// of the library does not know stay -1; some are 16 bits wide, some 32.
static void configure(struct matmul *m, int index) {
    for (int a = 0; a < LT_CONFIGS; a++) {
        uint32_t value = 0;
        size_t written = 0;
        int wide = a < PS_CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID;
        unsigned status = m->lt->api.cublasLtMatmulAlgoConfigGetAttribute(
            (const lt_algo *)&m->found[index].algo, (unsigned)a, &value, wide ? 4 : 2, &written);
        m->config[index][a] = status ? -1 : (int)value;
    }
}

static int suggest(struct matmul *m, lt_preference p) {
    struct lt *l = m->lt;
    int count = 0;
    unsigned status = l->api.cublasLtMatmulAlgoGetHeuristic(l->handle, m->desc, m->first, m->second, m->out, m->out, p,
                                                            LT_MAX_ALGORITHMS, m->found, &count);
    // Without any algorithm for it, the product is not an error: the list is empty.
    if (status == PS_CUBLAS_STATUS_NOT_SUPPORTED) return 0;
    if (status) return failed(l, "cublasLtMatmulAlgoGetHeuristic", status);
    for (int i = 0; i < count; i++) {
        if (m->found[i].state) continue;
        m->found[m->count] = m->found[i];
        configure(m, m->count++);
    }
    return 0;
}

int ps_matmul_open(struct matmul *m, struct lt *l, const struct matmul_shape *s, uint64_t max_workspace) {
    memset(m, 0, sizeof *m);
    m->lt = l;
    m->bias = s->bias || s->bias_grad;
    int r = enter(l);
    if (r) return r;
    r = describe(m, s);
    lt_preference p = NULL;
    if (!r) {
        unsigned status = l->api.cublasLtMatmulPreferenceCreate(&p);
        if (status) r = failed(l, "cublasLtMatmulPreferenceCreate", status);
    }
    if (!r) r = prefer(l, p, max_workspace);
    if (!r) r = suggest(m, p);
    if (p) l->api.cublasLtMatmulPreferenceDestroy(p);
    if (r) {
        ps_failure first = l->failure;
        ps_matmul_close(m);
        l->failure = first;
    }
    return r;
}

int ps_matmul_close(struct matmul *m) {
    struct lt *l = m->lt;
    lt_layout layouts[3] = {m->first, m->second, m->out};
    lt_desc desc = m->desc;
    m->first = m->second = m->out = NULL;
    m->desc = NULL;
    for (int i = 0; i < 3; i++)
        if (layouts[i]) CALL(l, cublasLtMatrixLayoutDestroy, layouts[i]);
    if (desc) CALL(l, cublasLtMatmulDescDestroy, desc);
    return 0;
}

int ps_matmul_run(struct matmul *m, int index, uint64_t a, uint64_t b, uint64_t c, uint64_t bias, uint64_t ws,
                  size_t bytes, void *stream) {
    static const float one = 1, zero = 0;
    struct lt *l = m->lt;
    int r = enter(l);
    if (r) return r;
    if (m->bias && (r = point_bias(m, bias))) return r;
    CALL(l, cublasLtMatmul, l->handle, m->desc, &one, (const void *)b, m->first, (const void *)a, m->second, &zero,
         (const void *)c, m->out, (void *)c, m->out, (const lt_algo *)&m->found[index].algo, (void *)ws, bytes,
         (lt_stream)stream);
    return 0;
}
