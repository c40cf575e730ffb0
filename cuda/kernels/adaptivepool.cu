/* Pools to so many pixels of any picture: along an axis, window i of m over n
 * pixels covers those from floor(i·n/m) up to but without ceil((i+1)·n/m). A thread
 * takes WIDTH neighboring channels of one place. The gradients gather: each dx is
 * written once, by one thread, which adds up the windows that hold its place in a
 * fixed order. */

#include "wide.cuh"

/* The large side is [.,h,w,c], the small one [.,oh,ow,c], with c in units of
 * WIDTH channels. Threads run over items, the vectors of one of the sides. */
typedef struct {
	const real *x;  /* large, or null */
	const real *dy; /* small, or null */
	real *y;        /* the result: small forwards, large backwards */
	int *won;       /* small: the pixel that won each window, or null */
	u32 items;
	int h, w, oh, ow, c;
	fastdiv by_c, by_col, by_row; /* the items' extents */
} adaptive_avg_pool_args, adaptive_avg_pool_backward_args, adaptive_max_pool_args, adaptive_max_pool_backward_args;

typedef adaptive_avg_pool_args adaptive_args;

#define ITEMS(i, a) \
	ROLLED for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (a).items; i += gridDim.x * blockDim.x)

typedef struct { u32 n, row, col, k; } place;

DEVICE place place_of(u32 i, adaptive_args a) {
	place p;
	u32 pixel = div_by(i, a.by_c), line = div_by(pixel, a.by_col);
	p.k = mod_by(i, pixel, a.by_c);
	p.col = mod_by(pixel, line, a.by_col);
	p.n = div_by(line, a.by_row);
	p.row = mod_by(line, p.n, a.by_row);
	return p;
}

/* Where window i of m over n pixels begins and ends. The windows that hold pixel i
 * of m are found by the same numbers, with n windows. */
DEVICE int first_of(int i, int m, int n) { return (int)((i64)i * n / m); }
DEVICE int end_of(int i, int m, int n) { return (int)(((i64)(i + 1) * n + m - 1) / m); }

/* The thread's window. */
typedef struct { int top, bottom, left, right; } window;

DEVICE window window_of(int row, int col, adaptive_args a) {
	window w;
	w.top = first_of(row, a.oh, a.h), w.bottom = end_of(row, a.oh, a.h);
	w.left = first_of(col, a.ow, a.w), w.right = end_of(col, a.ow, a.w);
	return w;
}

DEVICE float pixels_of(window w) { return (float)((w.bottom - w.top) * (w.right - w.left)); }

/* Items: the small side. */
KERNEL(adaptive_avg_pool)(adaptive_avg_pool_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		const place p = place_of(i, a);
		const window w = window_of((int)p.row, (int)p.col, a);
		const real *x = a.x + ((i64)p.n * a.h * a.w * a.c + p.k) * WIDTH;
		float sum[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
		for (int u = w.top; u < w.bottom; u++) {
			for (int v = w.left; v < w.right; v++) {
				float z[WIDTH];
				load(x + ((i64)u * a.w + v) * a.c * WIDTH, z);
				UNROLL
				for (int l = 0; l < WIDTH; l++) sum[l] += z[l];
			}
		}
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] /= pixels_of(w);
		store(a.y + (i64)i * WIDTH, sum);
	}
}

/* Writes y or, if won is not null, the pixels that won: the first largest in
 * row-major order; a NaN wins. Items: the small side. */
KERNEL(adaptive_max_pool)(adaptive_max_pool_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		const place p = place_of(i, a);
		const window w = window_of((int)p.row, (int)p.col, a);
		const real *x = a.x + ((i64)p.n * a.h * a.w * a.c + p.k) * WIDTH;
		float best[WIDTH];
		int won[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) best[l] = bits_float(0xff800000u), won[l] = w.top * a.w + w.left;
		for (int u = w.top; u < w.bottom; u++) {
			for (int v = w.left; v < w.right; v++) {
				float z[WIDTH];
				load(x + ((i64)u * a.w + v) * a.c * WIDTH, z);
				UNROLL
				for (int l = 0; l < WIDTH; l++) {
					const int wins = (z[l] > best[l]) | ((z[l] != z[l]) & (best[l] == best[l]));
					best[l] = wins ? z[l] : best[l];
					won[l] = wins ? u * a.w + v : won[l];
				}
			}
		}
		if (a.won) {
			UNROLL
			for (int l = 0; l < WIDTH; l++) a.won[(i64)i * WIDTH + l] = won[l];
		} else {
			store(a.y + (i64)i * WIDTH, best);
		}
	}
}

/* dx: the sum of the dy of the windows that hold the thread's place, each over its
 * pixels or, with won, of those that the place has won. */
DEVICE void gather(adaptive_args a, place p, const int *won, float *sum) {
	const int row = (int)p.row, col = (int)p.col;
	UNROLL
	for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
	for (int i = first_of(row, a.h, a.oh); i < end_of(row, a.h, a.oh); i++) {
		for (int j = first_of(col, a.w, a.ow); j < end_of(col, a.w, a.ow); j++) {
			const i64 at = (((i64)p.n * a.oh + i) * a.ow + j) * a.c + p.k;
			const float pixels = pixels_of(window_of(i, j, a));
			float d[WIDTH];
			load(a.dy + at * WIDTH, d);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				if (!won) sum[l] += d[l] / pixels;
				else if (won[at * WIDTH + l] == row * a.w + col) sum[l] += d[l];
			}
		}
	}
}

/* Items: the large side. */
KERNEL(adaptive_avg_pool_backward)(adaptive_avg_pool_backward_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		float sum[WIDTH];
		gather(a, place_of(i, a), 0, sum);
		store(a.y + (i64)i * WIDTH, sum);
	}
}

/* Items: the large side. */
KERNEL(adaptive_max_pool_backward)(adaptive_max_pool_backward_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		float sum[WIDTH];
		gather(a, place_of(i, a), a.won, sum);
		store(a.y + (i64)i * WIDTH, sum);
	}
}
