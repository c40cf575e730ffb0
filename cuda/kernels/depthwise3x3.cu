/* Depthwise convolution with a 3x3 kernel, padding 1, stride 1 or 2, and its
 * gradients. See engine.Conv2D for the algebra.
 *
 * x [N,H,W,C], w [3,3,1,C] (float), y [N,OH,OW,C]; C is a multiple of LANES.
 *
 * All five kernels march. A thread owns LANES channels of one column of a strip
 * of a.rows output rows and goes down the strip; what a row of x gives to three
 * rows of y (or takes from three rows of dy) stays in registers, and the next
 * rows are under way while the last ones are computed. A block covers a.width
 * columns of a.tile lanes: neighboring columns meet in L1, neighboring strips
 * in L1 or L2, so that DRAM is read once. Columns are numbered through all
 * strips and images, so that small pictures fill a block too. */

#ifndef LANES
#define LANES 4
#endif

#if LANES == 4
typedef float4 vec;
typedef real4 raw; /* as it lies in memory */
DEVICE vec open_raw(raw r) { return from_real4(r); }
DEVICE raw zero_raw(void) { return to_real4(zero4()); }
DEVICE void store(real *p, vec v) { st4(p, v); }
DEVICE vec splat(float v) { return splat4(v); }
DEVICE vec fma_vec(vec a, vec b, vec c) { return fma4(a, b, c); }
DEVICE vec mul_vec(vec a, vec b) { return mul4(a, b); }
DEVICE vec add_vec(vec a, vec b) { return add4(a, b); }
DEVICE vec clamp_vec(vec v, float least, float most) { return clamp4(v, least, most); }
#ifdef ACT_FN
DEVICE vec act_vec(vec v) { return act4(ACT_FN, v); }
#endif
#else
typedef float vec;
typedef real raw;
DEVICE vec open_raw(raw r) { return from_real(r); }
DEVICE raw zero_raw(void) { return to_real(0.f); }
DEVICE void store(real *p, vec v) { st(p, v); }
DEVICE vec splat(float v) { return v; }
DEVICE vec fma_vec(vec a, vec b, vec c) { return fmaf(a, b, c); }
DEVICE vec mul_vec(vec a, vec b) { return a * b; }
DEVICE vec add_vec(vec a, vec b) { return a + b; }
DEVICE vec clamp_vec(vec v, float least, float most) { return clamp(v, least, most); }
#ifdef ACT_FN
DEVICE vec act_vec(vec v) { return act(ACT_FN, v); }
#endif
#endif

/* Rows that a thread has under way, of x alone and of x with dy: with 512 threads
 * on a multiprocessor, enough bytes to hide the latency of an H100's memory. */
#define PAIRS (VEC / 4 * (LANES == 1 ? 2 : 1))
#define ROWS (2 * PAIRS)

DEVICE raw load(const real *p) { return *(const raw *)p; }
DEVICE raw load_if(int ok, const real *p) {
	raw r = zero_raw();
	if (ok) r = load(p);
	return r;
}
DEVICE vec load_vec(const float *p) { return *(const vec *)p; }

/* Three neighbors in a row, at columns that may lie outside the picture. */
typedef struct { raw l, m, r; } row3;

DEVICE row3 load_row(const real *p, int c, int l, int m, int r) {
	row3 v = { load_if(l, p - c), load_if(m, p), load_if(r, p + c) };
	return v;
}

typedef struct {
	int h, w, oh, ow, c;  /* of x and y */
	int rows;             /* rows of y in a strip */
	int tile, width;      /* lanes and columns of a block */
	int lanes;            /* C/LANES */
	u32 columns;          /* N · strips · OW */
	fastdiv by_tile, by_tiles, by_ow, by_strips;
} march;

/* A thread's channels from c, and column j of the strip from row i. */
typedef struct { int c, n, i, j; } place;

DEVICE int find(march g, u32 column, int lane, place *at) {
	if (column >= g.columns || lane >= g.lanes) return 0;
	u32 strip = div_by(column, g.by_ow), n = div_by(strip, g.by_strips);
	at->c = lane * LANES;
	at->j = (int)mod_by(column, strip, g.by_ow);
	at->i = (int)mod_by(strip, n, g.by_strips) * g.rows;
	at->n = (int)n;
	return 1;
}

