/* Batch normalization of x [m, c], channels innermost (Ioffe and Szegedy,
 * arXiv:1502.03167): statistics, running statistics, y = f((x-μ)·r·γ + β).
 *
 * So that every load moves sixteen bytes whatever c is, x is seen as rows of
 * width vectors: width·VEC is the least common multiple of c and VEC, column k
 * of a row belongs to channel k mod c, and a channel has `copies` columns. A
 * block is lines × tile threads. A thread keeps to one vector of columns, whose
 * parameters it holds in registers, and takes every lines-th row of the block's
 * `chunk` rows. What is left of x behind the last whole row, less than `copies`
 * pixels, is the tail.
 *
 * Statistics: a thread reads `BN_GROUP` rows into registers and computes their
 * mean and then their squares about it, which loses nothing however large the
 * mean is, and merges that into its running result (Chan, Golub and LeVeque,
 * 1979); so do the block's lines. bn_finish merges the blocks. Every order is
 * fixed. bn_apply walks from each chunk's end to its start: what bn_stats has
 * read last is still in the L2 cache. */

#include "batchnorm.cuh"

#define BN_GROUP (32 / VEC)

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(BN_THREADS, 2)

/* ---- statistics ---- */

typedef struct {
	const real *x;
	float *part; /* [blocks, 2, width·VEC]: means, squares about them */
	size_t rows;
	u32 chunk;
	int width, tile, lines;
} bn_stats_args;

/* Merges count rows at p, step elements apart, into n rows of mean and m2. */
DEVICE void bn_group(const real *p, size_t step, int count, float *n, float *mean, float *m2) {
	float v[BN_GROUP][VEC];
	float inv = 1.f / (float)count, total = *n + (float)count, w = (float)count / total, nw = *n * w;
	UNROLL
	for (int i = 0; i < BN_GROUP; i++) {
		if (i < count) {
			ldv(p + i * step, v[i]);
		} else {
			UNROLL
			for (int k = 0; k < VEC; k++) v[i][k] = 0.f;
		}
	}
	UNROLL
	for (int k = 0; k < VEC; k++) {
		float s = 0.f, q = 0.f;
		UNROLL
		for (int i = 0; i < BN_GROUP; i++) s += v[i][k];
		s *= inv;
		UNROLL
		for (int i = 0; i < BN_GROUP; i++) {
			float d = i < count ? v[i][k] - s : 0.f;
			q = fmaf(d, d, q);
		}
		float d = s - mean[k];
		mean[k] = fmaf(d, w, mean[k]);
		m2[k] += fmaf(d * d, nw, q);
	}
	*n = total;
}

KERNEL(bn_stats)(bn_stats_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared_n[BN_THREADS];
	__shared__ float shared_mean[VEC][BN_THREADS];
	__shared__ float shared_m2[VEC][BN_THREADS];
	bn_span s = bn_rows(a.rows, a.chunk, a.width, a.tile, a.lines);
	size_t step = (size_t)a.lines * (size_t)a.width * VEC;
	const real *p = a.x + s.at;
	float n = 0.f, mean[VEC], m2[VEC];
	UNROLL
	for (int k = 0; k < VEC; k++) mean[k] = m2[k] = 0.f;
	int left = s.rows;
	for (; left >= BN_GROUP; left -= BN_GROUP, p += BN_GROUP * step) bn_group(p, step, BN_GROUP, &n, mean, m2);
	if (left > 0) bn_group(p, step, left, &n, mean, m2);

	int t = (int)threadIdx.x, half = 1;
	shared_n[t] = n;
	UNROLL
	for (int k = 0; k < VEC; k++) shared_mean[k][t] = mean[k], shared_m2[k][t] = m2[k];
	while (2 * half < a.lines) half *= 2;
	for (; half > 0; half /= 2) {
		__syncthreads();
		if (s.line < half && s.line + half < a.lines) {
			int other = t + half * a.tile;
			float na = shared_n[t], nb = shared_n[other];
			float total = na + nb, w = nb > 0.f ? nb / total : 0.f;
			shared_n[t] = total;
			UNROLL
			for (int k = 0; k < VEC; k++) {
				float d = shared_mean[k][other] - shared_mean[k][t];
				shared_mean[k][t] = fmaf(d, w, shared_mean[k][t]);
				shared_m2[k][t] += fmaf(d * d, na * w, shared_m2[k][other]);
			}
		}
	}
	if (s.line == 0 && s.column < a.width) {
		size_t row = (size_t)a.width * VEC;
		float *part = a.part + 2 * row * blockIdx.x + (size_t)s.column * VEC;
		UNROLL
		for (int k = 0; k < VEC; k++) part[k] = shared_mean[k][t], part[row + k] = shared_m2[k][t];
	}
}

typedef struct {
	const real *x;
	const float *part, *run_mean, *run_var;
	float *mu, *r, *new_mean, *new_var; /* the last two may lie where the running ones do */
	size_t m, rows;
	u32 chunk;
	int blocks, copies, width, channels;
	float eps, momentum;
} bn_finish_args;

/* One channel a thread column: the mean of all parts and the tail, and then the
 * squares about it. In double: there are few of them. */
