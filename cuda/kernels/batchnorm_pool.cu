/* Batch normalization, activation and a max pool whose windows tile the
 * picture, in one pass: y = max over each POOL×POOL window of f(BatchNorm(x)),
 * and the gradient of that, which computes f(BatchNorm(x)) again to find each
 * window's winner: the first largest, row by row; a NaN wins.
 *
 * x and dx are [n, h, w, c], y and dy [n, oh, ow, c]. A thread keeps to LANES
 * channels, and takes every lines-th window of its block's chunk; windows are
 * counted row by row over all pictures. `width` is c/LANES. */

#ifndef POOL
#define POOL 2
#endif
#ifndef LANES
#define LANES 4
#endif

#define BN_THREADS 256
#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(BN_THREADS)

typedef struct {
	const real *x, *dy;
	real *out; /* y or dx */
	real *kept; /* the x that won each window: written with y unless it is null, read by bn_pool_grad_kept */
	const float *gamma, *beta, *mean, *second; /* second: r, or with eval the variance */
	float *part;                               /* [blocks, 2, c]: S, D of batchnorm_backward.cu */
	const float *coef;                         /* [2, c], as there */
	size_t windows;
	u32 chunk;
	int width, tile, lines;
	int h, w, oh, ow;    /* oh, ow: whole windows */
	int ih, iw;          /* windows a picture that are walked: oh, ow, or one more for what is left over */
	int step_n, step_i, step_j; /* `lines` windows, as a distance */
	int eval, act;
	float eps;
} bn_pool_args, bn_pool_grad_args, bn_pool_grad_kept_args, bn_pool_dx_args;

DEVICE void bn_load(const real *p, float *v) {
#if LANES == 8
	ldv(p, v);
#elif LANES == 4
	float4 t = ld4(p);
	v[0] = t.x, v[1] = t.y, v[2] = t.z, v[3] = t.w;
#else
	v[0] = ld(p);
#endif
}

DEVICE void bn_store(real *p, const float *v) {
#if LANES == 8
	stv(p, v);
#elif LANES == 4
	st4(p, make_float4(v[0], v[1], v[2], v[3]));
#else
	st(p, v[0]);
#endif
}

typedef struct { float mean, scale, shift; } bn_channel;

DEVICE void bn_channels(const bn_pool_args *a, int column, bn_channel *p) {
	UNROLL
	for (int k = 0; k < LANES; k++) {
		int c = column * LANES + k;
		float r = a->second[c];
		if (a->eval) r = 1.f / sqrtf(r + a->eps);
		p[k].mean = a->mean[c], p[k].scale = r * a->gamma[c], p[k].shift = a->beta[c];
	}
}

/* The windows of one thread, from the last to the first. */
typedef struct {
	int column, left, line;
	int n, i, j; /* the window: picture, row, column */
} bn_walk;

DEVICE bn_walk bn_last(const bn_pool_args *a) {
	bn_walk s;
	size_t lo = (size_t)blockIdx.x * a->chunk;
	size_t left = lo < a->windows ? a->windows - lo : 0;
	u32 count = left < a->chunk ? (u32)left : a->chunk;
	s.line = (int)threadIdx.x / a->tile;
	s.column = (int)blockIdx.y * a->tile + (int)threadIdx.x % a->tile;
	s.left = 0;
	if (s.line < a->lines && s.column < a->width && (u32)s.line < count)
		s.left = (int)((count - (u32)s.line + (u32)a->lines - 1u) / (u32)a->lines);
	size_t at = lo + (size_t)s.line + (size_t)(s.left > 0 ? s.left - 1 : 0) * (size_t)a->lines;
	if (at <= 0xffffffffu) {
		u32 q = (u32)at / (u32)a->iw;
		s.j = (int)((u32)at - q * (u32)a->iw);
		s.n = (int)(q / (u32)a->ih);
		s.i = (int)(q - (u32)s.n * (u32)a->ih);
	} else {
		size_t q = at / (size_t)a->iw;
		s.j = (int)(at - q * (size_t)a->iw);
		s.n = (int)(q / (size_t)a->ih);
		s.i = (int)(q - (size_t)s.n * (size_t)a->ih);
	}
	return s;
}

DEVICE void bn_back(const bn_pool_args *a, bn_walk *s) {
	s->left--;
	s->j -= a->step_j;
	if (s->j < 0) s->j += a->iw, s->i--;
	s->i -= a->step_i;
	if (s->i < 0) s->i += a->ih, s->n--;
	s->n -= a->step_n;
}

