/* Group normalization of images [N, pixels, channels] (Wu and He,
 * arXiv:1803.08494). blockIdx.x counts the parts of all images, `chunks` an
 * image, and a thread has its channels' parameters in registers.
 *
 * Statistics: a thread adds up its pixels and their squares, both less its first
 * pixel, so that nothing is lost however large the mean is; the lines are merged
 * by Chan, Golub and LeVeque's rule (1979), and group_norm_finish merges a
 * group's channels and parts. All orders are fixed. */

#include "columns.cuh"

typedef struct {
	const real *x, *dy;
	const float *gamma, *beta, *mu, *r; /* μ, r: [N, groups] */
	real *y;                            /* or dx */
	float *part;                        /* of the blocks: statistics or sums */
	const float *coef;                  /* [N, groups, 2], of dx */
	i64 pixels, rows;                   /* of an image, and of a block */
	int chunks, groups, each;           /* parts of an image; groups, channels of each */
	columns c;
} group_norm_args, group_norm_stats_args, group_norm_grad_args, group_norm_dx_args;

/* The rows [from, to) of a block, counted over all images. */
typedef struct { i64 from, to; int image; } span;

DEVICE span span_of(group_norm_args a) {
	span s;
	i64 end;
	s.image = (int)(blockIdx.x / (u32)a.chunks);
	end = (i64)(s.image + 1) * a.pixels;
	s.from = (i64)s.image * a.pixels + (i64)(blockIdx.x % (u32)a.chunks) * a.rows;
	s.to = s.from + a.rows < end ? s.from + a.rows : end;
	return s;
}

/* part: [blocks, 2, channels], means and the squares about them. */
KERNEL(group_norm_stats)(group_norm_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared_n[NORM_THREADS];
	__shared__ float shared_mean[WIDTH][NORM_THREADS];
	__shared__ float shared_m2[WIDTH][NORM_THREADS];
	span b = span_of(a);
	column at = column_of(a.c);
	float first[WIDTH], s[WIDTH], q[WIDTH], n = 0.f;
	int t = (int)threadIdx.x, half = 1;
	UNROLL
	for (int l = 0; l < WIDTH; l++) first[l] = s[l] = q[l] = 0.f;
	if (at.k >= 0) {
		for (i64 row = b.from + at.line; row < b.to; row += a.c.lines) {
			float v[WIDTH];
			load(a.x + (row * a.c.vectors + at.k) * WIDTH, v);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				if (n == 0.f) first[l] = v[l];
				float d = v[l] - first[l];
				s[l] += d;
				q[l] = fmaf(d, d, q[l]);
			}
			n += 1.f;
		}
	}
	shared_n[t] = n;
	UNROLL
	for (int l = 0; l < WIDTH; l++) {
		float mean = n > 0.f ? s[l] / n : 0.f;
		shared_mean[l][t] = first[l] + mean;
		shared_m2[l][t] = fmaf(-mean, s[l], q[l]);
	}
	while (2 * half < a.c.lines) half *= 2;
	for (; half > 0; half /= 2) {
		__syncthreads();
		if (at.line < half && at.line + half < a.c.lines) {
			int other = t + half * a.c.tile;
			float na = shared_n[t], nb = shared_n[other], total = na + nb, w = nb > 0.f ? nb / total : 0.f;
			shared_n[t] = total;
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				float d = shared_mean[l][other] - shared_mean[l][t];
				shared_mean[l][t] = fmaf(d, w, shared_mean[l][t]);
				shared_m2[l][t] += fmaf(d * d, na * w, shared_m2[l][other]);
			}
		}
	}
	if (at.line > 0 || at.k < 0) return;
	i64 channels = (i64)a.c.vectors * WIDTH;
	float *part = a.part + 2 * (i64)blockIdx.x * channels + (i64)at.k * WIDTH;
	UNROLL
	for (int l = 0; l < WIDTH; l++) part[l] = shared_mean[l][t], part[channels + l] = shared_m2[l][t];
}

/* The sum of v over the block, in all threads, which must all call; their number
 * is a power of two. */
DEVICE double total(double *shared, double v) {
	int t = (int)threadIdx.x;
	shared[t] = v;
	for (int half = (int)blockDim.x / 2; half > 0; half /= 2) {
		__syncthreads();
		if (t < half) shared[t] += shared[t + half];
	}
	__syncthreads();
	v = shared[0];
	__syncthreads();
	return v;
}

typedef struct {
	const float *part, *gamma, *r; /* of group_norm_finish: part alone */
	float *mu, *out;               /* out: r, or the coefficients */
	i64 pixels, rows, parts;       /* parts: of all images */
	int chunks, groups, each;
	float eps;
} group_norm_finish_args, group_norm_coef_args;

/* A block a group of an image: its part i of the image's chunks and the group's
 * channels, as a place among [chunks, channels]. */
typedef struct { int chunk, channel; } item;

DEVICE item item_of(group_norm_finish_args a, int i) {
	item t;
	t.chunk = i / a.each;
	t.channel = (int)(blockIdx.x % (u32)a.groups) * a.each + (i - t.chunk * a.each);
	return t;
}

