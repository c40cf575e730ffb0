// What the calls of the stand-in for cuDNN share: NVIDIA's types, the things
// behind its handles, and the checks. Under POTSTILL_ABI the types are those of
// NVIDIA's header.
#ifndef FAKE_CUDNN_TYPES_H
#define FAKE_CUDNN_TYPES_H

#ifdef POTSTILL_ABI
#include <cudnn.h>
#endif
#include "cudnn_part.h"

#include <stdlib.h>

#ifndef POTSTILL_ABI
typedef unsigned cudnnStatus_t, cudnnDataType_t, cudnnTensorFormat_t, cudnnConvolutionMode_t, cudnnMathType_t,
	cudnnDeterminism_t, cudnnActivationMode_t, cudnnNanPropagation_t, cudnnConvolutionFwdAlgo_t,
	cudnnConvolutionBwdDataAlgo_t, cudnnConvolutionBwdFilterAlgo_t;
typedef struct CUstream_st *cudaStream_t;
typedef struct cudnnContext *cudnnHandle_t;
typedef struct cudnnTensorStruct *cudnnTensorDescriptor_t;
typedef struct cudnnFilterStruct *cudnnFilterDescriptor_t;
typedef struct cudnnConvolutionStruct *cudnnConvolutionDescriptor_t;
typedef struct cudnnActivationStruct *cudnnActivationDescriptor_t;
typedef struct {
	unsigned algo;
	cudnnStatus_t status;
	float time;
	size_t memory;
	cudnnDeterminism_t determinism;
	cudnnMathType_t mathType;
	int reserved[3];
} cudnnConvolutionFwdAlgoPerf_t, cudnnConvolutionBwdDataAlgoPerf_t, cudnnConvolutionBwdFilterAlgoPerf_t;
enum {
	CUDNN_STATUS_SUCCESS = 0,
	CUDNN_STATUS_NOT_INITIALIZED = 1001,
	CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED = 1008,
	CUDNN_STATUS_BAD_PARAM = 2000,
	CUDNN_STATUS_BAD_PARAM_NULL_POINTER = 2002,
	CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER = 2003,
	CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT = 2006,
	CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH = 2008,
	CUDNN_STATUS_NOT_SUPPORTED = 3000,
	CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED = 4003,
	CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED = 4004,
	CUDNN_STATUS_EXECUTION_FAILED = 5000,
	CUDNN_DATA_FLOAT = 0,
	CUDNN_DATA_BFLOAT16 = 9,
	CUDNN_TENSOR_NHWC = 1,
	CUDNN_CROSS_CORRELATION = 1,
	CUDNN_DEFAULT_MATH = 0,
	CUDNN_TENSOR_OP_MATH = 1,
	CUDNN_FMA_MATH = 3,
	CUDNN_ACTIVATION_RELU = 1,
	CUDNN_ACTIVATION_IDENTITY = 5,
	CUDNN_NOT_PROPAGATE_NAN = 0,
};
#endif

struct cudnnContext { unsigned magic; cudaStream_t stream; };
struct cudnnTensorStruct { unsigned magic; int set; unsigned format, type; int n, c, h, w; };
struct cudnnFilterStruct { unsigned magic; int set; unsigned format, type; int k, c, h, w; };
struct cudnnConvolutionStruct {
	unsigned magic;
	int set, pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
	unsigned mode, type, math;
};
struct cudnnActivationStruct { unsigned magic; int set; unsigned mode, nan; double coefficient; };
enum { HANDLE = 0x444e4e48, TENSOR = 0x444e4e54, FILTER = 0x444e4e46, CONVOLUTION = 0x444e4e43, ACTIVATION = 0x444e4e41 };

// dnn_fail keeps the words for cudnnGetLastErrorString and returns the status.
cudnnStatus_t dnn_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
// dnn_agree checks the descriptors of a pass against each other and fills the job.
cudnnStatus_t dnn_agree(fake_conv *job, int pass, cudnnHandle_t handle, cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w,
	cudnnConvolutionDescriptor_t conv, cudnnTensorDescriptor_t y);
// dnn_operand checks one address of a job.
cudnnStatus_t dnn_operand(const char *name, const void *p, size_t bytes, size_t size);
// dnn_perform checks the addresses and enqueues the job.
cudnnStatus_t dnn_perform(fake_conv *job, cudnnHandle_t handle, const char *name, const void *alpha, const void *beta);

// CALL counts the call and fails it if a test wants that.
#define CALL()                                      \
	do {                                            \
		int injected_ = fakeInjected(__func__);     \
		if (injected_)                              \
			return dnn_fail(injected_, "injected"); \
	} while (0)
#define NEED(condition, status)                                \
	do {                                                       \
		if (!(condition))                                      \
			return dnn_fail(status, "not so: %s", #condition); \
	} while (0)

// DESCRIPTOR defines how a kind of descriptor is made and destroyed.
#define DESCRIPTOR(kind, type, create, destroy)                                               \
	API cudnnStatus_t create(type *desc);                                                     \
	cudnnStatus_t create(type *desc) {                                                        \
		CALL();                                                                               \
		NEED(desc, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);                                      \
		if (!(*desc = calloc(1, sizeof **desc)))                                              \
			return dnn_fail(CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED, "no memory"); \
		(*desc)->magic = kind;                                                                \
		return CUDNN_STATUS_SUCCESS;                                                          \
	}                                                                                         \
	API cudnnStatus_t destroy(type desc);                                                     \
	cudnnStatus_t destroy(type desc) {                                                        \
		CALL();                                                                               \
		NEED(LIVE(desc, kind), CUDNN_STATUS_BAD_PARAM);                                       \
		desc->magic = 0;                                                                      \
		return CUDNN_STATUS_SUCCESS;                                                          \
	}

#endif
