/* Pooling. A thread takes WIDTH neighboring channels of one place: 1, 4, or
 * what sixteen bytes hold. Backward passes gather: each dx is written once, by
 * one thread, which adds the dy of all windows that hold it in a fixed order.
 *
 * With DILATED the windows' pixels lie dilation_h and dilation_w apart. With
 * DIVISOR each mean has a divisor of its own; otherwise it is that of all. */

#include "wide.cuh"

/* A place in a window, row·KW + column; WINNER=int where a byte is too small. */
#ifndef WINNER
#define WINNER unsigned char
#define WINNER_ALIGN WIDTH
#else
#define WINNER_ALIGN 4
#endif
typedef struct ALIGNED(WINNER_ALIGN) { WINNER at[WIDTH]; } winners;

/* The large side is [.,h,w,c], the small one [.,oh,ow,c], with c in units of
 * WIDTH channels. Threads run over items, the vectors of one of the sides (or of
 * a grid of cells), whose extents are the three divisors. */
typedef struct {
	const real *x;  /* large, or null */
	const real *dy; /* small, or null */
	real *y;        /* the result: small forwards, large backwards; or null */
	winners *won;   /* small: which element won each window, or null */
	u32 items;
	int h, w, oh, ow, c, kh, kw, sh, sw, top, left, dilation_h, dilation_w;
	int below, beside, exclude; /* where the padding ends: H + bottom, W + right; whether it is not in a mean's divisor */
	float scale;                /* 1/(KH·KW), of the mean without DIVISOR */
	fastdiv by_c, by_col, by_row, by_sh, by_sw;
} pool_args, max_pool_args, max_pool_backward_cells_args, max_pool_backward_args, avg_pool_args, avg_pool_backward_args;

#define ITEMS(i, a) \
	ROLLED for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < (a).items; i += gridDim.x * blockDim.x)

typedef struct { u32 n, row, col, k; } place;

DEVICE place place_of(u32 i, fastdiv by_c, fastdiv by_col, fastdiv by_row) {
	place p;
	u32 pixel = div_by(i, by_c), line = div_by(pixel, by_col);
	p.k = mod_by(i, pixel, by_c);
	p.col = mod_by(pixel, line, by_col);
	p.n = div_by(line, by_row);
	p.row = mod_by(line, p.n, by_row);
	return p;
}

#ifdef DILATED
#define DILATION_H a.dilation_h
#define DILATION_W a.dilation_w
#else
#define DILATION_H 1
#define DILATION_W 1
#endif
#define REACH_H (DILATION_H * (a.kh - 1) + 1) /* rows from a window's first to its last */
#define REACH_W (DILATION_W * (a.kw - 1) + 1)

/* The place along an axis of n that is read for place at of a window. Beyond the
 * border it is the border's, which is not counted: so no load waits for a branch. */
DEVICE int inside(int at, int n) {
	at = at < 0 ? 0 : at;
	return at < n ? at : n - 1;
}

/* The largest of the window whose corner is (top, left), and its place: the
 * first largest in row-major order; a NaN wins. x points to the image's first
 * row and to the thread's channels. */
DEVICE void best_of(pool_args a, const real *x, int top, int left, int kh, int kw, float *best, int *won) {
	int first = (top < 0 ? CEIL_DIV(-top, DILATION_H) : 0) * kw + (left < 0 ? CEIL_DIV(-left, DILATION_W) : 0);
	UNROLL
	for (int l = 0; l < WIDTH; l++) best[l] = bits_float(0xff800000u), won[l] = first;
	UNROLL
	for (int u = 0; u < kh; u++) {
		UNROLL
		for (int v = 0; v < kw; v++) {
			const int row = top + u * DILATION_H, col = left + v * DILATION_W;
			int r = inside(row, a.h), q = inside(col, a.w), counts = (r == row) & (q == col);
			float z[WIDTH];
			load(x + ((i64)r * a.w + q) * a.c * WIDTH, z);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				/* Without && and ||, which would become branches. */
				int wins = counts & ((z[l] > best[l]) | ((z[l] != z[l]) & (best[l] == best[l])));
				best[l] = wins ? z[l] : best[l];
				won[l] = wins ? u * kw + v : won[l];
			}
		}
	}
}