/* μ and r, in double: there are few parts. */
KERNEL(group_norm_finish)(group_norm_finish_args a) {
	WAIT_FOR_EARLIER();
	__shared__ double shared[NORM_THREADS];
	int items = a.chunks * a.each;
	i64 channels = (i64)a.groups * a.each, first = (i64)(blockIdx.x / (u32)a.groups) * a.chunks;
	double m = (double)a.pixels * a.each, mu = 0, q = 0;
	for (int i = (int)threadIdx.x; i < items; i += (int)blockDim.x) {
		item t = item_of(a, i);
		i64 left = a.pixels - t.chunk * a.rows;
		mu += (double)(left < a.rows ? left : a.rows) * a.part[2 * (first + t.chunk) * channels + t.channel];
	}
	mu = total(shared, mu) / m;
	for (int i = (int)threadIdx.x; i < items; i += (int)blockDim.x) {
		item t = item_of(a, i);
		i64 left = a.pixels - t.chunk * a.rows;
		const float *p = a.part + 2 * (first + t.chunk) * channels + t.channel;
		double d = p[0] - mu;
		q += p[channels] + (double)(left < a.rows ? left : a.rows) * d * d;
	}
	q = total(shared, q);
	if (threadIdx.x > 0) return;
	a.mu[blockIdx.x] = (float)mu;
	a.out[blockIdx.x] = (float)(1 / sqrt((q < 0 ? 0 : q) / m + (double)a.eps));
}

/* A thread's channels: their mean and r. */
DEVICE void groups_of(group_norm_args a, int image, int k, float *mean, float *r) {
	UNROLL
	for (int l = 0; l < WIDTH; l++) {
		int g = image * a.groups + (k * WIDTH + l) / a.each;
		mean[l] = a.mu[g], r[l] = a.r[g];
	}
}

KERNEL(group_norm)(group_norm_args a) {
	WAIT_FOR_EARLIER();
	span b = span_of(a);
	column at = column_of(a.c);
	float mean[WIDTH], scale[WIDTH], shift[WIDTH];
	if (at.k < 0) return;
	groups_of(a, b.image, at.k, mean, scale);
	UNROLL
	for (int l = 0; l < WIDTH; l++) scale[l] *= a.gamma[at.k * WIDTH + l], shift[l] = a.beta[at.k * WIDTH + l];
	for (i64 row = b.from + at.line; row < b.to; row += a.c.lines) {
		i64 p = (row * a.c.vectors + at.k) * WIDTH;
		float v[WIDTH];
		load(a.x + p, v);
		UNROLL
		for (int l = 0; l < WIDTH; l++) v[l] = fmaf(v[l] - mean[l], scale[l], shift[l]);
		store(a.y + p, v);
	}
}

/* part: [2, blocks, channels], as store_sums has it. */
KERNEL(group_norm_grad)(group_norm_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * WIDTH * NORM_THREADS];
	span b = span_of(a);
	column at = column_of(a.c);
	norm_sums s;
	UNROLL
	for (int l = 0; l < WIDTH; l++) s.dot[l] = s.sum[l] = 0.f;
	if (at.k >= 0) {
		float mean[WIDTH], r[WIDTH];
		groups_of(a, b.image, at.k, mean, r);
		for (i64 row = b.from + at.line; row < b.to; row += a.c.lines) {
			i64 p = (row * a.c.vectors + at.k) * WIDTH;
			float v[WIDTH], g[WIDTH];
			load(a.x + p, v), load(a.dy + p, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				s.sum[l] += g[l];
				s.dot[l] = fmaf(g[l], v[l] - mean[l], s.dot[l]);
			}
		}
		UNROLL
		for (int l = 0; l < WIDTH; l++) s.dot[l] *= r[l];
	}
	store_sums(s, a.c, at, shared, a.part, blockIdx.x, gridDim.x);
}

/* The coefficients of dx = γ·r·dy + c1·(x-μ) + c2 of a group of an image. */
KERNEL(group_norm_coef)(group_norm_finish_args a) {
	WAIT_FOR_EARLIER();
	__shared__ double shared[NORM_THREADS];
	int items = a.chunks * a.each;
	i64 channels = (i64)a.groups * a.each, first = (i64)(blockIdx.x / (u32)a.groups) * a.chunks;
	double d = 0, s = 0;
	for (int i = (int)threadIdx.x; i < items; i += (int)blockDim.x) {
		item t = item_of(a, i);
		const float *p = a.part + (first + t.chunk) * channels + t.channel;
		d += (double)a.gamma[t.channel] * p[0];
		s += (double)a.gamma[t.channel] * p[a.parts * channels];
	}
	d = total(shared, d);
	s = total(shared, s);
	if (threadIdx.x > 0) return;
	double r = a.r[blockIdx.x], m = (double)a.pixels * a.each;
	a.out[2 * blockIdx.x] = (float)(-r * r * d / m);
	a.out[2 * blockIdx.x + 1] = (float)(-r * s / m);
}

KERNEL(group_norm_dx)(group_norm_args a) {
	WAIT_FOR_EARLIER();
	span b = span_of(a);
	column at = column_of(a.c);
	float mean[WIDTH], scale[WIDTH], c1[WIDTH], c2[WIDTH];
	if (at.k < 0) return;
	groups_of(a, b.image, at.k, mean, scale);
	UNROLL
	for (int l = 0; l < WIDTH; l++) {
		int g = b.image * a.groups + (at.k * WIDTH + l) / a.each;
		scale[l] *= a.gamma[at.k * WIDTH + l];
		c1[l] = a.coef[2 * g], c2[l] = a.coef[2 * g + 1];
	}
	for (i64 row = b.from + at.line; row < b.to; row += a.c.lines) {
		i64 p = (row * a.c.vectors + at.k) * WIDTH;
		float v[WIDTH], g[WIDTH];
		load(a.x + p, v), load(a.dy + p, g);
		UNROLL
		for (int l = 0; l < WIDTH; l++) v[l] = fmaf(scale[l], g[l], fmaf(c1[l], v[l] - mean[l], c2[l]));
		store(a.y + p, v);
	}
}
