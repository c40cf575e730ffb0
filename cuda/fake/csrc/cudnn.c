// A stand-in for libcudnn.so.9: the convolution interface, strict about what it
// is given. Under POTSTILL_ABI the compiler holds it against NVIDIA's header.
#define _GNU_SOURCE
#include "cudnn_types.h"
#include "real.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>

static _Thread_local char last[256];

cudnnStatus_t dnn_fail(int status, const char *format, ...) {
	va_list list;
	va_start(list, format);
	vsnprintf(last, sizeof last, format, list);
	va_end(list);
	return (cudnnStatus_t)status;
}

API size_t cudnnGetVersion(void);
size_t cudnnGetVersion(void) { return 90000; }

API const char *cudnnGetErrorString(cudnnStatus_t status);
const char *cudnnGetErrorString(cudnnStatus_t status) {
	switch ((int)status) {
#define NAME(s) case s: return #s
	NAME(CUDNN_STATUS_SUCCESS);
	NAME(CUDNN_STATUS_NOT_INITIALIZED);
	NAME(CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED);
	NAME(CUDNN_STATUS_BAD_PARAM);
	NAME(CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
	NAME(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER);
	NAME(CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
	NAME(CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
	NAME(CUDNN_STATUS_NOT_SUPPORTED);
	NAME(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED);
	NAME(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED);
	NAME(CUDNN_STATUS_EXECUTION_FAILED);
#undef NAME
	}
	return "CUDNN_STATUS_UNKNOWN";
}

API void cudnnGetLastErrorString(char *message, size_t size);
void cudnnGetLastErrorString(char *message, size_t size) { snprintf(message, size, "%s", last); }

API cudnnStatus_t cudnnCreate(cudnnHandle_t *handle);
cudnnStatus_t cudnnCreate(cudnnHandle_t *handle) {
	CALL();
	NEED(handle, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
	// The real one opens cuBLASLt by its bare name, and may abort where that is not found.
	if (!dlopen("fake-libcublasLt.so.12", RTLD_NOW | RTLD_NOLOAD))
		fakeInjected("cudnnCreate before cuBLASLt");
	// The real one opens its parts by their bare names.
	if (!dlopen("fake-libcudnn_graph.so.9", RTLD_NOW | RTLD_NOLOAD))
		return dnn_fail(CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED, "libcudnn_graph.so.9 is not open");
	if (!(*handle = calloc(1, sizeof **handle)))
		return dnn_fail(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED, "no memory");
	(*handle)->magic = HANDLE;
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnDestroy(cudnnHandle_t handle);
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
	CALL();
	NEED(LIVE(handle, HANDLE), CUDNN_STATUS_NOT_INITIALIZED);
	handle->magic = 0; // not freed, so that a stale handle is known
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream);
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
	CALL();
	NEED(LIVE(handle, HANDLE), CUDNN_STATUS_NOT_INITIALIZED);
	handle->stream = stream;
	return CUDNN_STATUS_SUCCESS;
}

DESCRIPTOR(TENSOR, cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor)
DESCRIPTOR(FILTER, cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor)
DESCRIPTOR(CONVOLUTION, cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor)

API cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t desc, cudnnTensorFormat_t format,
	cudnnDataType_t type, int n, int c, int h, int w);
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t desc, cudnnTensorFormat_t format,
	cudnnDataType_t type, int n, int c, int h, int w) {
	CALL();
	NEED(LIVE(desc, TENSOR), CUDNN_STATUS_BAD_PARAM);
	NEED(n > 0 && c > 0 && h > 0 && w > 0, CUDNN_STATUS_BAD_PARAM);
	NEED(type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16, CUDNN_STATUS_BAD_PARAM);
	*desc = (struct cudnnTensorStruct){ TENSOR, 1, format, type, n, c, h, w };
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t desc, cudnnDataType_t type,
	cudnnTensorFormat_t format, int k, int c, int h, int w);
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t desc, cudnnDataType_t type,
	cudnnTensorFormat_t format, int k, int c, int h, int w) {
	CALL();
	NEED(LIVE(desc, FILTER), CUDNN_STATUS_BAD_PARAM);
	NEED(k > 0 && c > 0 && h > 0 && w > 0, CUDNN_STATUS_BAD_PARAM);
	NEED(type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_BFLOAT16, CUDNN_STATUS_BAD_PARAM);
	*desc = (struct cudnnFilterStruct){ FILTER, 1, format, type, k, c, h, w };
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t desc, int pad_h, int pad_w,
	int stride_h, int stride_w, int dilation_h, int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t type);
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t desc, int pad_h, int pad_w,
	int stride_h, int stride_w, int dilation_h, int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t type) {
	CALL();
	NEED(LIVE(desc, CONVOLUTION), CUDNN_STATUS_BAD_PARAM);
	NEED(pad_h >= 0 && pad_w >= 0, CUDNN_STATUS_BAD_PARAM);
	NEED(stride_h > 0 && stride_w > 0 && dilation_h > 0 && dilation_w > 0, CUDNN_STATUS_BAD_PARAM);
	NEED(mode == CUDNN_CROSS_CORRELATION, CUDNN_STATUS_BAD_PARAM);
	NEED(type == CUDNN_DATA_FLOAT, CUDNN_STATUS_BAD_PARAM);
	*desc = (struct cudnnConvolutionStruct){ CONVOLUTION, 1, pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, 1,
		mode, type, CUDNN_DEFAULT_MATH };
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t desc, int groups);
cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t desc, int groups) {
	CALL();
	NEED(LIVE(desc, CONVOLUTION) && groups > 0, CUDNN_STATUS_BAD_PARAM);
	desc->groups = groups;
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t desc, cudnnMathType_t math);
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t desc, cudnnMathType_t math) {
	CALL();
	NEED(LIVE(desc, CONVOLUTION) && (int)math >= 0 && math <= CUDNN_FMA_MATH, CUDNN_STATUS_BAD_PARAM);
	desc->math = math;
	return CUDNN_STATUS_SUCCESS;
}