/* Where the window's first element lies in x, and its pooled one in y. */
DEVICE size_t bn_x_at(const bn_pool_args *a, const bn_walk *s) {
	size_t row = (size_t)s->n * (size_t)a->h + (size_t)s->i * POOL;
	return ((row * (size_t)a->w + (size_t)s->j * POOL) * (size_t)a->width + (size_t)s->column) * LANES;
}

DEVICE size_t bn_y_at(const bn_pool_args *a, const bn_walk *s) {
	size_t row = (size_t)s->n * (size_t)a->oh + (size_t)s->i;
	return ((row * (size_t)a->ow + (size_t)s->j) * (size_t)a->width + (size_t)s->column) * LANES;
}

/* Loads a whole window. */
DEVICE void bn_window(const bn_pool_args *a, size_t at, float v[][LANES]) {
	size_t pixel = (size_t)a->width * LANES, row = (size_t)a->w * pixel;
	UNROLL
	for (int u = 0; u < POOL; u++) {
		UNROLL
		for (int t = 0; t < POOL; t++) bn_load(a->x + at + u * row + t * pixel, v[u * POOL + t]);
	}
}

/* The largest f(BatchNorm(x)) of lane k's window, and which it is. */
DEVICE float bn_best(const bn_pool_args *a, float v[][LANES], int k, bn_channel p, int *winner) {
	float best = 0.f;
	*winner = 0;
	UNROLL
	for (int u = 0; u < POOL * POOL; u++) {
		float y = act(a->act, fmaf(v[u][k] - p.mean, p.scale, p.shift));
		if (u == 0 || y > best || (y != y && best == best)) best = y, *winner = u;
	}
	return best;
}

/* The winner of lane k's window. */
DEVICE float bn_pick(float v[][LANES], int k, int winner) {
	float x = 0.f;
	UNROLL
	for (int u = 0; u < POOL * POOL; u++) x = u == winner ? v[u][k] : x;
	return x;
}

/* dy·f' at the winner x, whose f is y. */
DEVICE float bn_through(const bn_pool_args *a, float x, bn_channel p, float y, float dy) {
#ifdef ACT_FROM_X
	y = fmaf(x - p.mean, p.scale, p.shift);
#else
	(void)x, (void)p;
#endif
	return act_back(a->act, y, dy);
}

KERNEL(bn_pool)(bn_pool_args a) {
	WAIT_FOR_EARLIER();
	bn_walk s = bn_last(&a);
	bn_channel p[LANES];
	if (s.left == 0) return;
	bn_channels(&a, s.column, p);
	for (; s.left > 0; bn_back(&a, &s)) {
		float v[POOL * POOL][LANES], y[LANES], x[LANES];
		bn_window(&a, bn_x_at(&a, &s), v);
		UNROLL
		for (int k = 0; k < LANES; k++) {
			int winner;
			y[k] = bn_best(&a, v, k, p[k], &winner);
			x[k] = bn_pick(v, k, winner);
		}
		bn_store(a.out + bn_y_at(&a, &s), y);
		if (a.kept) bn_store(a.kept + bn_y_at(&a, &s), x);
	}
}

/* Adds up the block's sums S and D, and leaves them in part. */
DEVICE void bn_leave(const bn_pool_args *a, const bn_walk *b, const float *s, const float *d, float shared[][BN_THREADS]) {
	int t = (int)threadIdx.x, half = 1;
	UNROLL
	for (int k = 0; k < LANES; k++) shared[k][t] = s[k], shared[LANES + k][t] = d[k];
	while (2 * half < a->lines) half *= 2;
	for (; half > 0; half /= 2) {
		__syncthreads();
		if (b->line < half && b->line + half < a->lines) {
			UNROLL
			for (int k = 0; k < 2 * LANES; k++) shared[k][t] += shared[k][t + half * a->tile];
		}
	}
	if (b->line == 0 && b->column < a->width) {
		size_t row = (size_t)a->width * LANES;
		float *part = a->part + 2 * row * blockIdx.x + (size_t)b->column * LANES;
		UNROLL
		for (int k = 0; k < LANES; k++) part[k] = shared[k][t], part[row + k] = shared[LANES + k][t];
	}
}

