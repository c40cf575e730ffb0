/* Dense and grouped convolutions of every shape, and their gradients with
 * respect to the input, as implicit matrix products: nothing is unfolded in
 * memory.
 *
 *   conv2d               y[n,i,j,o]  = f(Σ_{u,v,c} x[n, i·sh+u·dh-pt, j·sw+v·dw-pl, g·Cg+c]·w[u,v,c,o] + bias[o] + residual[n,i,j,o])
 *   conv2d_backward_data dx[n,h,w,c] = Σ_{u,v,o: i·sh+u·dh-pt = h, j·sw+v·dw-pl = w} dy[n,i,j,o]·w[u,v,c-g·Cg,o]
 *
 * Both gather: each element of the destination is a sum over taps of the source,
 * C[pixels, channels out] += A[pixels, taps x channels in]·B. What a stride does
 * to the backward pass is a division into phases: the pixels with h ≡ a (mod sh),
 * w ≡ b (mod sw) are reached by the taps with u·dh ≡ a+pt, v·dw ≡ b+pl alone,
 * which are every step-th, and each of these taps reads the source move pixels
 * further on.
 * Forwards there is one phase.
 *
 * One block does one tile of one phase, one group (or GROUPS of them, see
 * tile.cuh) and one split of the sum; tiles of the same pixels are neighbors. */

#include "tile.cuh"

/* How one axis is stepped over. */
typedef struct {
	int stride, pad, dilation; /* padding above, or to the left */
	int phases, step, move;    /* forwards 1, 1, d; backwards min(s, H), s/gcd(s,d), -d/gcd(s,d) */
} stepping;

typedef struct {
	const real *x;        /* source: x [N,H,W,C], or dy */
	const float *w;       /* [KH,KW,Cg,O] */
	const float *bias;    /* [O] or 0 */
	const real *residual; /* of the destination's shape, or 0 */
	real *y;              /* destination: y [N,YH,YW,YC], or dx */
	float *part;          /* [splits,N,YH,YW,YC], or 0 without splits */
	int n, h, w_, c;      /* the source's extents */
	int yh, yw, yc;
	int in, out;          /* channels of a group: of the source, of the destination */
	int kh, kw, cg, o;    /* w's extents */
	int groups;
	stepping rows, cols;
	int tiles_m, tiles_n;               /* of the largest phase; of one group, or of GROUPS of them */
	int panels;                         /* of DEPTH terms, in a split */
	int act;
} conv2d_args;

/* The taps that one axis of a phase has. */
typedef struct {
	int first, taps; /* u = first + q·step for q < taps */
	int base;        /* tap q reads the source at i·s + base + q·move */
} axis;

DEVICE axis axis_of(int phase, int k, stepping a, const int backward) {
	axis r;
	r.first = 0, r.base = -a.pad, r.taps = k;
	if (!backward) return r;
	while (r.first < a.step && (phase + a.pad - r.first * a.dilation) % a.stride != 0) r.first++;
	r.base = (phase + a.pad - r.first * a.dilation) / a.stride;
	r.taps = r.first < a.step && r.first < k ? (k - r.first - 1) / a.step + 1 : 0;
	return r;
}

/* A place in the sum: tap (u, v) of the phase, channel c of the group. */
typedef struct { int u, v, c; } place;

DEVICE place advance(place p, int by, int channels, int taps_w) {
	p.c += by;
	while (p.c >= channels) {
		p.c -= channels;
		if (++p.v == taps_w) p.v = 0, p.u++;
	}
	return p;
}

/* The offset of w[u,v,0,0] for a place. */
DEVICE i64 tap_offset(place p, axis h, axis w, conv2d_args a) {
	return (i64)((h.first + p.u * a.rows.step) * a.kw + w.first + p.v * a.cols.step) * a.cg * a.o;
}

/* The floats of B that a thread carries: pieces, but with GROUPS > 1 single ones. */
#if GROUPS == 1
#define CARRY_B CARRY(TILE_N)
#else
#define CARRY_B CEIL_DIV(DEPTH * TILE_N, THREADS)
#endif

/* Panel B, the weights. In group slot, term (tap, channel c), column n:
 * forwards w[tap, c, group·out + n], backwards w[tap, n, group·in + c]. at is the
 * place of the first term; of the sum, terms are left. */