/* The usual kernels are unrolled. */
DEVICE void best_of_any(pool_args a, const real *x, int top, int left, float *best, int *won) {
	if (a.kh == 2 && a.kw == 2) best_of(a, x, top, left, 2, 2, best, won);
	else if (a.kh == 3 && a.kw == 3) best_of(a, x, top, left, 3, 3, best, won);
	else best_of(a, x, top, left, a.kh, a.kw, best, won);
}

DEVICE const real *channels_of(pool_args a, place p) {
	return a.x + ((i64)p.n * a.h * a.w * a.c + p.k) * WIDTH;
}

/* Writes y and which element won, of these what is not null. Items: the small side. */
KERNEL(max_pool)(max_pool_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		place p = place_of(i, a.by_c, a.by_col, a.by_row);
		float best[WIDTH];
		int won[WIDTH];
		best_of_any(a, channels_of(a, p), (int)p.row * a.sh - a.top, (int)p.col * a.sw - a.left, best, won);
		if (a.won) {
			winners w;
			UNROLL
			for (int l = 0; l < WIDTH; l++) w.at[l] = (WINNER)won[l];
			a.won[i] = w;
		}
		if (a.y) store(a.y + (i64)i * WIDTH, best);
	}
}

/* A thread's part of the gradient where windows do not overlap: the winner of a
 * window, which is read or else found, gets dy, the rest of the sh×sw cell that it
 * lies in zero. */
DEVICE void fill_cell(pool_args a, place p, int kh, int kw, int sh, int sw) {
	int top = (int)p.row * sh, left = (int)p.col * sw;
	float best[WIDTH], d[WIDTH];
	int won[WIDTH];
	UNROLL
	for (int l = 0; l < WIDTH; l++) won[l] = -1, d[l] = 0.f;
	if ((int)p.row < a.oh && (int)p.col < a.ow) {
		i64 at = (((i64)p.n * a.oh + p.row) * a.ow + p.col) * a.c + p.k;
		load(a.dy + at * WIDTH, d);
		if (a.won) {
			winners w = a.won[at];
			UNROLL
			for (int l = 0; l < WIDTH; l++) won[l] = (int)w.at[l];
		} else {
			best_of(a, channels_of(a, p), top, left, kh, kw, best, won);
		}
	}
	real *y = a.y + ((i64)p.n * a.h * a.w * a.c + p.k) * WIDTH;
	UNROLL
	for (int u = 0; u < sh; u++) {
		UNROLL
		for (int v = 0; v < sw; v++) {
			if (top + u >= a.h || left + v >= a.w) continue;
			int at = u < kh && v < kw ? u * kw + v : -2;
			float out[WIDTH];
			UNROLL
			for (int l = 0; l < WIDTH; l++) out[l] = won[l] == at ? d[l] : 0.f;
			store(y + ((i64)(top + u) * a.w + left + v) * a.c * WIDTH, out);
		}
	}
}

/* dx where no two windows overlap and there is no padding. Items: the cells,
 * those without a window among them. */
KERNEL(max_pool_backward_cells)(max_pool_backward_cells_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		place p = place_of(i, a.by_c, a.by_col, a.by_row);
		if (a.kh == 2 && a.kw == 2 && a.sh == 2 && a.sw == 2) fill_cell(a, p, 2, 2, 2, 2);
		else fill_cell(a, p, a.kh, a.kw, a.sh, a.sw);
	}
}

/* The first and the last window along an axis that reach over place at, which is
 * counted with the padding before it. */
DEVICE int first_window(int at, int reach, int stride, fastdiv by_stride) {
	int t = at - reach + stride;
	return t < stride ? 0 : (int)div_by((u32)t, by_stride);
}

DEVICE int last_window(int at, int windows, fastdiv by_stride) {
	int t = (int)div_by((u32)at, by_stride);
	return t < windows ? t : windows - 1;
}

/* What a window's mean multiplies its sum with. */
DEVICE float scale_of(pool_args a, int i, int j) {
#ifdef DIVISOR
	int top = i * a.sh - a.top, left = j * a.sw - a.left, bottom = top + a.kh, right = left + a.kw;
	int below = a.exclude ? a.h : a.below, beside = a.exclude ? a.w : a.beside;
	bottom = bottom < below ? bottom : below, right = right < beside ? right : beside;
	if (a.exclude) top = top < 0 ? 0 : top, left = left < 0 ? 0 : left;
	return 1.f / (float)((bottom - top) * (right - left));
#else
	return a.scale;
#endif
}