KERNEL(bn_pool_grad)(bn_pool_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * LANES][BN_THREADS];
	bn_walk b = bn_last(&a);
	float s[LANES], d[LANES];
	UNROLL
	for (int k = 0; k < LANES; k++) s[k] = d[k] = 0.f;
	if (b.left > 0) {
		bn_channel p[LANES];
		bn_channels(&a, b.column, p);
		for (; b.left > 0; bn_back(&a, &b)) {
			float v[POOL * POOL][LANES], g[LANES];
			bn_load(a.dy + bn_y_at(&a, &b), g);
			bn_window(&a, bn_x_at(&a, &b), v);
			UNROLL
			for (int k = 0; k < LANES; k++) {
				int winner;
				float y = bn_best(&a, v, k, p[k], &winner), x = bn_pick(v, k, winner);
				float t = bn_through(&a, x, p[k], y, g[k]);
				s[k] += t;
				d[k] = fmaf(t, x - p[k].mean, d[k]);
			}
		}
	}
	bn_leave(&a, &b, s, d, shared);
}

/* The same from what won, as bn_pool has kept it. */
KERNEL(bn_pool_grad_kept)(bn_pool_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * LANES][BN_THREADS];
	bn_walk b = bn_last(&a);
	float s[LANES], d[LANES];
	UNROLL
	for (int k = 0; k < LANES; k++) s[k] = d[k] = 0.f;
	if (b.left > 0) {
		bn_channel p[LANES];
		bn_channels(&a, b.column, p);
		for (; b.left > 0; bn_back(&a, &b)) {
			float x[LANES], g[LANES];
			bn_load(a.dy + bn_y_at(&a, &b), g);
			bn_load(a.kept + bn_y_at(&a, &b), x);
			UNROLL
			for (int k = 0; k < LANES; k++) {
				float y = act(a.act, fmaf(x[k] - p[k].mean, p[k].scale, p[k].shift));
				float t = bn_through(&a, x[k], p[k], y, g[k]);
				s[k] += t;
				d[k] = fmaf(t, x[k] - p[k].mean, d[k]);
			}
		}
	}
	bn_leave(&a, &b, s, d, shared);
}

/* dx where no gradient arrives: what is left over at the picture's edges. */
DEVICE void bn_edge(const bn_pool_args *a, const bn_walk *s, const bn_channel *p, const float *c1, const float *c2) {
	size_t at = bn_x_at(a, s), pixel = (size_t)a->width * LANES, row = (size_t)a->w * pixel;
	for (int u = 0; u < POOL && s->i * POOL + u < a->h; u++) {
		for (int t = 0; t < POOL && s->j * POOL + t < a->w; t++) {
			float v[LANES];
			bn_load(a->x + at + u * row + t * pixel, v);
			UNROLL
			for (int k = 0; k < LANES; k++) v[k] = fmaf(c1[k], v[k] - p[k].mean, c2[k]);
			bn_store(a->out + at + u * row + t * pixel, v);
		}
	}
}

KERNEL(bn_pool_dx)(bn_pool_args a) {
	WAIT_FOR_EARLIER();
	bn_walk s = bn_last(&a);
	bn_channel p[LANES];
	float c1[LANES], c2[LANES];
	if (s.left == 0) return;
	bn_channels(&a, s.column, p);
	UNROLL
	for (int k = 0; k < LANES; k++) {
		int c = s.column * LANES + k;
		c1[k] = a.coef[c], c2[k] = a.coef[a.width * LANES + c];
	}
	size_t pixel = (size_t)a.width * LANES, row = (size_t)a.w * pixel;
	for (; s.left > 0; bn_back(&a, &s)) {
		if (s.i >= a.oh || s.j >= a.ow) {
			bn_edge(&a, &s, p, c1, c2);
			continue;
		}
		float v[POOL * POOL][LANES], g[LANES];
		size_t at = bn_x_at(&a, &s);
		bn_load(a.dy + bn_y_at(&a, &s), g);
		bn_window(&a, at, v);
		UNROLL
		for (int k = 0; k < LANES; k++) {
			int winner;
			float y = bn_best(&a, v, k, p[k], &winner);
			float t = bn_through(&a, bn_pick(v, k, winner), p[k], y, p[k].scale * g[k]);
			UNROLL
			for (int u = 0; u < POOL * POOL; u++)
				v[u][k] = fmaf(c1[k], v[u][k] - p[k].mean, c2[k]) + (u == winner ? t : 0.f);
		}
		UNROLL
		for (int u = 0; u < POOL; u++) {
			UNROLL
			for (int t = 0; t < POOL; t++) bn_store(a.out + at + u * row + t * pixel, v[u * POOL + t]);
		}
	}
}
