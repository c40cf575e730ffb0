/* The mean of squared differences, and its gradient. */

#include "wide.cuh"

typedef struct {
	const real *x, *target;
	const float *dloss; /* a scalar; backwards only */
	real *dx;           /* backwards only */
	float *y;           /* the loss; forwards only */
	float *part;        /* of each block; forwards only */
	u32 *arrived;       /* a counter that is zero; forwards only */
	i64 items;          /* vectors of WIDTH elements */
	float scale;        /* 1/n */
} mse_args, mse_backward_args;

#define EACH_ITEM(i) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += (i64)gridDim.x * blockDim.x)

/* Each block adds its elements, the last block the blocks, in the order of their
 * numbers. */
KERNEL(mse)(mse_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[32];
	__shared__ int last;
	float x[WIDTH], t[WIDTH], sum = 0.f;
	EACH_ITEM(i) {
		load(a.x + i * WIDTH, x);
		load(a.target + i * WIDTH, t);
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum = fmaf(x[l] - t[l], x[l] - t[l], sum);
	}
	sum = block_sum(sum, shared);
	if (thread_index() == 0) a.part[blockIdx.x] = sum;
	if (!last_block(a.arrived, gridDim.x, &last)) return;
	sum = 0.f;
	for (int i = thread_index(); i < (int)gridDim.x; i += thread_count()) sum += a.part[i];
	sum = block_sum(sum, shared);
	if (thread_index() == 0) *a.y = sum * a.scale;
}

KERNEL(mse_backward)(mse_backward_args a) {
	WAIT_FOR_EARLIER();
	float x[WIDTH], t[WIDTH], scale = 2.f * *a.dloss * a.scale;
	EACH_ITEM(i) {
		load(a.x + i * WIDTH, x);
		load(a.target + i * WIDTH, t);
		UNROLL
		for (int l = 0; l < WIDTH; l++) x[l] = scale * (x[l] - t[l]);
		store(a.dx + i * WIDTH, x);
	}
}