KERNEL(bn_finish)(bn_finish_args a) {
	WAIT_FOR_EARLIER();
	__shared__ double shared[BN_THREADS];
	int c = (int)(blockIdx.x * BN_CHANNELS + threadIdx.x % BN_CHANNELS), slot = (int)threadIdx.x / BN_CHANNELS;
	int parts = c < a.channels ? a.blocks * a.copies : 0;
	size_t row = (size_t)a.width * VEC, tail = a.rows * row + (size_t)c;
	int rest = c < a.channels && slot == 0 ? (int)(a.m - a.rows * (size_t)a.copies) : 0;
	double s = 0;
	UNROLL2
	for (int i = slot; i < parts; i += BN_SLOTS) {
		size_t b = (size_t)(i / a.copies), left = a.rows - b * a.chunk;
		const float *p = a.part + 2 * row * b + (size_t)(i % a.copies) * (size_t)a.channels + (size_t)c;
		s += (double)(left < a.chunk ? left : a.chunk) * p[0];
	}
	for (int i = 0; i < rest; i++) s += ld(a.x + tail + (size_t)i * (size_t)a.channels);
	double mu = bn_total(shared, s) / (double)a.m;
	double q = 0;
	UNROLL2
	for (int i = slot; i < parts; i += BN_SLOTS) {
		size_t b = (size_t)(i / a.copies), left = a.rows - b * a.chunk;
		const float *p = a.part + 2 * row * b + (size_t)(i % a.copies) * (size_t)a.channels + (size_t)c;
		double d = p[0] - mu;
		q += p[row] + (double)(left < a.chunk ? left : a.chunk) * d * d;
	}
	for (int i = 0; i < rest; i++) {
		double d = ld(a.x + tail + (size_t)i * (size_t)a.channels) - mu;
		q += d * d;
	}
	q = bn_total(shared, q);
	if (c < a.channels && slot == 0) {
		double keep = 1 - (double)a.momentum, m = (double)a.m;
		a.mu[c] = (float)mu;
		a.r[c] = (float)(1 / sqrt(q / m + (double)a.eps));
		a.new_mean[c] = (float)fma((double)a.momentum, (double)(float)mu, keep * a.run_mean[c]);
		a.new_var[c] = (float)fma((double)a.momentum, (double)(float)(q / (m - 1)), keep * a.run_var[c]);
	}
}

/* ---- y = f((x-mean)·scale + β) ---- */

typedef struct {
	const real *x;
	real *y;
	const float *gamma, *beta, *mean, *second; /* second: r, or with eval the variance */
	size_t m, rows;
	u32 chunk;
	int width, tile, lines, copies, channels, eval, act;
	float eps;
} bn_apply_args;

typedef struct { float mean, scale, shift; } bn_channel;

DEVICE bn_channel bn_channel_at(const bn_apply_args *a, int c) {
	bn_channel p;
	float r = a->second[c];
	if (a->eval) r = 1.f / sqrtf(r + a->eps);
	p.mean = a->mean[c], p.scale = r * a->gamma[c], p.shift = a->beta[c];
	return p;
}

DEVICE float bn_value(float x, bn_channel p) { return fmaf(x - p.mean, p.scale, p.shift); }

KERNEL(bn_apply)(bn_apply_args a) {
	WAIT_FOR_EARLIER();
	bn_span s = bn_rows(a.rows, a.chunk, a.width, a.tile, a.lines);
	size_t step = (size_t)a.lines * (size_t)a.width * VEC;
	if (s.rows > 0) {
		bn_channel p[VEC];
		UNROLL
		for (int k = 0; k < VEC; k++) p[k] = bn_channel_at(&a, (s.column * VEC + k) % a.channels);
		int left = s.rows;
		size_t at = s.at + (size_t)left * step;
		for (; left >= BN_ROWS; left -= BN_ROWS) {
			float v[BN_ROWS][VEC];
			at -= BN_ROWS * step;
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) ldv(a.x + at + i * step, v[i]);
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) {
				UNROLL
				for (int k = 0; k < VEC; k++) v[i][k] = act(a.act, bn_value(v[i][k], p[k]));
				stv(a.y + at + i * step, v[i]);
			}
		}
		for (; left > 0; left--) {
			float v[VEC];
			at -= step;
			ldv(a.x + at, v);
			UNROLL
			for (int k = 0; k < VEC; k++) v[k] = act(a.act, bn_value(v[k], p[k]));
			stv(a.y + at, v);
		}
	}
	if (blockIdx.x == 0 && blockIdx.y == 0) {
		size_t at = a.rows * (size_t)a.width * VEC;
		int rest = (int)(a.m - a.rows * (size_t)a.copies) * a.channels;
		for (int i = (int)threadIdx.x; i < rest; i += (int)blockDim.x)
			st(a.y + at + i, act(a.act, bn_value(ld(a.x + at + i), bn_channel_at(&a, i % a.channels))));
	}
}

/* ---- folding into the convolution before ---- */

typedef struct {
	const float *w, *bias, *gamma, *beta, *mean, *variance; /* bias may be 0 */
	float *wout, *bout;
	int k, o;
	float eps;
} bn_fold_args;

/* w' = w·s and b' = (b-mean)·s + β with s = γ/√(var+eps): one thread a channel
 * and some of the k rows of w. */
KERNEL(bn_fold)(bn_fold_args a) {
	WAIT_FOR_EARLIER();
	int o = (int)(blockIdx.x * blockDim.x + threadIdx.x);
	if (o >= a.o) return;
	float s = a.gamma[o] / sqrtf(a.variance[o] + a.eps);
	for (int i = (int)blockIdx.y; i < a.k; i += (int)gridDim.y) {
		size_t at = (size_t)i * (size_t)a.o + (size_t)o;
		a.wout[at] = a.w[at] * s;
	}
	if (blockIdx.y == 0) a.bout[o] = fmaf((a.bias ? a.bias[o] : 0.f) - a.mean[o], s, a.beta[o]);
}
