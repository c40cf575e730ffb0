/* Pools of codes, a thread an output. */

#include "codes.cuh"

typedef struct {
	const u8 *x;
	u8 *y;
	i64 n; /* outputs */
	int h, w, c, oh, ow, kh, kw, sh, sw, dh, dw, top, left, bottom, right;
	int exclude; /* padding is not counted in a mean */
	int zero;
	float m;
	codes out;
} qmaxpool_args, qavgpool_args;

/* A window along an axis: the first and the end of it in the picture, in steps of
 * the dilation, and how many places it has there and in the padding. */
typedef struct { int first, end, extent; } qspan;

DEVICE qspan span_of(int i, int k, int s, int d, int before, int after, int n) {
	int start = i * s - before, end = start + d * (k - 1) + 1;
	qspan w;
	w.first = start < 0 ? start + (-start + d - 1) / d * d : start;
	w.end = end < n ? end : n;
	w.extent = (end < n + after ? end : n + after) - start;
	return w;
}

#define WINDOW(a, i)                                                                          \
	int c = (int)(i % a.c), j = (int)(i / a.c % a.ow), row = (int)(i / a.c / a.ow % a.oh);       \
	const u8 *x = a.x + i / a.c / a.ow / a.oh * a.h * a.w * a.c + c;                             \
	qspan r = span_of(row, a.kh, a.sh, a.dh, a.top, a.bottom, a.h);                              \
	qspan s = span_of(j, a.kw, a.sw, a.dw, a.left, a.right, a.w)

KERNEL(qmaxpool)(qmaxpool_args a) {
	WAIT_FOR_EARLIER();
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		WINDOW(a, i);
		int best = 0;
		for (int h = r.first; h < r.end; h += a.dh)
			for (int w = s.first; w < s.end; w += a.dw) {
				int v = x[((i64)h * a.w + w) * a.c];
				best = v > best ? v : best;
			}
		a.y[i] = (u8)best;
	}
}

KERNEL(qavgpool)(qavgpool_args a) {
	WAIT_FOR_EARLIER();
	for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < a.n; i += (i64)gridDim.x * blockDim.x) {
		WINDOW(a, i);
		int sum = 0, d = a.exclude ? (r.end - r.first) * (s.end - s.first) : r.extent * s.extent;
		for (int h = r.first; h < r.end; h++)
			for (int w = s.first; w < s.end; w++) sum += (int)x[((i64)h * a.w + w) * a.c] - a.zero;
		a.y[i] = code_of(__fmul_rn((float)sum, __fdiv_rn(a.m, (float)d)), a.out);
	}
}
