/* Floats to codes, codes to floats, and codes to other codes by a table. */

#include "codes.cuh"

typedef struct {
	const float *x;
	u8 *y;
	i64 n;
	float scale;
	codes c;
} quantize_args;

KERNEL(quantize)(quantize_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.y[i] = code_of(__fdiv_rn(a.x[i], a.scale), a.c);
}

typedef struct {
	const u8 *x;
	float *y;
	i64 n;
	float scale;
	int zero;
} dequantize_args;

KERNEL(dequantize)(dequantize_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.y[i] = __fmul_rn((float)((int)a.x[i] - a.zero), a.scale);
}

typedef struct {
	const u8 *x, *table;
	u8 *y;
	i64 n;
} lookup_args;

KERNEL(lookup)(lookup_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x)
		a.y[i] = a.table[a.x[i]];
}