DEVICE void load_weights(float *v, place at, int terms, int group0, int col0, axis h, axis w, conv2d_args a, const int backward, int t) {
#if GROUPS == 1
	if (backward) {
		const place p = advance(at, across_k(t), a.in, w.taps);
		const float *q = a.w + tap_offset(p, h, w, a) + (i64)(col0 + across_row(t)) * a.o + (i64)group0 * a.in + p.c;
		UNROLL
		for (int i = 0; i < CARRY_B / PIECE; i++) {
			const int n = col0 + across_row(t) + i * ACROSS_ROWS;
			piece_float(v + i * PIECE, q + (i64)i * ACROSS_ROWS * a.o, across_k(t) < terms && n < a.out);
		}
		return;
	}
	UNROLL
	for (int i = 0; i < CARRY_B / PIECE; i++) {
		const int k = ALONG_K(t, i, TILE_N), n = col0 + ALONG_COL(t, i, TILE_N);
		/* forwards the rows of w follow each other from tap to tap */
		const i64 row = (i64)(at.u * a.kw + at.v) * a.cg + at.c + k;
		piece_float(v + i * PIECE, a.w + row * a.o + (i64)group0 * a.out + n, k < terms && n < a.out);
	}
#else
	UNROLL
	for (int i = 0; i < CARRY_B; i++) {
		const int e = t + i * THREADS;
		const int k = backward ? e % DEPTH : e / TILE_N, col = backward ? e / DEPTH : e % TILE_N;
		const int group = group0 + col / SLOT, n = col % SLOT;
		const place p = advance(at, k, a.in, w.taps);
		const i64 q = backward ? (i64)n * a.o + (i64)group * a.in + p.c : (i64)p.c * a.o + (i64)group * a.out + n;
		const int there = col < TILE_N && k < DEPTH && k < terms && group < a.groups && n < a.out;
		v[i] = there ? a.w[tap_offset(p, h, w, a) + q] : 0.f;
	}
#endif
}

DEVICE void store_weights(float *panel, const float *v, const int backward, int t) {
#if GROUPS == 1
	if (backward) across_store(panel, TILE_N, v, CARRY_B, t);
	else along_store(panel, TILE_N, v, CARRY_B, t);
#else
	UNROLL
	for (int i = 0; i < CARRY_B; i++) {
		const int e = t + i * THREADS;
		const int k = backward ? e % DEPTH : e / TILE_N, col = backward ? e / DEPTH : e % TILE_N;
		if (col < TILE_N && k < DEPTH) panel[k * ROW_B + col] = v[i];
	}
#endif
}

/* What a block makes. */
typedef struct {
	i64 row0;          /* the first of its pixels, in its phase */
	int col0, group0;  /* its first channel, in its first group */
	int phase_h, phase_w;
	int split;
} spot;

DEVICE spot spot_of(u32 block, conv2d_args a) {
	spot s;
	const u32 group_tiles = (u32)CEIL_DIV(a.groups, GROUPS);
	s.col0 = (int)(block % (u32)a.tiles_n) * TILE_N;
	block /= (u32)a.tiles_n;
	s.row0 = (i64)(block % (u32)a.tiles_m) * TILE_M;
	block /= (u32)a.tiles_m;
	s.group0 = (int)(block % group_tiles) * GROUPS;
	block /= group_tiles;
	s.phase_w = (int)(block % (u32)a.cols.phases);
	block /= (u32)a.cols.phases;
	s.phase_h = (int)(block % (u32)a.rows.phases), s.split = (int)(block / (u32)a.rows.phases);
	return s;
}

/* Above any source pixel by more than any tap reaches. */
#define NOWHERE (-(1 << 30))

/* The rows of a tile. */
typedef struct {
	i64 from[TILE_M], to[TILE_M]; /* the start of the row's picture in x, its destination pixel or -1 */
	int h[TILE_M], w[TILE_M];     /* what its tap (0, 0) reads */
} row_list;

/* Fills the list; returns whether there is any row. */
DEVICE int find_rows(row_list *rows, spot s, axis h, axis w, conv2d_args a, const int backward, int t) {
	const int grid_h = CEIL_DIV(a.yh - s.phase_h, a.rows.phases), grid_w = CEIL_DIV(a.yw - s.phase_w, a.cols.phases);
	const i64 pixels = (i64)grid_h * grid_w;
	if (s.row0 >= a.n * pixels) return 0;
	const i64 image0 = s.row0 / pixels;
	for (int r = t; r < TILE_M; r += THREADS) {
		const u32 p = (u32)(s.row0 - image0 * pixels) + (u32)r, q = p % (u32)pixels;
		const int image = (int)image0 + (int)(p / (u32)pixels), there = image < a.n;
		const int i = (int)(q / (u32)grid_w), j = (int)(q % (u32)grid_w);
		rows->from[r] = (i64)image * a.h * a.w_ * a.c;
		rows->to[r] = there ? ((i64)image * a.yh + s.phase_h + i * a.rows.phases) * a.yw + s.phase_w + j * a.cols.phases : -1;
		rows->h[r] = there ? h.base + (backward ? i : i * a.rows.stride) : NOWHERE;
		rows->w[r] = w.base + (backward ? j : j * a.cols.stride);
	}
	__syncthreads();
	return 1;
}