DEVICE int find_mine(march g, place *at) {
	u32 t = threadIdx.x, column = div_by(t, g.by_tile), lane = mod_by(t, column, g.by_tile);
	u32 block = div_by(blockIdx.x, g.by_tiles), tile = mod_by(blockIdx.x, block, g.by_tiles);
	if (column >= (u32)g.width) return 0;
	return find(g, block * (u32)g.width + column, (int)(tile * (u32)g.tile + lane), at);
}

DEVICE i64 pixel(int n, int i, int j, int h, int w, int channels, int c) {
	return (((i64)n * h + i) * w + j) * channels + c;
}

typedef struct {
	const real *x, *residual;
	const float *w, *bias; /* residual and bias may be null */
	real *y;
	march g;
	float least, most; /* the activation's bounds, where it is a clamp */
	int flip; /* take the kernel turned round: the gradient for x at stride 1 */
} depthwise3x3_args;

DEVICE void finish(depthwise3x3_args a, real *y, vec v) {
	if (a.residual) v = add_vec(v, open_raw(load(a.residual + (y - a.y))));
#ifdef ACT_FN
	store(y, act_vec(v));
#else
	store(y, clamp_vec(v, a.least, a.most));
#endif
}

DEVICE void load_kernel(const float *w, int channels, int flip, vec *k) {
	UNROLL
	for (int t = 0; t < 9; t++) k[t] = load_vec(w + (i64)(flip ? 8 - t : t) * channels);
}

/* The sum of a row of three taps, added to s. */
DEVICE vec taps(vec l, vec m, vec r, const vec *k, vec s) {
	return fma_vec(l, k[0], fma_vec(m, k[1], fma_vec(r, k[2], s)));
}

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(256, 2)

/* Row i of x, if it is not before the first row nor at end. */
DEVICE row3 row_if(const real *x, int i, int end, int c, int l, int r) {
	int in = (u32)i < (u32)end;
	return load_row(x, c, l && in, in, r && in);
}

/* y = clamp(x ⋆ w + bias + residual), stride 1. */
KERNEL(depthwise3x3)(depthwise3x3_args a) {
	WAIT_FOR_EARLIER();
	place at;
	if (!find_mine(a.g, &at)) return;
	int w = a.g.w, h = a.g.h, c = a.g.c;
	int end = at.i + a.g.rows < h ? at.i + a.g.rows : h; /* OH = H */
	int l = at.j > 0, r = at.j + 1 < w, last = end < h ? end + 1 : h; /* of x */
	i64 line = (i64)w * c, first = pixel(at.n, at.i, at.j, h, w, c, at.c);
	const real *x = a.x + first - line; /* row at.i-1 */
	real *y = a.y + first;
	vec k[9], bias = splat(0.f);
	load_kernel(a.w + at.c, c, a.flip, k);
	if (a.bias) bias = load_vec(a.bias + at.c);

	row3 row[ROWS], next[ROWS];
	UNROLL
	for (int u = 0; u < ROWS; u++, x += line) next[u] = row_if(x, at.i - 1 + u, last, c, l, r);
	vec before = splat(0.f), here = bias; /* sums of rows i-1 and i of y so far */
	for (int i = at.i - 1; i <= end; i += ROWS) {
		UNROLL
		for (int u = 0; u < ROWS; u++) row[u] = next[u];
		UNROLL
		for (int u = 0; u < ROWS; u++, x += line) next[u] = row_if(x, i + ROWS + u, last, c, l, r);
		UNROLL
		for (int u = 0; u < ROWS; u++) {
			vec p = open_raw(row[u].l), q = open_raw(row[u].m), s = open_raw(row[u].r);
			before = taps(p, q, s, k + 6, before);
			if ((u32)(i + u - 1 - at.i) < (u32)(end - at.i)) finish(a, y, before), y += line;
			before = taps(p, q, s, k + 3, here);
			here = taps(p, q, s, k, bias);
		}
	}
}

