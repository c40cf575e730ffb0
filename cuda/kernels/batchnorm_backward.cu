/* The gradient of batch normalization and of the activation behind it. x, dy
 * and dx are seen as rows of `width` vectors, and blocks cut into lines, as
 * batchnorm.cu explains. With g = dy·f'(BatchNorm(x)), computed again here:
 *
 *	S = Σg    D = Σg·(x-μ)    dβ = S    dγ = D·r
 *	dx = γ·r·g - (γ·r³·D/M)·(x-μ) - γ·r·S/M
 *
 * bn_grad makes partial sums of S and D (and, with frozen statistics, dx at
 * once); bn_grad_finish adds them up in a fixed order; bn_dx writes dx, from the
 * end of each chunk to its start, because its end is still in the L2 cache. */

#include "batchnorm.cuh"

/* Three blocks a multiprocessor: enough loads under way to fill the memory bus. */
#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(BN_THREADS)

typedef struct {
	const real *x, *dy;
	real *dx;
	const float *gamma, *beta, *mean, *second; /* second: r, or with eval the variance */
	float *part;                               /* [blocks, 2, width·VEC]: S, D */
	const float *coef;                         /* [2, channels]: what (x-μ) and 1 are multiplied by */
	size_t m, rows;
	u32 chunk;
	int width, tile, lines, copies, channels, eval, act;
	float eps;
} bn_grad_args, bn_dx_args;

typedef struct { float mean, scale, shift; } bn_channel;

DEVICE bn_channel bn_channel_at(const bn_grad_args *a, int c) {
	bn_channel p;
	float r = a->second[c];
	if (a->eval) r = 1.f / sqrtf(r + a->eps);
	p.mean = a->mean[c], p.scale = r * a->gamma[c], p.shift = a->act ? a->beta[c] : 0.f;
	return p;
}

/* dy·f'(BatchNorm(x)). d is x-mean. */
DEVICE float bn_through(int f, float d, bn_channel p, float dy) {
	if (f == ACT_IDENTITY) return dy;
	return act_through(f, fmaf(d, p.scale, p.shift), dy);
}

/* The tail: elements behind the last whole row. */
DEVICE int bn_rest(const bn_grad_args *a) { return (int)(a->m - a->rows * (size_t)a->copies) * a->channels; }

/* Adds one vector to the sums; with frozen statistics v becomes its dx. */
DEVICE void bn_accumulate(const bn_grad_args *a, const bn_channel *p, const float *x, float *g, float *s, float *d) {
	UNROLL
	for (int k = 0; k < VEC; k++) {
		float off = x[k] - p[k].mean, v = bn_through(a->act, off, p[k], g[k]);
		s[k] += v;
		d[k] = fmaf(v, off, d[k]);
		g[k] = v * p[k].scale;
	}
}

KERNEL(bn_grad)(bn_grad_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * VEC][BN_THREADS];
	bn_span b = bn_rows(a.rows, a.chunk, a.width, a.tile, a.lines);
	size_t step = (size_t)a.lines * (size_t)a.width * VEC, at = b.at;
	float s[VEC], d[VEC];
	UNROLL
	for (int k = 0; k < VEC; k++) s[k] = d[k] = 0.f;
	if (b.rows > 0) {
		bn_channel p[VEC];
		UNROLL
		for (int k = 0; k < VEC; k++) p[k] = bn_channel_at(&a, (b.column * VEC + k) % a.channels);
		int left = b.rows;
		for (; left >= BN_ROWS; left -= BN_ROWS, at += BN_ROWS * step) {
			float x[BN_ROWS][VEC], g[BN_ROWS][VEC];
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) ldv(a.x + at + i * step, x[i]), ldv(a.dy + at + i * step, g[i]);
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) {
				bn_accumulate(&a, p, x[i], g[i], s, d);
				if (a.eval) stv(a.dx + at + i * step, g[i]);
			}
		}
		for (; left > 0; left--, at += step) {
			float x[VEC], g[VEC];
			ldv(a.x + at, x), ldv(a.dy + at, g);
			bn_accumulate(&a, p, x, g, s, d);
			if (a.eval) stv(a.dx + at, g);
		}
	}
	int t = (int)threadIdx.x, half = 1;
	UNROLL
	for (int k = 0; k < VEC; k++) shared[k][t] = s[k], shared[VEC + k][t] = d[k];
	while (2 * half < a.lines) half *= 2;
	for (; half > 0; half /= 2) {
		__syncthreads();
		if (b.line < half && b.line + half < a.lines) {
			UNROLL
			for (int k = 0; k < 2 * VEC; k++) shared[k][t] += shared[k][t + half * a.tile];
		}
	}
	if (b.line == 0 && b.column < a.width) {
		size_t row = (size_t)a.width * VEC;
		float *part = a.part + 2 * row * blockIdx.x + (size_t)b.column * VEC;
		UNROLL
		for (int k = 0; k < VEC; k++) part[k] = shared[k][t], part[row + k] = shared[VEC + k][t];
	}
	if (a.eval && blockIdx.x == 0 && blockIdx.y == 0) {
		size_t tail = a.rows * (size_t)a.width * VEC;
		for (int i = t; i < bn_rest(&a); i += (int)blockDim.x) {
			bn_channel p = bn_channel_at(&a, i % a.channels);
			st(a.dx + tail + i, p.scale * bn_through(a.act, ld(a.x + tail + i) - p.mean, p, ld(a.dy + tail + i)));
		}
	}
}

