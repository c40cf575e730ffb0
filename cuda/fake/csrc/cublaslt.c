// A stand-in for libcublasLt.so.12, strict about what it is given; the products are
// in cublaslt_product.c. Under POTSTILL_ABI the compiler holds it against NVIDIA's
// header.
#ifdef POTSTILL_ABI
#include <cublasLt.h>
#endif
#include "cublaslt_part.h"

#ifndef POTSTILL_ABI
typedef unsigned cublasStatus_t, cublasComputeType_t, cudaDataType_t, cudaDataType, cublasLtMatmulDescAttributes_t,
	cublasLtMatmulPreferenceAttributes_t, cublasLtMatmulAlgoConfigAttributes_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct cublasLtContext *cublasLtHandle_t;
typedef struct lt_desc_opaque *cublasLtMatmulDesc_t;
typedef struct lt_layout_opaque *cublasLtMatrixLayout_t;
typedef struct lt_preference_opaque *cublasLtMatmulPreference_t;
typedef struct { uint64_t data[8]; } cublasLtMatmulAlgo_t;
typedef struct {
	cublasLtMatmulAlgo_t algo;
	size_t workspaceSize;
	cublasStatus_t state;
	float wavesCount;
	int reserved[4];
} cublasLtMatmulHeuristicResult_t;
enum {
	CUBLAS_STATUS_SUCCESS = 0,
	CUBLAS_STATUS_NOT_INITIALIZED = 1,
	CUBLAS_STATUS_ALLOC_FAILED = 3,
	CUBLAS_STATUS_INVALID_VALUE = 7,
	CUBLAS_STATUS_EXECUTION_FAILED = 13,
	CUBLAS_STATUS_NOT_SUPPORTED = 15,
	CUBLAS_COMPUTE_32F = 68,
	CUBLAS_COMPUTE_32F_FAST_TF32 = 77,
	CUBLAS_OP_N = 0,
	CUBLAS_OP_T = 1,
	CUDA_R_32F = 0,
	CUDA_R_16BF = 14,
	CUBLASLT_MATMUL_DESC_TRANSA = 3,
	CUBLASLT_MATMUL_DESC_TRANSB = 4,
	CUBLASLT_MATMUL_DESC_EPILOGUE = 7,
	CUBLASLT_MATMUL_DESC_BIAS_POINTER = 8,
	CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE = 26,
	CUBLASLT_EPILOGUE_DEFAULT = 1,
	CUBLASLT_EPILOGUE_BIAS = 4,
	CUBLASLT_EPILOGUE_BGRADA = 256,
	CUBLASLT_EPILOGUE_BGRADB = 512,
	CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES = 1,
	CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES = 5,
	CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES = 8,
	CUBLASLT_REDUCTION_SCHEME_NONE = 0,
	CUBLASLT_REDUCTION_SCHEME_INPLACE = 1,
	CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE = 2,
};
#endif

struct cublasLtContext { unsigned magic; };
typedef struct { unsigned magic, compute, scale; int32_t trans_a, trans_b, bias_type; uint32_t epilogue; void *bias; } lt_desc;
typedef struct { unsigned magic, type; uint64_t rows, cols; int64_t ld; } lt_layout;
typedef struct { unsigned magic; uint64_t workspace; uint32_t alignment[4]; } lt_preference;
enum { HANDLE = 0x4c544844, DESC = 0x4c544453, LAYOUT = 0x4c544c59, PREFERENCE = 0x4c545052, ALGO = 0x4c54414c };

static const int reductions[] = { CUBLASLT_REDUCTION_SCHEME_NONE, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
	CUBLASLT_REDUCTION_SCHEME_INPLACE };

#define CALL()                                   \
	do {                                         \
		int injected_ = fakeInjected(__func__);  \
		if (injected_)                           \
			return (cublasStatus_t)injected_;    \
	} while (0)
#define NEED(condition, status) \
	do {                        \
		if (!(condition))       \
			return (status);    \
	} while (0)

API size_t cublasLtGetVersion(void);
size_t cublasLtGetVersion(void) { return 120000; }

API const char *cublasLtGetStatusName(cublasStatus_t status);
const char *cublasLtGetStatusName(cublasStatus_t status) {
	switch ((int)status) {
#define NAME(s) case s: return #s
	NAME(CUBLAS_STATUS_SUCCESS);
	NAME(CUBLAS_STATUS_NOT_INITIALIZED);
	NAME(CUBLAS_STATUS_ALLOC_FAILED);
	NAME(CUBLAS_STATUS_INVALID_VALUE);
	NAME(CUBLAS_STATUS_EXECUTION_FAILED);
	NAME(CUBLAS_STATUS_NOT_SUPPORTED);
#undef NAME
	}
	return "CUBLAS_STATUS_UNKNOWN";
}

