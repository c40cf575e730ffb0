/* Pictures with something around them: a constant, the picture mirrored at its first
 * and last pixel, or these pixels. A thread takes WIDTH neighboring channels of one
 * place. The gradient gathers: each dx is written once, by one thread, which adds
 * the dy of the places that repeat it in a fixed order. */

#include "wide.cuh"

#define CONSTANT 0
#define REFLECT 1
#define EDGE 2

/* The small side is [.,h,w,c], the large one [.,oh,ow,c], with c in units of WIDTH
 * channels. Threads run over items, the vectors of the side that is written. */
typedef struct {
	const real *x; /* small; backwards dy, large */
	real *y;       /* large; backwards dx, small */
	u32 items;
	int h, w, oh, ow, c, top, left, mode;
	float value;
	fastdiv by_c, by_col, by_row; /* the items' extents */
} pad2d_args, pad2d_backward_args;

typedef struct { u32 n, row, col, k; } place;

DEVICE place place_of(u32 i, pad2d_args a) {
	place p;
	u32 pixel = div_by(i, a.by_c), line = div_by(pixel, a.by_col);
	p.k = mod_by(i, pixel, a.by_c);
	p.col = mod_by(pixel, line, a.by_col);
	p.n = div_by(line, a.by_row);
	p.row = mod_by(line, p.n, a.by_row);
	return p;
}

/* The pixel of n that place i of the padded axis repeats, or -1. */
DEVICE int source(int i, int before, int n, int mode) {
	int s = i - before;
	if (s >= 0 && s < n) return s;
	if (mode == CONSTANT) return -1;
	if (mode == EDGE) return s < 0 ? 0 : n - 1;
	s = s < 0 ? -s : s;
	return s < n ? s : 2 * (n - 1) - s;
}

KERNEL(pad2d)(pad2d_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		const place p = place_of(i, a);
		const int r = source((int)p.row, a.top, a.h, a.mode), q = source((int)p.col, a.left, a.w, a.mode);
		float v[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) v[l] = a.value;
		if (r >= 0 && q >= 0) load(a.x + ((((i64)p.n * a.h + r) * a.w + q) * a.c + p.k) * WIDTH, v);
		store(a.y + (i64)i * WIDTH, v);
	}
}

/* The places of a padded axis of m that repeat pixel i of n: step after step from
 * the first, those that lie outside left out. */
typedef struct { int first, steps; } repeats;

DEVICE repeats repeats_of(int i, int before, int n, int m, int mode) {
	repeats r;
	r.first = i + before, r.steps = 1;
	if (mode == REFLECT) r.steps = 3;
	if (mode == EDGE) {
		const int last = i == n - 1 ? m - 1 : r.first;
		if (i == 0) r.first = 0;
		r.steps = last - r.first + 1;
	}
	return r;
}

/* Place number k of them, or -1. */
DEVICE int place_at(repeats r, int k, int i, int before, int n, int m, int mode) {
	if (mode != REFLECT) return r.first + k;
	if (k == 0) return r.first;
	const int at = k == 1 ? before - i : before + 2 * (n - 1) - i;
	return at >= 0 && at < m && (k == 1 ? i > 0 : i < n - 1) ? at : -1;
}

KERNEL(pad2d_backward)(pad2d_backward_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		const place p = place_of(i, a);
		const int row = (int)p.row, col = (int)p.col;
		const repeats rows = repeats_of(row, a.top, a.h, a.oh, a.mode), cols = repeats_of(col, a.left, a.w, a.ow, a.mode);
		float sum[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
		for (int u = 0; u < rows.steps; u++) {
			const int r = place_at(rows, u, row, a.top, a.h, a.oh, a.mode);
			if (r < 0) continue;
			for (int v = 0; v < cols.steps; v++) {
				const int q = place_at(cols, v, col, a.left, a.w, a.ow, a.mode);
				if (q < 0) continue;
				float d[WIDTH];
				load(a.x + ((((i64)p.n * a.oh + r) * a.ow + q) * a.c + p.k) * WIDTH, d);
				UNROLL
				for (int l = 0; l < WIDTH; l++) sum[l] += d[l];
			}
		}
		store(a.y + (i64)i * WIDTH, sum);
	}
}
