/* Softmax over the channels, its logarithm under -DLOG, and their gradients: each
 * row by one warp, which reads it several times from the L1 cache. */

#include "columns.cuh"

typedef struct {
	const real *x, *dy; /* backwards x is y */
	real *y;            /* or dx */
	i64 rows;
	int vectors; /* of WIDTH channels, a row */
} softmax_args;

#define WARP_ROWS(row) \
	for (i64 row = (i64)blockIdx.x * (NORM_THREADS / 32) + threadIdx.x / 32; row < a.rows; row += (i64)gridDim.x * (NORM_THREADS / 32))
#define EACH(p, first) for (const real *p = (first) + lane * WIDTH; p < (first) + (i64)a.vectors * WIDTH; p += 32 * WIDTH)

KERNEL(softmax)(softmax_args a) {
	WAIT_FOR_EARLIER();
	int lane = (int)threadIdx.x % 32;
	WARP_ROWS(row) {
		const real *x = a.x + row * a.vectors * WIDTH;
		float v[WIDTH], top = -INFINITE, sum = 0.f;
		EACH(p, x) {
			load(p, v);
			UNROLL
			for (int l = 0; l < WIDTH; l++) top = fmaxf(top, v[l]);
		}
		top = warp_max(top);
		EACH(p, x) {
			load(p, v);
			UNROLL
			for (int l = 0; l < WIDTH; l++) sum += expf(v[l] - top);
		}
		sum = warp_sum(sum);
#ifdef LOG
		sum = logf(sum);
#else
		sum = 1.f / sum;
#endif
		EACH(p, x) {
			load(p, v);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
#ifdef LOG
				v[l] = v[l] - top - sum;
#else
				v[l] = expf(v[l] - top) * sum;
#endif
			}
			store(a.y + (p - a.x), v);
		}
	}
}

KERNEL(softmax_backward)(softmax_args a) {
	WAIT_FOR_EARLIER();
	int lane = (int)threadIdx.x % 32;
	WARP_ROWS(row) {
		const real *y = a.x + row * a.vectors * WIDTH;
		float v[WIDTH], g[WIDTH], sum = 0.f;
		EACH(p, y) {
			load(p, v), load(a.dy + (p - a.x), g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
#ifdef LOG
				sum += g[l];
#else
				sum = fmaf(g[l], v[l], sum);
#endif
			}
		}
		sum = warp_sum(sum);
		EACH(p, y) {
			load(p, v), load(a.dy + (p - a.x), g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
#ifdef LOG
				v[l] = g[l] - expf(v[l]) * sum;
#else
				v[l] *= g[l] - sum;
#endif
			}
			store(a.y + (p - a.x), v);
		}
	}
}
