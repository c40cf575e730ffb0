/* Layer normalization of rows of channels (Ba, Kiros and Hinton, arXiv:1607.06450):
 * each row by itself, by one warp, which reads it several times from the L1 cache.
 *
 * Statistics are a mean and then the squares about it, in which what the rounded
 * mean leaves over is taken into account: nothing is lost however large the mean
 * is. The gradients of γ and β are sums over the rows: layer_norm_grad makes a
 * part of them a block, and layout.cu's column_total adds the parts up. */

#include "columns.cuh"

typedef struct {
	const real *x, *dy;
	const float *gamma, *beta;
	real *y;      /* or dx */
	float *stats; /* backwards only: [rows, 2], mean and r */
	i64 rows;
	int vectors; /* of WIDTH channels, a row */
	float eps;
} layer_norm_args, layer_norm_dx_args;

typedef struct { float mean, r; } norm_row;

DEVICE norm_row row_stats(layer_norm_args a, const real *x, int lane) {
	float s = 0.f, rest = 0.f, q = 0.f, each = 1.f / (float)(a.vectors * WIDTH), v[WIDTH];
	norm_row f;
	for (int k = lane; k < a.vectors; k += 32) {
		load(x + (i64)k * WIDTH, v);
		UNROLL
		for (int l = 0; l < WIDTH; l++) s += v[l];
	}
	f.mean = warp_sum(s) * each;
	for (int k = lane; k < a.vectors; k += 32) {
		load(x + (i64)k * WIDTH, v);
		UNROLL
		for (int l = 0; l < WIDTH; l++) {
			float d = v[l] - f.mean;
			rest += d;
			q = fmaf(d, d, q);
		}
	}
	rest = warp_sum(rest) * each;
	q = fmaf(-rest, rest, warp_sum(q) * each);
	f.mean += rest;
	f.r = 1.f / sqrtf((q < 0.f ? 0.f : q) + a.eps);
	return f;
}

/* Runs body for every row of the warp. */
#define WARP_ROWS(row) \
	for (i64 row = (i64)blockIdx.x * (NORM_THREADS / 32) + threadIdx.x / 32; row < a.rows; row += (i64)gridDim.x * (NORM_THREADS / 32))

KERNEL(layer_norm)(layer_norm_args a) {
	WAIT_FOR_EARLIER();
	int lane = (int)threadIdx.x % 32;
	WARP_ROWS(row) {
		i64 first = row * a.vectors * WIDTH;
		norm_row f = row_stats(a, a.x + first, lane);
		for (int k = lane; k < a.vectors; k += 32) {
			float v[WIDTH];
			load(a.x + first + (i64)k * WIDTH, v);
			UNROLL
			for (int l = 0; l < WIDTH; l++) v[l] = fmaf((v[l] - f.mean) * f.r, a.gamma[k * WIDTH + l], a.beta[k * WIDTH + l]);
			store(a.y + first + (i64)k * WIDTH, v);
		}
	}
}

/* dx = r·(g - Σg/C - (x-μ)·r²·Σ(g·(x-μ))/C) with g = dy·γ; the statistics are
 * kept for layer_norm_grad. */
KERNEL(layer_norm_dx)(layer_norm_args a) {
	WAIT_FOR_EARLIER();
	int lane = (int)threadIdx.x % 32;
	float each = 1.f / (float)(a.vectors * WIDTH);
	WARP_ROWS(row) {
		i64 first = row * a.vectors * WIDTH;
		norm_row f = row_stats(a, a.x + first, lane);
		float s = 0.f, d = 0.f, v[WIDTH], g[WIDTH];
		for (int k = lane; k < a.vectors; k += 32) {
			load(a.x + first + (i64)k * WIDTH, v), load(a.dy + first + (i64)k * WIDTH, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				float dyg = g[l] * a.gamma[k * WIDTH + l];
				s += dyg;
				d = fmaf(dyg, v[l] - f.mean, d);
			}
		}
		s = warp_sum(s) * each, d = warp_sum(d) * each * f.r * f.r;
		for (int k = lane; k < a.vectors; k += 32) {
			load(a.x + first + (i64)k * WIDTH, v), load(a.dy + first + (i64)k * WIDTH, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) v[l] = f.r * (fmaf(g[l], a.gamma[k * WIDTH + l], -s) - (v[l] - f.mean) * d);
			store(a.y + first + (i64)k * WIDTH, v);
		}
		if (lane == 0) a.stats[2 * row] = f.mean, a.stats[2 * row + 1] = f.r;
	}
}

typedef struct {
	const real *x, *dy;
	const float *stats;
	float *part; /* [2, blocks along the rows, channels] */
	i64 rows, chunk; /* chunk: rows of a block */
	columns c;
} layer_norm_grad_args;

KERNEL(layer_norm_grad)(layer_norm_grad_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * WIDTH * NORM_THREADS];
	column at = column_of(a.c);
	norm_sums s;
	i64 from = (i64)blockIdx.x * a.chunk, to = from + a.chunk < a.rows ? from + a.chunk : a.rows;
	UNROLL
	for (int l = 0; l < WIDTH; l++) s.dot[l] = s.sum[l] = 0.f;
	if (at.k >= 0) {
		for (i64 row = from + at.line; row < to; row += a.c.lines) {
			float v[WIDTH], g[WIDTH], mean = a.stats[2 * row], r = a.stats[2 * row + 1];
			i64 p = (row * a.c.vectors + at.k) * WIDTH;
			load(a.x + p, v), load(a.dy + p, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				s.sum[l] += g[l];
				s.dot[l] = fmaf(g[l], (v[l] - mean) * r, s.dot[l]);
			}
		}
	}
	store_sums(s, a.c, at, shared, a.part, blockIdx.x, gridDim.x);
}