KERNEL(bn_dx)(bn_grad_args a) {
	WAIT_FOR_EARLIER();
	bn_span b = bn_rows(a.rows, a.chunk, a.width, a.tile, a.lines);
	size_t step = (size_t)a.lines * (size_t)a.width * VEC;
	if (b.rows > 0) {
		bn_channel p[VEC];
		float c1[VEC], c2[VEC];
		UNROLL
		for (int k = 0; k < VEC; k++) {
			int c = (b.column * VEC + k) % a.channels;
			p[k] = bn_channel_at(&a, c);
			c1[k] = a.coef[c], c2[k] = a.coef[a.channels + c];
		}
		int left = b.rows;
		size_t at = b.at + (size_t)left * step;
		for (; left >= BN_ROWS; left -= BN_ROWS) {
			float x[BN_ROWS][VEC], g[BN_ROWS][VEC];
			at -= BN_ROWS * step;
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) ldv(a.x + at + i * step, x[i]), ldv(a.dy + at + i * step, g[i]);
			UNROLL
			for (int i = 0; i < BN_ROWS; i++) {
				UNROLL
				for (int k = 0; k < VEC; k++) {
					float d = x[i][k] - p[k].mean;
					g[i][k] = fmaf(p[k].scale, bn_through(a.act, d, p[k], g[i][k]), fmaf(c1[k], d, c2[k]));
				}
				stv(a.dx + at + i * step, g[i]);
			}
		}
		for (; left > 0; left--) {
			float x[VEC], g[VEC];
			at -= step;
			ldv(a.x + at, x), ldv(a.dy + at, g);
			UNROLL
			for (int k = 0; k < VEC; k++) {
				float d = x[k] - p[k].mean;
				g[k] = fmaf(p[k].scale, bn_through(a.act, d, p[k], g[k]), fmaf(c1[k], d, c2[k]));
			}
			stv(a.dx + at, g);
		}
	}
	if (blockIdx.x == 0 && blockIdx.y == 0) {
		size_t tail = a.rows * (size_t)a.width * VEC;
		for (int i = (int)threadIdx.x; i < bn_rest(&a); i += (int)blockDim.x) {
			int c = i % a.channels;
			bn_channel p = bn_channel_at(&a, c);
			float d = ld(a.x + tail + i) - p.mean, g = bn_through(a.act, d, p, ld(a.dy + tail + i));
			st(a.dx + tail + i, fmaf(p.scale, g, fmaf(a.coef[c], d, a.coef[a.channels + c])));
		}
	}
}

typedef struct {
	bn_grad_args in; /* part, and what the tail needs */
	float *dgamma, *dbeta, *coef;
	int blocks, row, tail; /* row: floats of a part; tail: pixels in no part */
} bn_grad_finish_args;

/* Also ends what batchnorm_pool.cu begins: there a channel has one column and
 * nothing is left behind the last row. */
KERNEL(bn_grad_finish)(bn_grad_finish_args f) {
	WAIT_FOR_EARLIER();
	__shared__ double shared[BN_THREADS];
	bn_grad_args a = f.in;
	int c = (int)(blockIdx.x * BN_CHANNELS + threadIdx.x % BN_CHANNELS), slot = (int)threadIdx.x / BN_CHANNELS;
	int parts = c < a.channels ? f.blocks * a.copies : 0;
	double s = 0, d = 0;
	UNROLL2
	for (int i = slot; i < parts; i += BN_SLOTS) {
		const float *p = a.part + 2 * (size_t)f.row * (size_t)(i / a.copies) +
			(size_t)(i % a.copies) * (size_t)a.channels + (size_t)c;
		s += p[0];
		d += p[f.row];
	}
	if (c < a.channels && slot == 0) {
		bn_channel p = bn_channel_at(&a, c);
		for (int i = 0; i < f.tail; i++) {
			size_t at = a.rows * (size_t)f.row + (size_t)i * (size_t)a.channels + (size_t)c;
			float off = ld(a.x + at) - p.mean, g = bn_through(a.act, off, p, ld(a.dy + at));
			s += g;
			d += (double)g * off;
		}
	}
	s = bn_total(shared, s);
	d = bn_total(shared, d);
	if (c < a.channels && slot == 0) {
		double r = a.eval ? 1 / sqrt((double)a.second[c] + (double)a.eps) : (double)a.second[c];
		double gr = a.gamma[c] * r, m = (double)a.m;
		f.dgamma[c] = (float)(d * r);
		f.dbeta[c] = (float)s;
		f.coef[c] = (float)(-gr * r * r * d / m);
		f.coef[a.channels + c] = (float)(-gr * s / m);
	}
}