/* y = clamp(x ⋆ w + bias + residual), stride 2. */
KERNEL(depthwise3x3_stride2)(depthwise3x3_args a) {
	WAIT_FOR_EARLIER();
	place at;
	if (!find_mine(a.g, &at)) return;
	int w = a.g.w, h = a.g.h, c = a.g.c, i = at.i;
	int end = i + a.g.rows < a.g.oh ? i + a.g.rows : a.g.oh;
	int l = at.j > 0, r = 2 * at.j + 1 < w, in = i > 0;
	i64 line = (i64)w * c;
	real *y = a.y + pixel(at.n, i, at.j, a.g.oh, a.g.ow, c, at.c);
	const real *x = a.x + pixel(at.n, 2 * i, 2 * at.j, h, w, c, at.c);
	vec k[9], bias = splat(0.f);
	load_kernel(a.w + at.c, c, 0, k);
	if (a.bias) bias = load_vec(a.bias + at.c);

	row3 row = load_row(x - line, c, l && in, in, r && in);
	row3 next0 = load_row(x, c, l, 1, r);
	in = 2 * i + 1 < h;
	row3 next1 = load_row(x + line, c, l && in, in, r && in);
	vec sum = taps(open_raw(row.l), open_raw(row.m), open_raw(row.r), k, bias);
	for (; i < end; i++) {
		row3 row0 = next0, row1 = next1;
		x += 2 * line;
		in = i + 1 < end;
		next0 = load_row(x, c, l && in, in, r && in);
		in = in && 2 * i + 3 < h;
		next1 = load_row(x + line, c, l && in, in, r && in);

		sum = taps(open_raw(row0.l), open_raw(row0.m), open_raw(row0.r), k + 3, sum);
		vec p = open_raw(row1.l), q = open_raw(row1.m), s = open_raw(row1.r);
		sum = taps(p, q, s, k + 6, sum);
		finish(a, y, sum);
		y += (i64)a.g.ow * c;
		sum = taps(p, q, s, k, bias);
	}
}

typedef struct {
	const real *dy;
	const float *w;
	real *dx;
	march g;
} depthwise3x3_data_args;

/* The gradient for x at stride 2: a thread makes the pixels of dx in rows 2i and
 * 2i+1, columns 2j and 2j+1, from those of dy in rows i and i+1, columns j and
 * j+1. At stride 1 it is depthwise3x3 with the kernel turned round. */
KERNEL(depthwise3x3_stride2_data)(depthwise3x3_data_args a) {
	WAIT_FOR_EARLIER();
	place at;
	if (!find_mine(a.g, &at)) return;
	int w = a.g.w, h = a.g.h, oh = a.g.oh, c = a.g.c, i = at.i, in = i + 1 < oh;
	int end = i + a.g.rows < oh ? i + a.g.rows : oh;
	int r = at.j + 1 < a.g.ow, wide = 2 * at.j + 1 < w;
	i64 line = (i64)a.g.ow * c;
	const real *dy = a.dy + pixel(at.n, i, at.j, oh, a.g.ow, c, at.c);
	real *dx = a.dx + pixel(at.n, 2 * i, 2 * at.j, h, w, c, at.c);
	vec k[9];
	load_kernel(a.w + at.c, c, 0, k);

	vec p = open_raw(load(dy)), q = open_raw(load_if(r, dy + c));
	raw next0 = load_if(in, dy + line), next1 = load_if(in && r, dy + line + c);
	for (; i < end; i++) {
		vec s = open_raw(next0), t = open_raw(next1);
		dy += line;
		in = i + 1 < end && i + 2 < oh;
		next0 = load_if(in, dy + line);
		next1 = load_if(in && r, dy + line + c);

		store(dx, mul_vec(p, k[4]));
		if (wide) store(dx + c, fma_vec(p, k[5], mul_vec(q, k[3])));
		dx += (i64)w * c;
		if (2 * i + 1 < h) {
			store(dx, fma_vec(p, k[7], mul_vec(s, k[1])));
			vec d = fma_vec(p, k[8], fma_vec(q, k[6], fma_vec(s, k[2], mul_vec(t, k[0]))));
			if (wide) store(dx + c, d);
		}
		dx += (i64)w * c;
		p = s, q = t;
	}
}

