/* The gradients of dense and grouped convolutions with respect to the weights
 * and the bias, as an implicit matrix product with the pixels as its terms:
 *
 *   dw[u,v,c,o] = Σ_{n,i,j} x[n, i·sh+u·dh-pt, j·sw+v·dw-pl, g·Cg+c]·dy[n,i,j,o]
 *   db[o]       = Σ_{n,i,j} dy[n,i,j,o]
 *
 * A tile's rows are (u, v, c) as they lie in w, its columns the output channels
 * of one group. The pixels are cut into splits, whose partial results a second
 * stage (split_sum) adds in a fixed order. */

#include "tile.cuh"

typedef struct {
	const real *x;  /* [N,H,W,C] */
	const real *dy; /* [N,OH,OW,O] */
	float *dw;      /* [KH,KW,Cg,O], in each split */
	float *db;      /* [O] or 0, in each split */
	i64 stride_dw;  /* floats from one split's results to the next */
	i64 pixels;     /* N·OH·OW */
	int h, w, c;
	int oh, ow, o;
	int kh, kw, cg, og;
	int sh, sw, top, left, dilation_h, dilation_w, groups;
	int tiles_m, tiles_n; /* of one group */
	int panels;           /* of TILE_K pixels, in a split */
} conv2d_weight_args;

/* Where the pixels of the next panels are, for AHEAD of them at once. */
#define AHEAD (TILE_K < 32 ? 32 : TILE_K)
#define NOWHERE (-(1 << 30))

typedef struct {
	i64 image[2 * AHEAD];                /* offset of the pixel's image in x */
	int row_h[2 * AHEAD], row_w[2 * AHEAD]; /* what tap (0, 0) reads there */
} sources;

/* Fills one half of s with the pixels from k on, which is base pixels behind the
 * start of image. Threads t < AHEAD take part. */
DEVICE void locate(sources *s, i64 k, i64 image, u32 base, int half, conv2d_weight_args a, int t) {
	if (t >= AHEAD) return;
	const u32 plane = (u32)a.oh * (u32)a.ow, p = base + (u32)t, q = p % plane;
	const int at = half * AHEAD + t;
	s->image[at] = (image + p / plane) * a.h * a.w * a.c;
	s->row_h[at] = k + t < a.pixels ? (int)(q / (u32)a.ow) * a.sh - a.top : NOWHERE;
	s->row_w[at] = (int)(q % (u32)a.ow) * a.sw - a.left;
}

KERNEL(conv2d_backward_weight)(conv2d_weight_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float4 memory_a[2][PANEL_A / 4], memory_b[2][PANEL_B / 4];
	__shared__ sources from;
	const int t = (int)threadIdx.x;
	u32 rest = blockIdx.x;
	const int col0 = (int)(rest % (u32)a.tiles_n) * TILE_N;
	rest /= (u32)a.tiles_n;
	const int row0 = (int)(rest % (u32)a.tiles_m) * TILE_M;
	rest /= (u32)a.tiles_m;
	const int group = (int)(rest % (u32)a.groups), split = (int)(rest / (u32)a.groups);
	const i64 k0 = (i64)split * a.panels * TILE_K, image0 = k0 / ((i64)a.oh * a.ow);
	const u32 base = (u32)(k0 - image0 * a.oh * a.ow);
	const i64 left = (a.pixels - k0 + TILE_K - 1) / TILE_K;
	const int panels = left < a.panels ? (int)left : a.panels;
	const int row = tile_row(t), col = tile_col(t);
	const int rows = a.kh * a.kw * a.cg - row0, cols = a.og - col0; /* from here on */
	const int sums = a.db && row0 == 0;

	int dh[CARRY(TILE_M) / PIECE], dw[CARRY(TILE_M) / PIECE], channel[CARRY(TILE_M) / PIECE]; /* of the thread's pieces of x */
	UNROLL
	for (int i = 0; i < CARRY(TILE_M) / PIECE; i++) {
		const int r = ALONG_COL(t, i, TILE_M), m = row0 + r, tap = m / a.cg;
		dh[i] = r < rows ? tap / a.kw * a.dilation_h : NOWHERE;
		dw[i] = tap % a.kw * a.dilation_w;
		channel[i] = group * a.cg + m % a.cg;
	}
	locate(&from, k0, image0, base, 0, a, t);
	__syncthreads();

	float acc[THREAD_M][THREAD_N], va[CARRY(TILE_M)], vb[CARRY(TILE_N)], sum = 0.f;
	tile_clear(acc);
	for (int p = -1; p < panels; p++) {
		const int next = (p + 1) * TILE_K; /* pixels before the next panel */
		if (p + 1 < panels) {
			UNROLL
			for (int i = 0; i < CARRY(TILE_M) / PIECE; i++) {
				const int at = (next + ALONG_K(t, i, TILE_M)) % (2 * AHEAD);
				const int y = from.row_h[at] + dh[i], z = from.row_w[at] + dw[i];
				const int hit = (u32)y < (u32)a.h && (u32)z < (u32)a.w && !ALONG_BEYOND(t, i, TILE_M);
				piece(va + i * PIECE, a.x + from.image[at] + (i64)(y * a.w + z) * a.c + channel[i], hit);
			}
			const real *dy = a.dy + (k0 + next) * a.o + (i64)group * a.og + col0;
			UNROLL
			for (int i = 0; i < CARRY(TILE_N) / PIECE; i++) {
				const int k = ALONG_K(t, i, TILE_N), c = ALONG_COL(t, i, TILE_N);
				const int in = c < cols && k0 + next + k < a.pixels && !ALONG_BEYOND(t, i, TILE_N);
				piece(vb + i * PIECE, dy + (i64)k * a.o + c, in);
			}
			if (next % AHEAD == 0) locate(&from, k0 + next + AHEAD, image0, base + (u32)next + AHEAD, next / AHEAD + 1 & 1, a, t);
		}
		if (p >= 0) {
			const float *pa = (const float *)memory_a[p & 1] + t % SLICES * ROW_A;
			const float *pb = (const float *)memory_b[p & 1];
			tile_multiply(acc, pa + row, pb + t % SLICES * ROW_B + col);
			if (sums) sum += column_sum(pb, t);
		}
		if (p + 1 < panels) {
			along_store((float *)memory_a[(p + 1) & 1], TILE_M, va, CARRY(TILE_M), t);
			along_store((float *)memory_b[(p + 1) & 1], TILE_N, vb, CARRY(TILE_N), t);
			__syncthreads();
		}
	}

	tile_gather(acc);
	float *to = a.dw + (i64)split * a.stride_dw + (i64)row0 * a.o + (i64)group * a.og + col0;
	if (t % SLICES == 0) {
		UNROLL
		for (int i = 0; i < THREAD_M; i++) {
			const int r = ELEMENT_ROW(row, i);
			if (r >= rows) continue;
			UNROLL
			for (int j = 0; j < THREAD_N; j += 4) {
				const int c = ELEMENT_COL(col, j);
				if (c < cols) put_row(to + (i64)r * a.o + c, cols - c, acc[i] + j);
			}
		}
	}
	if (sums) {
		sum = column_total(sum, (float *)memory_a, t);
		if (t < TILE_N && t < cols) a.db[(i64)split * a.stride_dw + group * a.og + col0 + t] = sum;
	}
}