/* Ends the tile: epilogue and stores. */
DEVICE void finish(float acc[THREAD_M][THREAD_N], const row_list *rows, spot s, conv2d_args a, int row, int col) {
	ending e;
	e.bias = a.bias, e.residual = a.residual, e.y = a.y, e.act = a.act;
	e.part = a.part ? a.part + (i64)s.split * a.n * a.yh * a.yw * a.yc : a.part;
	UNROLL
	for (int i = 0; i < THREAD_M; i++) {
		const i64 pixel = rows->to[ELEMENT_ROW(row, i)];
		if (pixel < 0) continue;
		UNROLL
		for (int j = 0; j < THREAD_N; j += 4) {
			const int n = ELEMENT_COL(col, j) % SLOT + s.col0, group = s.group0 + ELEMENT_COL(col, j) / SLOT;
			const int channel = group * a.out + n;
			if (n < a.out && group < a.groups) end4(e, pixel * a.yc + channel, channel, a.out - n, acc[i] + j);
		}
	}
}

DEVICE void convolve(conv2d_args a, const int backward) {
	__shared__ float4 memory_a[2][PANEL_A / 4], memory_b[2][PANEL_B / 4];
	__shared__ row_list rows;
	const int t = (int)threadIdx.x;
	const spot s = spot_of(blockIdx.x, a);
	const axis h = axis_of(s.phase_h, a.kh, a.rows, backward), w = axis_of(s.phase_w, a.kw, a.cols, backward);
	if (!find_rows(&rows, s, h, w, a, backward, t)) return;

	const int terms = h.taps * w.taps * a.in, first = s.split * a.panels * DEPTH;
	const int left = CEIL_DIV(terms - first, DEPTH);
	const int panels = left < a.panels ? left : a.panels;
	const int row = tile_row(t), col = tile_col(t);
	const int slot = across_k(t) / DEPTH, group = s.group0 + slot;
	place at_b, at_a; /* of the next panel's first term, and of the thread's term of A */
	at_b.c = panels > 0 ? first % a.in : 0;
	at_b.u = panels > 0 ? first / a.in / w.taps : 0;
	at_b.v = panels > 0 ? first / a.in % w.taps : 0;
	at_a = panels > 0 ? advance(at_b, across_k(t) % DEPTH, a.in, w.taps) : at_b;
	float acc[THREAD_M][THREAD_N], va[CARRY(TILE_M)], vb[CARRY_B];
	tile_clear(acc);

	for (int p = -1; p < panels; p++) {
		if (p + 1 < panels) { /* the next panel sets out */
			const int rest = terms - first - (p + 1) * DEPTH; /* terms from this panel on */
			const int in = across_k(t) % DEPTH < rest && group < a.groups;
			const int dh = at_a.u * a.rows.move, dw = at_a.v * a.cols.move;
			const real *x = a.x + (i64)group * a.in + at_a.c;
			UNROLL
			for (int i = 0; i < CARRY(TILE_M) / PIECE; i++) {
				const int r = across_row(t) + i * ACROSS_ROWS;
				const int y = rows.h[r] + dh, z = rows.w[r] + dw;
				const int hit = in && (u32)y < (u32)a.h && (u32)z < (u32)a.w_;
				piece(va + i * PIECE, x + rows.from[r] + (i64)(y * a.w_ + z) * a.c, hit);
			}
			load_weights(vb, at_b, rest, s.group0, s.col0, h, w, a, backward, t);
			at_a = advance(at_a, DEPTH, a.in, w.taps);
			at_b = advance(at_b, DEPTH, a.in, w.taps);
		}
		if (p >= 0) {
			tile_multiply(acc, (const float *)memory_a[p & 1] + col / SLOT * DEPTH * ROW_A + row, (const float *)memory_b[p & 1] + col);
		}
		if (p + 1 < panels) { /* and arrives */
			across_store((float *)memory_a[(p + 1) & 1], TILE_M, va, CARRY(TILE_M), t);
			store_weights((float *)memory_b[(p + 1) & 1], vb, backward, t);
			__syncthreads();
		}
	}

	finish(acc, &rows, s, a, row, col);
}

KERNEL(conv2d)(conv2d_args a) {
	WAIT_FOR_EARLIER();
	convolve(a, 0);
}

KERNEL(conv2d_backward_data)(conv2d_args a) {
	WAIT_FOR_EARLIER();
	convolve(a, 1);
}
