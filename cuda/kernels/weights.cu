/* Weights, brought into the type and the layout in which cuDNN and cuBLASLt take
 * them: all those of a run in one launch (see tensors.cuh). An entry with rows is
 * the float32 matrix [rows,cols], which becomes its transpose: HWIO weights, read as
 * [KH·KW·I,O], become KRSC, [O,KH·KW·I]. A block takes a tile of 32×32 of it,
 * through shared memory, whose rows are one longer to keep to different banks. An
 * entry without rows has `cols` elements, which keep their order; a null x stands
 * for zeros. */

#include "tensors.cuh"

typedef struct {
	const float *x[TENSORS];
	real *y[TENSORS];
	int rows[TENSORS], cols[TENSORS], first[TENSORS]; /* first: block */
	int count;
} weights_args;

/* Four elements at i of n; what is beyond n is not stored. */
DEVICE void store_reals_up_to(real *y, int i, int n, float4 v) {
	if (i + 4 <= n) {
		st4(y + i, v);
		return;
	}
	if (i < n) st(y + i, v.x);
	if (i + 1 < n) st(y + i + 1, v.y);
	if (i + 2 < n) st(y + i + 2, v.z);
}

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(THREADS)

KERNEL(weights)(weights_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float tile[32][33];
	FIND_TENSOR(t, a)
	const float *x = a.x[t];
	real *y = a.y[t];
	const int rows = a.rows[t], cols = a.cols[t];
	if (rows == 0) {
		UNROLL
		for (int u = 0; u < DEPTH; u++) {
			int i = ELEMENT(a, t, u);
			store_reals_up_to(y, i, cols, x ? load_up_to(x, i, cols) : zero4());
		}
		return;
	}
	const int across = CEIL_DIV(cols, 32), block = (int)blockIdx.x - a.first[t];
	const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32;
	const int top = block / across * 32, left = block % across * 32;
	for (int r = line; r < 32; r += THREADS / 32) {
		if (top + r < rows && left + lane < cols) tile[r][lane] = x[(i64)(top + r) * cols + left + lane];
	}
	__syncthreads();
	for (int r = line; r < 32; r += THREADS / 32) {
		if (left + r < cols && top + lane < rows) st(y + (i64)(left + r) * rows + top + lane, tile[lane][r]);
	}
}