/* The sum of the dy of all windows that hold the thread's place, which the place
 * has won if `won` is given; otherwise each is scaled. At most reach_h times
 * reach_w windows hold a place; what is read beyond the last one is not counted. */
DEVICE void gather(pool_args a, place p, int reach_h, int reach_w, int won, float *sum) {
	int row = (int)p.row + a.top, col = (int)p.col + a.left;
	int i0 = first_window(row, REACH_H, a.sh, a.by_sh), i1 = last_window(row, a.oh, a.by_sh);
	int j0 = first_window(col, REACH_W, a.sw, a.by_sw), j1 = last_window(col, a.ow, a.by_sw);
	i64 small = (i64)p.n * a.oh * a.ow * a.c + p.k;
	UNROLL
	for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
	UNROLL
	for (int u = 0; u < reach_h; u++) {
		UNROLL
		for (int v = 0; v < reach_w; v++) {
			int r = i0 + u, q = j0 + v, counts = (r <= i1) & (q <= j1);
			r = r <= i1 ? r : i1, q = q <= j1 ? q : j1;
			i64 at = small + ((i64)r * a.ow + q) * a.c;
			int k = row - r * a.sh, m = col - q * a.sw; /* the place in the window */
#ifdef DILATED
			counts &= (k % a.dilation_h == 0) & (m % a.dilation_w == 0);
			k /= a.dilation_h, m /= a.dilation_w;
#endif
			int self = k * a.kw + m;
			winners w;
			if (won) w = a.won[at];
			float d[WIDTH];
			load(a.dy + at * WIDTH, d);
#ifdef DIVISOR
			const float scale = scale_of(a, r, q);
			UNROLL
			for (int l = 0; l < WIDTH; l++) d[l] *= scale;
#endif
			UNROLL
			for (int l = 0; l < WIDTH; l++) sum[l] += counts & (!won | ((int)w.at[l] == self)) ? d[l] : 0.f;
		}
	}
}

/* One or two windows an axis, the usual numbers, are unrolled. */
DEVICE void gather_any(pool_args a, place p, int won, float *sum) {
	if (REACH_H <= a.sh && REACH_W <= a.sw) gather(a, p, 1, 1, won, sum);
	else if (REACH_H <= 2 * a.sh && REACH_W <= 2 * a.sw) gather(a, p, 2, 2, won, sum);
	else gather(a, p, CEIL_DIV(REACH_H, a.sh), CEIL_DIV(REACH_W, a.sw), won, sum);
}

/* dx from dy and which element won, for any windows. Items: the large side. */
KERNEL(max_pool_backward)(max_pool_backward_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		float sum[WIDTH];
		gather_any(a, place_of(i, a.by_c, a.by_col, a.by_row), 1, sum);
		store(a.y + (i64)i * WIDTH, sum);
	}
}

DEVICE void sum_of(pool_args a, const real *x, int top, int left, int kh, int kw, float *sum) {
	UNROLL
	for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
	UNROLL
	for (int u = 0; u < kh; u++) {
		UNROLL
		for (int v = 0; v < kw; v++) {
			int r = inside(top + u, a.h), q = inside(left + v, a.w), counts = (r == top + u) & (q == left + v);
			float z[WIDTH];
			load(x + ((i64)r * a.w + q) * a.c * WIDTH, z);
			UNROLL
			for (int l = 0; l < WIDTH; l++) sum[l] += counts ? z[l] : 0.f;
		}
	}
}

/* Items: the small side. */
KERNEL(avg_pool)(avg_pool_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		place p = place_of(i, a.by_c, a.by_col, a.by_row);
		const real *x = channels_of(a, p);
		int top = (int)p.row * a.sh - a.top, left = (int)p.col * a.sw - a.left;
		float sum[WIDTH];
		if (a.kh == 2 && a.kw == 2) sum_of(a, x, top, left, 2, 2, sum);
		else if (a.kh == 3 && a.kw == 3) sum_of(a, x, top, left, 3, 3, sum);
		else sum_of(a, x, top, left, a.kh, a.kw, sum);
		const float scale = scale_of(a, (int)p.row, (int)p.col);
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] *= scale;
		store(a.y + (i64)i * WIDTH, sum);
	}
}