// reach is a convolution's extent, 0 where the filter does not fit.
static int reach(int in, int pad, int k, int dilation, int stride) {
	int free = in + 2 * pad - dilation * (k - 1) - 1;
	return free < 0 ? 0 : free / stride + 1;
}

// agree checks the descriptors of a pass against each other and fills the job.
cudnnStatus_t dnn_agree(fake_conv *job, int pass, cudnnHandle_t handle, cudnnTensorDescriptor_t x,
	cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y) {
	NEED(LIVE(handle, HANDLE), CUDNN_STATUS_NOT_INITIALIZED);
	NEED(LIVE(x, TENSOR) && x->set && LIVE(y, TENSOR) && y->set, CUDNN_STATUS_BAD_PARAM);
	NEED(LIVE(w, FILTER) && w->set && LIVE(conv, CONVOLUTION) && conv->set, CUDNN_STATUS_BAD_PARAM);
	NEED(x->type == w->type && x->type == y->type, CUDNN_STATUS_BAD_PARAM);
	NEED(x->format == CUDNN_TENSOR_NHWC && w->format == CUDNN_TENSOR_NHWC && y->format == CUDNN_TENSOR_NHWC,
		CUDNN_STATUS_NOT_SUPPORTED);
	NEED(w->c * conv->groups == x->c && w->k % conv->groups == 0, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
	NEED(y->n == x->n && y->c == w->k, CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
	NEED(y->h == reach(x->h, conv->pad_h, w->h, conv->dilation_h, conv->stride_h) &&
		y->w == reach(x->w, conv->pad_w, w->w, conv->dilation_w, conv->stride_w), CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH);
	int bf16 = x->type == CUDNN_DATA_BFLOAT16;
	*job = (fake_conv){ .pass = pass, .bf16 = bf16, .tf32 = !bf16 && conv->math != CUDNN_FMA_MATH,
		.n = x->n, .h = x->h, .w = x->w, .c = x->c, .o = w->k, .kh = w->h, .kw = w->w, .oh = y->h, .ow = y->w,
		.pad_h = conv->pad_h, .pad_w = conv->pad_w, .stride_h = conv->stride_h, .stride_w = conv->stride_w,
		.dilation_h = conv->dilation_h, .dilation_w = conv->dilation_w, .groups = conv->groups };
	return CUDNN_STATUS_SUCCESS;
}

// supported says whether there is such an algorithm here.
static int supported(int pass, int algo) {
	return algo == 0 || algo == 1 || (pass == BACKWARD_FILTER && algo == ALGO_3);
}

// heuristic lists the algorithms, the one with the largest workspace first, and
// one that cannot be used, as the real one may. Where tensor cores are allowed,
// each comes twice.
static cudnnStatus_t heuristic(fake_conv job, unsigned math, int requested, int *returned,
	cudnnConvolutionFwdAlgoPerf_t *results) {
	NEED(requested > 0 && returned && results, CUDNN_STATUS_BAD_PARAM);
	static const int order[] = { 1, 3, 0, 2 };
	int n = 0;
	for (int twice = math == CUDNN_FMA_MATH; twice < 2; twice++)
		for (int i = 0; i < 4 && n < requested; i++) {
			job.algo = order[i];
			if (job.algo == 3 && job.pass != BACKWARD_FILTER)
				continue;
			int ok = supported(job.pass, job.algo);
			memset(&results[n], 0, sizeof results[n]);
			results[n].algo = order[i];
			results[n].status = ok ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
			results[n].time = -1;
			results[n].memory = ok ? fake_conv_workspace(&job) : 0;
			results[n].determinism = job.pass == FORWARD || job.algo == ALGO_1;
			results[n++].mathType = twice ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH;
		}
	*returned = n;
	return CUDNN_STATUS_SUCCESS;
}

// operand checks one address of a job.
cudnnStatus_t dnn_operand(const char *name, const void *p, size_t bytes, size_t size) {
	if (!p)
		return dnn_fail(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, "%s is NULL", name);
	if ((uintptr_t)p % size)
		return dnn_fail(CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER, "%s is not at a multiple of %zu", name, size);
	if (!fakeHolds(p, bytes))
		return dnn_fail(CUDNN_STATUS_BAD_PARAM, "%s: no memory of the device holds its %zu bytes", name, bytes);
	return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t apart(const void *to, size_t bytes, const void *from, size_t other) {
	NEED(!real_meet(to, bytes, from, other), CUDNN_STATUS_BAD_PARAM);
	return CUDNN_STATUS_SUCCESS;
}

// perform checks the addresses and enqueues the job.
cudnnStatus_t dnn_perform(fake_conv *job, cudnnHandle_t handle, const char *name, const void *alpha, const void *beta) {
	NEED(alpha && beta, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
	NEED(supported(job->pass, job->algo), CUDNN_STATUS_NOT_SUPPORTED);
	size_t size = job->bf16 ? 2 : 4, need = fake_conv_workspace(job);
	size_t nx = fake_conv_x(job) * size, nf = fake_conv_f(job) * size, ny = fake_conv_y(job) * size;
	NEED(job->ws_bytes >= need, CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
	cudnnStatus_t s;
	if ((s = dnn_operand("x", job->x, nx, size)) || (s = dnn_operand("w", job->f, nf, size)) || (s = dnn_operand("y", job->y, ny, size)) ||
		(need && (s = dnn_operand("workSpace", job->ws, job->ws_bytes, 4))))
		return s;
	const void *to = job->pass == FORWARD ? job->y : job->pass == BACKWARD_DATA ? job->x : job->f;
	size_t bytes = job->pass == FORWARD ? ny : job->pass == BACKWARD_DATA ? nx : nf;
	if ((to != job->x && (s = apart(to, bytes, job->x, nx))) || (to != job->f && (s = apart(to, bytes, job->f, nf))) ||
		(to != job->y && (s = apart(to, bytes, job->y, ny))))
		return s;
	if (need && ((s = apart(job->ws, need, job->x, nx)) || (s = apart(job->ws, need, job->f, nf)) ||
		(s = apart(job->ws, need, job->y, ny))))
		return s;
	job->alpha = *(const float *)alpha;
	job->beta = *(const float *)beta;
	CUresult rc = fakeEnqueue((CUstream)handle->stream, name, fake_conv_run, job, sizeof *job);
	return rc ? dnn_fail(CUDNN_STATUS_EXECUTION_FAILED, "the driver says %d", (int)rc) : CUDNN_STATUS_SUCCESS;
}

// PASS defines the calls of one pass. first and second are the descriptors that
// it takes, in its order; x, w and y say which they are.
#define PASS(pass, Name, perf_t, algo_t, first_t, second_t, third_t, x, w, y)                                        \
	API cudnnStatus_t cudnnGetConvolution##Name##AlgorithmMaxCount(cudnnHandle_t handle, int *count);                \
	cudnnStatus_t cudnnGetConvolution##Name##AlgorithmMaxCount(cudnnHandle_t handle, int *count) {                   \
		CALL();                                                                                                      \
		NEED(LIVE(handle, HANDLE) && count, CUDNN_STATUS_BAD_PARAM);                                                 \
		*count = 8;                                                                                                  \
		return CUDNN_STATUS_SUCCESS;                                                                                 \
	}                                                                                                                \
	API cudnnStatus_t cudnnGetConvolution##Name##Algorithm_v7(cudnnHandle_t handle, const first_t first,             \
		const second_t second, const cudnnConvolutionDescriptor_t conv, const third_t third, const int requested,   \
		int *returned, perf_t *results);                                                                             \
	cudnnStatus_t cudnnGetConvolution##Name##Algorithm_v7(cudnnHandle_t handle, const first_t first,                 \
		const second_t second, const cudnnConvolutionDescriptor_t conv, const third_t third, const int requested,   \
		int *returned, perf_t *results) {                                                                            \
		CALL();                                                                                                      \
		fake_conv job;                                                                                               \
		cudnnStatus_t s = dnn_agree(&job, pass, handle, x, w, conv, y);                                                  \
		return s ? s : heuristic(job, conv->math, requested, returned, (cudnnConvolutionFwdAlgoPerf_t *)results);    \
	}                                                                                                                \
	API cudnnStatus_t cudnnGetConvolution##Name##WorkspaceSize(cudnnHandle_t handle, const first_t first,            \
		const second_t second, const cudnnConvolutionDescriptor_t conv, const third_t third, algo_t algo,           \
		size_t *bytes);                                                                                              \
	cudnnStatus_t cudnnGetConvolution##Name##WorkspaceSize(cudnnHandle_t handle, const first_t first,                \
		const second_t second, const cudnnConvolutionDescriptor_t conv, const third_t third, algo_t algo,           \
		size_t *bytes) {                                                                                             \
		CALL();                                                                                                      \
		fake_conv job;                                                                                               \
		cudnnStatus_t s = dnn_agree(&job, pass, handle, x, w, conv, y);                                                  \
		if (s)                                                                                                       \
			return s;                                                                                                \
		NEED(bytes, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);                                                            \
		NEED(supported(pass, (int)algo), CUDNN_STATUS_NOT_SUPPORTED);                                                \
		job.algo = (int)algo;                                                                                        \
		*bytes = fake_conv_workspace(&job);                                                                          \
		return CUDNN_STATUS_SUCCESS;                                                                                 \
	}
