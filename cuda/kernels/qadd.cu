/* Sums and products of two tensors of codes. */

#include "codes.cuh"

typedef struct {
	const u8 *a, *b;
	u8 *y;
	i64 n;
	int azero, bzero;
	float ma, mb;
	codes c;
} qadd_args;

KERNEL(qadd)(qadd_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		float u = __fmul_rn((float)((int)a.a[i] - a.azero), a.ma), v = __fmul_rn((float)((int)a.b[i] - a.bzero), a.mb);
		a.y[i] = code_of(__fadd_rn(u, v), a.c);
	}
}

/* A vector of `channels` of b is for `each` pixels of a. */
typedef struct {
	const u8 *a, *b;
	u8 *y;
	i64 n, each, channels;
	int azero, bzero;
	float m;
	codes c;
} qmul_args;

KERNEL(qmul)(qmul_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		int b = a.b[i / (a.each * a.channels) * a.channels + i % a.channels];
		a.y[i] = code_of(__fmul_rn((float)(((int)a.a[i] - a.azero) * (b - a.bzero)), a.m), a.c);
	}
}