/* Items: the large side. */
KERNEL(avg_pool_backward)(avg_pool_backward_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		float sum[WIDTH];
		gather_any(a, place_of(i, a.by_c, a.by_col, a.by_row), 0, sum);
#ifndef DIVISOR
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] *= a.scale;
#endif
		store(a.y + (i64)i * WIDTH, sum);
	}
}

/* ---- the mean of a whole picture, in float unless KEEP_DIMS ---- */

#define GLOBAL_THREADS 256

#ifdef KEEP_DIMS
typedef real mean_real;
DEVICE float ld_mean(const real *p) { return ld(p); }
DEVICE void st_mean(real *p, float v) { st(p, v); }
#else
typedef float mean_real;
DEVICE float ld_mean(const float *p) { return *p; }
DEVICE void st_mean(float *p, float v) { *p = v; }
#endif

/* y[n,c] = scale·Σ_p x[n,p,c]. A block has blockDim.x vectors of channels and
 * blockDim.y pixels side by side, GLOBAL_THREADS in all, and adds the pixels'
 * sums up at the end. chunks blocks make an image. */
typedef struct {
	const real *x;
	mean_real *y;
	u32 blocks;
	int pixels, c, chunks;
	float scale;
} global_avg_pool_args;

KERNEL(global_avg_pool)(global_avg_pool_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float part[GLOBAL_THREADS * WIDTH];
	int tx = (int)threadIdx.x, ty = (int)threadIdx.y, nx = (int)blockDim.x, ny = (int)blockDim.y;
	for (u32 b = blockIdx.x; b < a.blocks; b += gridDim.x) {
		u32 n = b / (u32)a.chunks;
		int k = (int)(b - n * (u32)a.chunks) * nx + tx;
		float sum[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) sum[l] = 0.f;
		if (k < a.c) {
			const real *x = a.x + ((i64)n * a.pixels * a.c + k) * WIDTH;
			for (int p = ty; p < a.pixels; p += ny) {
				float v[WIDTH];
				load(x + (i64)p * a.c * WIDTH, v);
				UNROLL
				for (int l = 0; l < WIDTH; l++) sum[l] += v[l];
			}
		}
		UNROLL
		for (int l = 0; l < WIDTH; l++) part[(ty * WIDTH + l) * nx + tx] = sum[l];
		__syncthreads();
		/* A thread for each of the block's channels, in the order of memory. */
		for (int t = ty * nx + tx; t < nx * WIDTH; t += GLOBAL_THREADS) {
			int column = t / WIDTH, l = t % WIDTH;
			int channel = (k - tx + column) * WIDTH + l;
			if (channel < a.c * WIDTH) {
				float total = 0.f;
				for (int r = 0; r < ny; r++) total += part[(r * WIDTH + l) * nx + column];
				st_mean(a.y + (i64)n * a.c * WIDTH + channel, total * a.scale);
			}
		}
		__syncthreads();
	}
}

/* dx[n,p,c] = scale·dy[n,c]. Items: the large side; by_image divides by an image's items. */
typedef struct {
	const mean_real *dy;
	real *dx;
	u32 items;
	int c;
	float scale;
	fastdiv by_c, by_image;
} global_avg_pool_backward_args;

KERNEL(global_avg_pool_backward)(global_avg_pool_backward_args a) {
	WAIT_FOR_EARLIER();
	ITEMS(i, a) {
		u32 n = div_by(i, a.by_image), k = mod_by(i, div_by(i, a.by_c), a.by_c);
		const mean_real *dy = a.dy + ((i64)n * a.c + k) * WIDTH;
		float v[WIDTH];
#if WIDTH == 1
		v[0] = ld_mean(dy);
#elif defined(KEEP_DIMS)
		load(dy, v);
#else
		UNROLL
		for (int l = 0; l < WIDTH; l += 4) {
			float4 r = ldf4(dy + l);
			v[l] = r.x, v[l + 1] = r.y, v[l + 2] = r.z, v[l + 3] = r.w;
		}
#endif
		UNROLL
		for (int l = 0; l < WIDTH; l++) v[l] *= a.scale;
		store(a.dx + (i64)i * WIDTH, v);
	}
}