/* ---- the gradient for w and the bias ----
 *
 * dw[u,v,c] = Σ x[n, s·i+u-1, s·j+v-1, c] · dy[n,i,j,c], db[c] = Σ dy[n,i,j,c].
 *
 * gridDim.x / tiles blocks share a tile of lanes; each goes through its columns
 * with the ten sums in registers, adds up its threads' in shared memory and
 * leaves ten partial sums a lane; the last one to finish adds those up, in the
 * order of the blocks. Shared memory: 10 · tile · width vecs, and no less than
 * blockDim.x of them. */

#define SUMS 10

typedef struct {
	const real *x, *dy;
	float *partial; /* [tiles][blocks][SUMS][tile] vecs */
	float *dw, *db; /* db may be null */
	u32 *finished;  /* [tiles] counters that are zero */
	march g;
	int blocks; /* that share a tile */
} depthwise3x3_weight_args;

DEVICE void add_row(vec *k, row3 x, vec dy) {
	k[0] = fma_vec(open_raw(x.l), dy, k[0]);
	k[1] = fma_vec(open_raw(x.m), dy, k[1]);
	k[2] = fma_vec(open_raw(x.r), dy, k[2]);
}

/* Adds what a strip gives at stride 1, going down the rows of x. */
DEVICE void add_strip1(depthwise3x3_weight_args a, place at, vec *k) {
	int w = a.g.w, h = a.g.h, c = a.g.c;
	int end = at.i + a.g.rows < h ? at.i + a.g.rows : h;
	int l = at.j > 0, r = at.j + 1 < w, last = end < h ? end + 1 : h;
	i64 line = (i64)w * c, first = pixel(at.n, at.i, at.j, h, w, c, at.c);
	const real *x = a.x + first - line, *dy = a.dy + first; /* rows i and i+1 */
	row3 row[PAIRS], next[PAIRS];
	raw dys[PAIRS], next_dy[PAIRS];
	UNROLL
	for (int u = 0; u < PAIRS; u++, x += line, dy += line) {
		next[u] = row_if(x, at.i - 1 + u, last, c, l, r);
		next_dy[u] = load_if(at.i + u < end, dy);
	}
	vec before = splat(0.f), here = splat(0.f); /* rows i-1 and i of dy */
	UNROLL2
	for (int i = at.i - 1; i <= end; i += PAIRS) {
		UNROLL
		for (int u = 0; u < PAIRS; u++) row[u] = next[u], dys[u] = next_dy[u];
		UNROLL
		for (int u = 0; u < PAIRS; u++, x += line, dy += line) {
			next[u] = row_if(x, i + PAIRS + u, last, c, l, r);
			next_dy[u] = load_if(i + PAIRS + u + 1 < end, dy);
		}
		UNROLL
		for (int u = 0; u < PAIRS; u++) {
			vec after = open_raw(dys[u]);
			add_row(k, row[u], after);
			add_row(k + 3, row[u], here);
			add_row(k + 6, row[u], before);
			k[9] = add_vec(k[9], after);
			before = here, here = after;
		}
	}
}

/* Adds what a strip gives at stride 2, going down the rows of dy. */
DEVICE void add_strip2(depthwise3x3_weight_args a, place at, vec *k) {
	int w = a.g.w, h = a.g.h, c = a.g.c, i = at.i;
	int end = i + a.g.rows < a.g.oh ? i + a.g.rows : a.g.oh;
	int l = at.j > 0, r = 2 * at.j + 1 < w, in = i > 0;
	i64 line = (i64)w * c;
	const real *x = a.x + pixel(at.n, 2 * i, 2 * at.j, h, w, c, at.c);
	const real *dy = a.dy + pixel(at.n, i, at.j, a.g.oh, a.g.ow, c, at.c);
	row3 row0 = load_row(x - line, c, l && in, in, r && in);
	for (; i < end; i++) {
		in = 2 * i + 1 < h;
		row3 row1 = load_row(x, c, l, 1, r);
		row3 row2 = load_row(x + line, c, l && in, in, r && in);
		vec d = open_raw(load(dy));
		x += 2 * line, dy += (i64)a.g.ow * c;
		add_row(k, row0, d);
		add_row(k + 3, row1, d);
		add_row(k + 6, row2, d);
		k[9] = add_vec(k[9], d);
		row0 = row2;
	}
}