API const char *cublasLtGetStatusString(cublasStatus_t status);
const char *cublasLtGetStatusString(cublasStatus_t status) {
	switch ((int)status) {
	case CUBLAS_STATUS_SUCCESS: return "success";
	case CUBLAS_STATUS_INVALID_VALUE: return "an unsupported value or parameter was passed to the function";
	case CUBLAS_STATUS_NOT_SUPPORTED: return "the functionality requested is not supported";
	}
	return "the stand-in says no more";
}

API cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle);
cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
	CALL();
	NEED(handle, CUBLAS_STATUS_INVALID_VALUE);
	NEED(*handle = calloc(1, sizeof **handle), CUBLAS_STATUS_ALLOC_FAILED);
	(*handle)->magic = HANDLE;
	return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle);
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
	CALL();
	NEED(LIVE(handle, HANDLE), CUBLAS_STATUS_NOT_INITIALIZED);
	handle->magic = 0; // not freed, so that a stale handle is known
	return CUBLAS_STATUS_SUCCESS;
}

// What is destroyed is not freed, so that a stale one is known.
#define DESTROY(NAME, TYPE, STRUCT, MAGIC)             \
	API cublasStatus_t NAME(TYPE opaque);              \
	cublasStatus_t NAME(TYPE opaque) {                 \
		CALL();                                        \
		STRUCT *o = (STRUCT *)opaque;                  \
		NEED(LIVE(o, MAGIC), CUBLAS_STATUS_INVALID_VALUE); \
		o->magic = 0;                                  \
		return CUBLAS_STATUS_SUCCESS;                  \
	}
DESTROY(cublasLtMatmulDescDestroy, cublasLtMatmulDesc_t, lt_desc, DESC)
DESTROY(cublasLtMatrixLayoutDestroy, cublasLtMatrixLayout_t, lt_layout, LAYOUT)
DESTROY(cublasLtMatmulPreferenceDestroy, cublasLtMatmulPreference_t, lt_preference, PREFERENCE)

API cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale);
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute, cudaDataType_t scale) {
	CALL();
	NEED(desc && (compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32), CUBLAS_STATUS_INVALID_VALUE);
	NEED(scale == CUDA_R_32F, CUBLAS_STATUS_INVALID_VALUE);
	lt_desc *d = calloc(1, sizeof *d);
	NEED(d, CUBLAS_STATUS_ALLOC_FAILED);
	*d = (lt_desc){ DESC, compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, -1, CUBLASLT_EPILOGUE_DEFAULT, 0 };
	*desc = (cublasLtMatmulDesc_t)d;
	return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
	const void *value, size_t bytes);
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t attribute,
	const void *value, size_t bytes) {
	CALL();
	lt_desc *d = (lt_desc *)desc;
	NEED(LIVE(d, DESC) && value, CUBLAS_STATUS_INVALID_VALUE);
	void *to = 0;
	size_t size = 4;
	switch ((int)attribute) {
	case CUBLASLT_MATMUL_DESC_TRANSA: to = &d->trans_a; break;
	case CUBLASLT_MATMUL_DESC_TRANSB: to = &d->trans_b; break;
	case CUBLASLT_MATMUL_DESC_EPILOGUE: to = &d->epilogue; break;
	case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: to = &d->bias_type; break;
	case CUBLASLT_MATMUL_DESC_BIAS_POINTER: to = &d->bias, size = sizeof d->bias; break;
	}
	NEED(to && bytes == size, CUBLAS_STATUS_INVALID_VALUE);
	memcpy(to, value, size);
	return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
	uint64_t cols, int64_t ld);
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type, uint64_t rows,
	uint64_t cols, int64_t ld) {
	CALL();
	NEED(layout && (type == CUDA_R_32F || type == CUDA_R_16BF), CUBLAS_STATUS_INVALID_VALUE);
	NEED(rows > 0 && cols > 0 && ld >= (int64_t)rows, CUBLAS_STATUS_INVALID_VALUE);
	lt_layout *l = calloc(1, sizeof *l);
	NEED(l, CUBLAS_STATUS_ALLOC_FAILED);
	*l = (lt_layout){ LAYOUT, type, rows, cols, ld };
	*layout = (cublasLtMatrixLayout_t)l;
	return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference);
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference) {
	CALL();
	NEED(preference, CUBLAS_STATUS_INVALID_VALUE);
	lt_preference *p = calloc(1, sizeof *p);
	NEED(p, CUBLAS_STATUS_ALLOC_FAILED);
	*p = (lt_preference){ PREFERENCE, 0, { 256, 256, 256, 256 } };
	*preference = (cublasLtMatmulPreference_t)p;
	return CUBLAS_STATUS_SUCCESS;
}

API cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
	cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes);
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
	cublasLtMatmulPreferenceAttributes_t attribute, const void *value, size_t bytes) {
	CALL();
	lt_preference *p = (lt_preference *)preference;
	int a = (int)attribute;
	NEED(LIVE(p, PREFERENCE) && value, CUBLAS_STATUS_INVALID_VALUE);
	if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
		NEED(bytes == sizeof p->workspace, CUBLAS_STATUS_INVALID_VALUE);
		memcpy(&p->workspace, value, bytes);
		return CUBLAS_STATUS_SUCCESS;
	}
	NEED(a >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES && a <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES && bytes == 4,
		CUBLAS_STATUS_INVALID_VALUE);
	memcpy(&p->alignment[a - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, 4);
	return CUBLAS_STATUS_SUCCESS;
}

// agree checks the descriptors of a product against each other and fills the job.
static cublasStatus_t agree(lt_job *job, cublasLtHandle_t handle, const lt_desc *desc, const lt_layout *a, const lt_layout *b,
	const lt_layout *c, const lt_layout *d) {
	NEED(LIVE(handle, HANDLE), CUBLAS_STATUS_NOT_INITIALIZED);
	NEED(LIVE(desc, DESC) && LIVE(a, LAYOUT) && LIVE(b, LAYOUT) && LIVE(c, LAYOUT) && LIVE(d, LAYOUT), CUBLAS_STATUS_INVALID_VALUE);
	NEED((desc->trans_a | desc->trans_b) >> 1 == 0, CUBLAS_STATUS_NOT_SUPPORTED);
	int bf16 = a->type == CUDA_R_16BF, tf32 = desc->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
	NEED(a->type == b->type && c->type == d->type && (bf16 || d->type == CUDA_R_32F) && !(bf16 && tf32), CUBLAS_STATUS_NOT_SUPPORTED);
	NEED(c->rows == d->rows && c->cols == d->cols && c->ld == d->ld, CUBLAS_STATUS_INVALID_VALUE);
	uint64_t k = desc->trans_a ? a->rows : a->cols;
	NEED((desc->trans_a ? a->cols : a->rows) == d->rows, CUBLAS_STATUS_INVALID_VALUE);
	NEED((desc->trans_b ? b->rows : b->cols) == d->cols, CUBLAS_STATUS_INVALID_VALUE);
	NEED((desc->trans_b ? b->cols : b->rows) == k, CUBLAS_STATUS_INVALID_VALUE);
	int grad = desc->epilogue == CUBLASLT_EPILOGUE_BGRADA ? OF_A : desc->epilogue == CUBLASLT_EPILOGUE_BGRADB ? OF_B : ADDED;
	int bias = grad || desc->epilogue == CUBLASLT_EPILOGUE_BIAS;
	NEED(bias || desc->epilogue == CUBLASLT_EPILOGUE_DEFAULT, CUBLAS_STATUS_NOT_SUPPORTED);
	NEED(!bias || ((desc->bias_type == -1 || (unsigned)desc->bias_type == d->type) && desc->bias), CUBLAS_STATUS_NOT_SUPPORTED);
	*job = (lt_job){ .bf16 = bf16, .out_bf16 = d->type == CUDA_R_16BF, .tf32 = tf32, .trans_a = desc->trans_a,
		.trans_b = desc->trans_b, .m = d->rows, .n = d->cols, .k = k, .lda = a->ld, .ldb = b->ld, .ldd = d->ld,
		.bias = bias ? desc->bias : 0, .grad = grad };
	return CUBLAS_STATUS_SUCCESS;
}

static size_t workspace(const lt_job *j, int kind) {
	return kind == PARTS ? 2 * sizeof(float) * j->m * j->n : kind == IN_PLACE ? 64 : 0;
}

API cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
	cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
	cublasLtMatmulPreference_t preference, int requested, cublasLtMatmulHeuristicResult_t results[], int *returned);
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
	cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
	cublasLtMatmulPreference_t preference, int requested, cublasLtMatmulHeuristicResult_t results[], int *returned) {
	CALL();
	const lt_preference *p = (const lt_preference *)preference;
	lt_job job;
	cublasStatus_t s = agree(&job, handle, (lt_desc *)desc, (lt_layout *)a, (lt_layout *)b, (lt_layout *)c, (lt_layout *)d);
	if (s)
		return s;
	NEED(LIVE(p, PREFERENCE) && requested > 0 && results && returned, CUBLAS_STATUS_INVALID_VALUE);
	*returned = 0;
	for (int kind = 0; kind < ALGORITHMS && *returned < requested; kind++) {
		if (workspace(&job, kind) > p->workspace)
			continue;
		cublasLtMatmulHeuristicResult_t *r = &results[(*returned)++];
		memset(r, 0, sizeof *r);
		r->algo.data[0] = ALGO;
		r->algo.data[1] = (uint64_t)kind;
		r->workspaceSize = workspace(&job, kind);
		r->wavesCount = 1;
		for (int i = 0; i < 4; i++) // what the addresses may be relied on to be multiples of
			if (p->alignment[i] > r->algo.data[2])
				r->algo.data[2] = p->alignment[i];
	}
	return *returned ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

API cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
	cublasLtMatmulAlgoConfigAttributes_t attribute, void *value, size_t bytes, size_t *written);
cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t *algo,
	cublasLtMatmulAlgoConfigAttributes_t attribute, void *value, size_t bytes, size_t *written) {
	CALL();
	int a = (int)attribute;
	NEED(algo && algo->data[0] == ALGO && value && written && a >= 0 && a <= 8, CUBLAS_STATUS_INVALID_VALUE);
	int kind = (int)algo->data[1];
	int values[] = { 20 + kind, 7, kind == WHOLE ? 1 : 2, reductions[kind], 0, 0, 3, 0, 0 };
	size_t size = a < 7 ? 4 : 2;
	NEED(bytes == size, CUBLAS_STATUS_INVALID_VALUE);
	memcpy(value, &values[a], size); // little-endian, as CUDA is
	*written = size;
	return CUBLAS_STATUS_SUCCESS;
}

// holds checks one address: its alignment, and that memory of the device lies there.
static int holds(const void *p, size_t bytes, uint64_t alignment) {
	return p && (uintptr_t)p % alignment == 0 && fakeHolds(p, bytes);
}

API cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
	cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
	cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *ws,
	size_t ws_bytes, cudaStream_t stream);
cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha, const void *a,
	cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout, const void *beta, const void *c,
	cublasLtMatrixLayout_t c_layout, void *d, cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t *algo, void *ws,
	size_t ws_bytes, cudaStream_t stream) {
	CALL();
	lt_job j;
	lt_layout *la = (lt_layout *)a_layout, *lb = (lt_layout *)b_layout;
	cublasStatus_t s = agree(&j, handle, (lt_desc *)desc, la, lb, (lt_layout *)c_layout, (lt_layout *)d_layout);
	if (s)
		return s;
	NEED(alpha && beta && algo && algo->data[0] == ALGO && algo->data[1] < ALGORITHMS, CUBLAS_STATUS_INVALID_VALUE);
	j.kind = (int)algo->data[1];
	j.alpha = *(const float *)alpha, j.beta = *(const float *)beta;
	j.a = a, j.b = b, j.c = c, j.d = d, j.ws = ws;
	uint64_t align = algo->data[2], in = j.bf16 ? 2 : 4, out = j.out_bf16 ? 2 : 4, need = workspace(&j, j.kind);
	size_t na = in * ((uint64_t)la->ld * (la->cols - 1) + la->rows), nb = in * ((uint64_t)lb->ld * (lb->cols - 1) + lb->rows);
	size_t nd = out * ((uint64_t)j.ldd * (j.n - 1) + j.m);
	NEED(holds(a, na, align) && holds(b, nb, align) && holds(d, nd, align), CUBLAS_STATUS_INVALID_VALUE);
	NEED(c == d || (j.beta == 0 && !c) || holds(c, nd, align), CUBLAS_STATUS_INVALID_VALUE);
	size_t n_bias = out * fake_lt_biases(&j);
	NEED(!j.bias || holds(j.bias, n_bias, out), CUBLAS_STATUS_INVALID_VALUE);
	NEED(!j.grad || !(real_meet(j.bias, n_bias, a, na) || real_meet(j.bias, n_bias, b, nb) || real_meet(j.bias, n_bias, d, nd)), CUBLAS_STATUS_INVALID_VALUE);
	NEED(!j.grad || !need || !real_meet(j.bias, n_bias, ws, need), CUBLAS_STATUS_INVALID_VALUE);
	NEED(ws_bytes >= need && (!need || holds(ws, ws_bytes, 16)), CUBLAS_STATUS_INVALID_VALUE);
	NEED(!real_meet(d, nd, a, na) && !real_meet(d, nd, b, nb), CUBLAS_STATUS_INVALID_VALUE);
	NEED(!need || !(real_meet(ws, need, a, na) || real_meet(ws, need, b, nb) || real_meet(ws, need, d, nd)), CUBLAS_STATUS_INVALID_VALUE);
	return fakeEnqueue((CUstream)stream, "cublasLtProduct", fake_lt_run, &j, sizeof j) ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}
