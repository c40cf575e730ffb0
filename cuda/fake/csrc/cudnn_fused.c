// The stand-in for cuDNN's convolution with a bias, a residual and an
// activation, as strict as its documentation. Under POTSTILL_ABI the compiler
// holds it against NVIDIA's header.
#include "cudnn_types.h"
#include "real.h"

DESCRIPTOR(ACTIVATION, cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor)

API cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t desc, cudnnActivationMode_t mode,
	cudnnNanPropagation_t nan, double coefficient);
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t desc, cudnnActivationMode_t mode,
	cudnnNanPropagation_t nan, double coefficient) {
	CALL();
	NEED(LIVE(desc, ACTIVATION), CUDNN_STATUS_BAD_PARAM);
	NEED((int)mode >= 0 && mode <= 6 && (nan == 0 || nan == 1), CUDNN_STATUS_BAD_PARAM);
	*desc = (struct cudnnActivationStruct){ ACTIVATION, 1, mode, nan, coefficient };
	return CUDNN_STATUS_SUCCESS;
}

// fusable checks what is fused against the rest.
static cudnnStatus_t fusable(const fake_conv *job, cudnnTensorDescriptor_t z, cudnnTensorDescriptor_t bias,
	cudnnActivationDescriptor_t act, cudnnTensorDescriptor_t y) {
	NEED(LIVE(z, TENSOR) && z->set && LIVE(bias, TENSOR) && bias->set && LIVE(act, ACTIVATION) && act->set, CUDNN_STATUS_BAD_PARAM);
	NEED(z->type == y->type && z->format == y->format && z->n == y->n && z->c == y->c && z->h == y->h && z->w == y->w,
		CUDNN_STATUS_BAD_PARAM);
	NEED(bias->n == 1 && bias->c == y->c && bias->h == 1 && bias->w == 1, CUDNN_STATUS_BAD_PARAM);
	NEED(bias->type == y->type, CUDNN_STATUS_NOT_SUPPORTED);
	NEED(act->mode == CUDNN_ACTIVATION_RELU || act->mode == CUDNN_ACTIVATION_IDENTITY, CUDNN_STATUS_NOT_SUPPORTED);
	NEED(act->nan == CUDNN_NOT_PROPAGATE_NAN, CUDNN_STATUS_NOT_SUPPORTED);
	NEED(act->mode != CUDNN_ACTIVATION_IDENTITY || job->algo == IMPLICIT_PRECOMP_GEMM, CUDNN_STATUS_NOT_SUPPORTED);
	return CUDNN_STATUS_SUCCESS;
}

// placed checks the addresses that a plain convolution does not have. z may be
// y, and must be somewhere even if it is not read; x may be neither.
static cudnnStatus_t placed(const fake_conv *job) {
	size_t size = job->bf16 ? 2 : 4, nx = fake_conv_x(job) * size, ny = fake_conv_y(job) * size, nb = job->o * size;
	cudnnStatus_t s;
	if ((s = dnn_operand("bias", job->bias, nb, size)) || (s = dnn_operand("z", job->z, ny, size)))
		return s;
	NEED(!real_meet(job->z, ny, job->x, nx), CUDNN_STATUS_BAD_PARAM);
	NEED(job->z == job->y || !real_meet(job->z, ny, job->y, ny), CUDNN_STATUS_BAD_PARAM);
	NEED(!real_meet(job->bias, nb, job->y, ny), CUDNN_STATUS_BAD_PARAM);
	NEED(!job->ws_bytes || (!real_meet(job->ws, job->ws_bytes, job->z, ny) && !real_meet(job->ws, job->ws_bytes, job->bias, nb)),
		CUDNN_STATUS_BAD_PARAM);
	return CUDNN_STATUS_SUCCESS;
}

API cudnnStatus_t cudnnConvolutionBiasActivationForward(cudnnHandle_t handle, const void *alpha,
	const cudnnTensorDescriptor_t x_desc, const void *x, const cudnnFilterDescriptor_t w_desc, const void *w,
	const cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algo, void *ws, size_t ws_bytes, const void *alpha2,
	const cudnnTensorDescriptor_t z_desc, const void *z, const cudnnTensorDescriptor_t bias_desc, const void *bias,
	const cudnnActivationDescriptor_t act, const cudnnTensorDescriptor_t y_desc, void *y);
cudnnStatus_t cudnnConvolutionBiasActivationForward(cudnnHandle_t handle, const void *alpha,
	const cudnnTensorDescriptor_t x_desc, const void *x, const cudnnFilterDescriptor_t w_desc, const void *w,
	const cudnnConvolutionDescriptor_t conv, cudnnConvolutionFwdAlgo_t algo, void *ws, size_t ws_bytes, const void *alpha2,
	const cudnnTensorDescriptor_t z_desc, const void *z, const cudnnTensorDescriptor_t bias_desc, const void *bias,
	const cudnnActivationDescriptor_t act, const cudnnTensorDescriptor_t y_desc, void *y) {
	CALL();
	static const float nothing = 0;
	fake_conv job;
	cudnnStatus_t s = dnn_agree(&job, FORWARD, handle, x_desc, w_desc, conv, y_desc);
	job.algo = (int)algo;
	if (s || (s = fusable(&job, z_desc, bias_desc, act, y_desc)))
		return s;
	NEED(alpha2, CUDNN_STATUS_BAD_PARAM_NULL_POINTER);
	job.x = x, job.f = w, job.y = y, job.ws = ws, job.ws_bytes = ws_bytes;
	job.fused = 1, job.relu = act->mode == CUDNN_ACTIVATION_RELU, job.alpha2 = *(const float *)alpha2, job.bias = bias, job.z = z;
	if ((s = placed(&job)))
		return s;
	return dnn_perform(&job, handle, "cudnnForwardFused", alpha, &nothing);
}