/* Writes sum q of the tile that begins at lane first. */
DEVICE void put_sum(depthwise3x3_weight_args a, int first, int q, vec v) {
	int sum = (int)div_by((u32)q, a.g.by_tile), lane = first + q - sum * a.g.tile;
	if (lane >= a.g.lanes) return;
	float *to = sum < 9 ? a.dw + (i64)sum * a.g.c : a.db;
	if (to) *(vec *)(to + lane * LANES) = v;
}

/* The sums of one tile over all blocks, by the last of them: parts of the
 * threads take every parts-th block, and the first part adds these up. */
DEVICE void add_blocks(depthwise3x3_weight_args a, int tile, vec *shared) {
	int t = (int)threadIdx.x, threads = (int)blockDim.x, sums = SUMS * a.g.tile;
	const vec *p = (const vec *)a.partial + (i64)tile * a.blocks * sums;
	int parts = threads / sums > 1 ? threads / sums : 1;
	for (int base = 0; base < sums; base += threads) {
		int part = t / sums, q = base + t - part * sums;
		if (parts == 1) part = 0, q = base + t;
		vec v = splat(0.f);
		if (part < parts && q < sums) {
			UNROLL8
			for (int b = part; b < a.blocks; b += parts) v = add_vec(v, p[(i64)b * sums + q]);
		}
		shared[t] = v;
		__syncthreads();
		if (part == 0 && q < sums) {
			for (int i = 1; i < parts; i++) v = add_vec(v, shared[t + i * sums]);
			put_sum(a, tile * a.g.tile, q, v);
		}
		__syncthreads();
	}
}

DEVICE void weight_gradient(depthwise3x3_weight_args a, int stride, vec *shared, int *flag) {
	u32 t = threadIdx.x, column = div_by(t, a.g.by_tile), lane = mod_by(t, column, a.g.by_tile);
	u32 block = div_by(blockIdx.x, a.g.by_tiles), tile = mod_by(blockIdx.x, block, a.g.by_tiles);
	int width = a.g.width, all = a.g.tile * width, sums = SUMS * a.g.tile;
	vec k[SUMS];
	UNROLL
	for (int q = 0; q < SUMS; q++) k[q] = splat(0.f);
	for (u32 from = block * (u32)width; column < (u32)width && from < a.g.columns; from += (u32)(a.blocks * width)) {
		place at;
		if (!find(a.g, from + column, (int)(tile * (u32)a.g.tile + lane), &at)) break;
		if (stride == 1) add_strip1(a, at, k);
		else add_strip2(a, at, k);
	}
	if (t < (u32)all) {
		UNROLL
		for (int q = 0; q < SUMS; q++) shared[q * all + (int)t] = k[q];
	}
	__syncthreads();
	for (int q = (int)t; q < sums; q += (int)blockDim.x) {
		int sum = (int)div_by((u32)q, a.g.by_tile);
		const vec *s = shared + sum * all + (q - sum * a.g.tile);
		vec v = s[0];
		for (int i = 1; i < width; i++) v = add_vec(v, s[i * a.g.tile]);
		((vec *)a.partial)[((i64)tile * a.blocks + block) * sums + q] = v;
	}
	if (last_block(a.finished + tile, (u32)a.blocks, flag)) add_blocks(a, (int)tile, shared);
}

KERNEL(depthwise3x3_weight)(depthwise3x3_weight_args a) {
	WAIT_FOR_EARLIER();
	DYNAMIC_SHARED(vec, shared);
	__shared__ int flag;
	weight_gradient(a, 1, shared, &flag);
}

KERNEL(depthwise3x3_stride2_weight)(depthwise3x3_weight_args a) {
	WAIT_FOR_EARLIER();
	DYNAMIC_SHARED(vec, shared);
	__shared__ int flag;
	weight_gradient(a, 2, shared, &flag);
}
