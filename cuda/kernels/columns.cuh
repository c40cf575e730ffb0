/* What layernorm.cu and groupnorm.cu share: rows of channels, of which a block
 * takes a part, and sums over these. A block is lines × tile threads; a thread
 * keeps to WIDTH neighboring channels and takes every lines-th row. Where a row
 * has more than a block's threads, blockIdx.y counts the tiles. */

#include "wide.cuh"

#define NORM_THREADS 256

typedef struct { int vectors, tile, lines; } columns; /* vectors: of WIDTH channels, a row */

/* The thread's line, and its vector in a row: -1 for one that has nothing to do. */
typedef struct { int line, k; } column;

DEVICE column column_of(columns c) {
	column t;
	t.line = (int)threadIdx.x / c.tile;
	t.k = (int)blockIdx.y * c.tile + (int)threadIdx.x % c.tile;
	if (t.line >= c.lines || t.k >= c.vectors) t.k = -1;
	return t;
}

/* Adds up the n numbers of a tile's lines, shared[i·NORM_THREADS + thread], in
 * a fixed order: those of line 0 are then the sums. All threads must call. */
DEVICE void merge_lines(float *shared, int n, columns c) {
	int t = (int)threadIdx.x, line = t / c.tile, half = 1;
	while (2 * half < c.lines) half *= 2;
	for (; half > 0; half /= 2) {
		__syncthreads();
		if (line >= half || line + half >= c.lines) continue;
		for (int i = 0; i < n; i++) shared[i * NORM_THREADS + t] += shared[i * NORM_THREADS + t + half * c.tile];
	}
}

/* A thread's part of the gradients of γ and β, Σdy·x̂ and Σdy of each channel. */
typedef struct { float dot[WIDTH], sum[WIDTH]; } norm_sums;

/* Adds up the block's sums and stores them as number `part` of `parts`:
 * out[0, part, channel] = Σdy·x̂, out[1, part, channel] = Σdy. */
DEVICE void store_sums(norm_sums s, columns c, column at, float *shared, float *out, i64 part, i64 parts) {
	int t = (int)threadIdx.x;
	i64 channels = (i64)c.vectors * WIDTH;
	UNROLL
	for (int l = 0; l < WIDTH; l++) {
		shared[l * NORM_THREADS + t] = s.dot[l];
		shared[(WIDTH + l) * NORM_THREADS + t] = s.sum[l];
	}
	merge_lines(shared, 2 * WIDTH, c);
	if (at.line > 0 || at.k < 0) return;
	UNROLL
	for (int l = 0; l < WIDTH; l++) {
		out[part * channels + at.k * WIDTH + l] = shared[l * NORM_THREADS + t];
		out[(parts + part) * channels + at.k * WIDTH + l] = shared[(WIDTH + l) * NORM_THREADS + t];
	}
}

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(NORM_THREADS)