PASS(FORWARD, Forward, cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionFwdAlgo_t, cudnnTensorDescriptor_t,
	cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, first, second, third)
PASS(BACKWARD_DATA, BackwardData, cudnnConvolutionBwdDataAlgoPerf_t, cudnnConvolutionBwdDataAlgo_t,
	cudnnFilterDescriptor_t, cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, third, first, second)
PASS(BACKWARD_FILTER, BackwardFilter, cudnnConvolutionBwdFilterAlgoPerf_t, cudnnConvolutionBwdFilterAlgo_t,
	cudnnTensorDescriptor_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t, first, third, second)

API cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x_desc,
	const void *x, const cudnnFilterDescriptor_t w_desc, const void *w, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionFwdAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnTensorDescriptor_t y_desc, void *y);
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x_desc,
	const void *x, const cudnnFilterDescriptor_t w_desc, const void *w, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionFwdAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnTensorDescriptor_t y_desc, void *y) {
	CALL();
	fake_conv job;
	cudnnStatus_t s = dnn_agree(&job, FORWARD, handle, x_desc, w_desc, conv, y_desc);
	if (s)
		return s;
	job.algo = (int)algo, job.x = x, job.f = w, job.y = y, job.ws = ws, job.ws_bytes = ws_bytes;
	return dnn_perform(&job, handle, "cudnnForward", alpha, beta);
}

API cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, const cudnnFilterDescriptor_t w_desc,
	const void *w, const cudnnTensorDescriptor_t y_desc, const void *y, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionBwdDataAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnTensorDescriptor_t x_desc, void *x);
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void *alpha, const cudnnFilterDescriptor_t w_desc,
	const void *w, const cudnnTensorDescriptor_t y_desc, const void *y, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionBwdDataAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnTensorDescriptor_t x_desc, void *x) {
	CALL();
	fake_conv job;
	cudnnStatus_t s = dnn_agree(&job, BACKWARD_DATA, handle, x_desc, w_desc, conv, y_desc);
	if (s)
		return s;
	job.algo = (int)algo, job.x = x, job.f = w, job.y = y, job.ws = ws, job.ws_bytes = ws_bytes;
	return dnn_perform(&job, handle, "cudnnBackwardData", alpha, beta);
}

API cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x_desc,
	const void *x, const cudnnTensorDescriptor_t y_desc, const void *y, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionBwdFilterAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnFilterDescriptor_t w_desc, void *w);
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void *alpha, const cudnnTensorDescriptor_t x_desc,
	const void *x, const cudnnTensorDescriptor_t y_desc, const void *y, const cudnnConvolutionDescriptor_t conv,
	cudnnConvolutionBwdFilterAlgo_t algo, void *ws, size_t ws_bytes, const void *beta, const cudnnFilterDescriptor_t w_desc, void *w) {
	CALL();
	fake_conv job;
	cudnnStatus_t s = dnn_agree(&job, BACKWARD_FILTER, handle, x_desc, w_desc, conv, y_desc);
	if (s)
		return s;
	job.algo = (int)algo, job.x = x, job.f = w, job.y = y, job.ws = ws, job.ws_bytes = ws_bytes;
	return dnn_perform(&job, handle, "cudnnBackwardFilter", alpha, beta);
}
