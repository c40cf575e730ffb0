/* A tile of a matrix product: C[TILE_M,TILE_N] += A[TILE_M,k]·B[k,TILE_N], by
 * one block, panel after panel of TILE_K terms.
 *
 * Panels lie in shared memory with k as the row: A transposed, B as it is. Each
 * thread keeps THREAD_M x THREAD_N elements of C in registers, in pieces of 4 x
 * 4 that lie PIECE_M rows and PIECE_N columns apart, so that a warp reads its
 * operands without bank conflicts, sixteen bytes a lane. While a panel is
 * multiplied the next one is on its way from memory to registers.
 *
 * With FOUR every extent that is contiguous in memory is a multiple of four and
 * every pointer aligned to four elements: operands and results move four
 * elements at a time. Without, one at a time.
 *
 * With GROUPS > 1 a tile covers so many groups of a grouped convolution: its
 * columns are GROUPS slots of SLOT columns, panel A holds DEPTH = TILE_K/GROUPS
 * terms for each of the slots, one slot's behind the other's, and panel B DEPTH
 * terms for every column.
 *
 * With SLICES > 1, a power of two up to 32, so many neighboring threads share
 * their elements of C and take every SLICES-th term, for tiles that are too small
 * to keep a block busy; tile_gather adds their sums. */

#ifndef TILE_M
#define TILE_M 64
#define TILE_N 64
#define THREAD_M 8
#define THREAD_N 4
#endif
#ifndef GROUPS
#define GROUPS 1
#endif
#ifndef SLICES
#define SLICES 1
#endif
#ifndef TILE_K
#define TILE_K (8 * GROUPS)
#endif

#define SLOT (TILE_N / GROUPS)
#define DEPTH (TILE_K / GROUPS)
#define THREADS_N (TILE_N / THREAD_N)
#define THREADS ((TILE_M / THREAD_M) * THREADS_N * SLICES)
#define ROW_A (TILE_M + 4) /* floats from one k to the next in panel A */
#define ROW_B (TILE_N + 4)
#define PANEL_A (TILE_K * ROW_A)
#define PANEL_B (DEPTH * ROW_B)
#define PIECE_M (TILE_M / (THREAD_M / 4))
#define PIECE_N (TILE_N / (THREAD_N / 4))
#define LANES_N (THREADS_N < 8 ? THREADS_N : 8)
#define LANES_M (32 / LANES_N)

/* Threads that a multiprocessor is to have room for: with 128 registers each
 * where they keep 64 elements or are few and carry much, 96 otherwise. Single
 * elements need more addresses. */
#if SLICES > 1
#define RESIDENT (2 * THREADS)
#elif !defined(FOUR)
#define RESIDENT 384
#elif THREAD_M * THREAD_N >= 64 || THREADS < 128
#define RESIDENT 512
#else
#define RESIDENT 640
#endif
#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(THREADS, RESIDENT / THREADS)

/* The first row and column of a thread's pieces: a warp covers LANES_M x LANES_N
 * of them, or the slices of 32/SLICES. */
#if SLICES > 1
DEVICE int tile_row(int t) { return t / SLICES / THREADS_N * 4; }
DEVICE int tile_col(int t) { return t / SLICES % THREADS_N * 4; }
#else
DEVICE int tile_row(int t) {
	return (t / 32 / (THREADS_N / LANES_N) * LANES_M + t % 32 / LANES_N) * 4;
}
DEVICE int tile_col(int t) {
	return (t / 32 % (THREADS_N / LANES_N) * LANES_N + t % LANES_N) * 4;
}
#endif

/* The row and the column of element (i, j) of a thread whose pieces start at
 * row and col. */
#define ELEMENT_ROW(row, i) ((row) + (i) / 4 * PIECE_M + (i) % 4)
#define ELEMENT_COL(col, j) ((col) + (j) / 4 * PIECE_N + (j) % 4)

DEVICE void put4(float *v, float4 x) { v[0] = x.x, v[1] = x.y, v[2] = x.z, v[3] = x.w; }

DEVICE void tile_clear(float acc[THREAD_M][THREAD_N]) {
	UNROLL
	for (int i = 0; i < THREAD_M; i++) {
		UNROLL
		for (int j = 0; j < THREAD_N; j++) acc[i][j] = 0.f;
	}
}

/* Multiplies two panels. a and b point to the thread's first term, row and column. */
DEVICE void tile_multiply(float acc[THREAD_M][THREAD_N], const float *a, const float *b) {
	UNROLL
	for (int k = 0; k < DEPTH; k += SLICES) {
		float va[THREAD_M], vb[THREAD_N];
		UNROLL
		for (int i = 0; i < THREAD_M; i += 4) put4(va + i, ldf4(a + k * ROW_A + i / 4 * PIECE_M));
		UNROLL
		for (int j = 0; j < THREAD_N; j += 4) put4(vb + j, ldf4(b + k * ROW_B + j / 4 * PIECE_N));
		UNROLL
		for (int i = 0; i < THREAD_M; i++) {
			UNROLL
			for (int j = 0; j < THREAD_N; j++) acc[i][j] = fmaf(va[i], vb[j], acc[i][j]);
		}
	}
}

/* Adds what the slices have, in the same order in each of them. */
DEVICE void tile_gather(float acc[THREAD_M][THREAD_N]) {
	UNROLL
	for (int lanes = 1; lanes < SLICES; lanes *= 2) {
		UNROLL
		for (int i = 0; i < THREAD_M; i++) {
			UNROLL
			for (int j = 0; j < THREAD_N; j++) acc[i][j] += __shfl_xor_sync(FULL_WARP, acc[i][j], lanes);
		}
	}
}

/* The sums of panel B's columns: SUMMERS threads a column add every SUMMERS-th
 * term, column_total, which all threads of the block must call, adds theirs and
 * has the sum of column t in thread t < TILE_N. shared has THREADS floats. */
#define SUMMERS (THREADS / TILE_N)

DEVICE float column_sum(const float *b, int t) {
	float sum = 0.f;
	if (t < SUMMERS * TILE_N) {
		UNROLL
		for (int k = 0; k < TILE_K; k += SUMMERS) {
			const int term = k + t / TILE_N;
			if (term < TILE_K) sum += b[term * ROW_B + t % TILE_N];
		}
	}
	return sum;
}

DEVICE float column_total(float sum, float *shared, int t) {
	__syncthreads();
	shared[t] = sum;
	__syncthreads();
	if (t < TILE_N) {
		UNROLL
		for (int i = 1; i < SUMMERS; i++) sum += shared[i * TILE_N + t];
	}
	return sum;
}

#ifdef FOUR
#define PIECE 4
#else
#define PIECE 1
#endif

/* ---- who loads what ----
 *
 * A thread carries CARRY floats of an operand of so many rows (of A) or columns
 * (of B), in pieces of PIECE elements. */

#define CARRY(rows) (CEIL_DIV((rows) * TILE_K, THREADS * PIECE) * PIECE)

/* Across: the operand is contiguous along k, and is transposed on its way into
 * the panel. Piece i is at k = across_k, row across_row + i·ACROSS_ROWS. With
 * FOUR two lanes take eight terms of one row and the sixteen pairs of lanes
 * sixteen rows: whole sectors are read, and the writes hit 32 different banks.
 * Otherwise TILE_K lanes take one row. */
#ifdef FOUR
#define ACROSS_ROWS (4 * THREADS / TILE_K)
DEVICE int across_k(int t) { return (t / 32 % (TILE_K / 8) * 2 + t % 2) * 4; }
DEVICE int across_row(int t) { return t / 32 / (TILE_K / 8) * 16 + t % 32 / 2; }
#else
#define ACROSS_ROWS (THREADS / TILE_K)
DEVICE int across_k(int t) { return t % TILE_K; }
DEVICE int across_row(int t) { return t / TILE_K; }
#endif

/* Writes what a thread carries, n floats, to a panel of so many rows. */
DEVICE void across_store(float *panel, const int rows, const float *v, const int n, int t) {
	const int step = rows + 4;
	if (ACROSS_ROWS > rows && across_row(t) >= rows) return;
	panel += across_k(t) * step + across_row(t);
	UNROLL
	for (int i = 0; i < n; i++) panel[i % PIECE * step + i / PIECE * ACROSS_ROWS] = v[i];
}

/* Along: the operand is contiguous along the panel's rows, of so many columns,
 * and so are the threads. Piece i has this k and this column; the column is the
 * same for all of a thread's pieces if there are as many threads. */
#define ALONG_K(t, i, columns) (((t) + (i) * THREADS) / ((columns) / PIECE))
#define ALONG_COL(t, i, columns) (((t) + (i) * THREADS) % ((columns) / PIECE) * PIECE)
/* Whether the block has more pieces than the panel. */
#define ALONG_BEYOND(t, i, columns) (CARRY(columns) * THREADS > TILE_K * (columns) && ALONG_K(t, i, columns) >= TILE_K)

DEVICE void along_store(float *panel, const int columns, const float *v, const int n, int t) {
	UNROLL
	for (int i = 0; i < n; i += PIECE) {
		if (ALONG_BEYOND(t, i / PIECE, columns)) continue;
		float *p = panel + ALONG_K(t, i / PIECE, columns) * (columns + 4) + ALONG_COL(t, i / PIECE, columns);
#ifdef FOUR
		stf4(p, make_float4(v[i], v[i + 1], v[i + 2], v[i + 3]));
#else
		*p = v[i];
#endif
	}
}

/* PIECE elements at p, or zeros. */
DEVICE void piece(float *v, const real *p, int in) {
#ifdef FOUR
	put4(v, in ? ld4(p) : zero4());
#else
	*v = in ? ld(p) : 0.f;
#endif
}
DEVICE void piece_float(float *v, const float *p, int in) {
#ifdef FOUR
	put4(v, in ? ldf4(p) : zero4());
#else
	*v = in ? *p : 0.f;
#endif
}

/* Four floats into a row of which n elements are left. */
DEVICE void put_row(float *p, int n, const float *v) {
#ifdef FOUR
	stf4(p, make_float4(v[0], v[1], v[2], v[3]));
#else
	UNROLL
	for (int j = 0; j < 4; j++) {
		if (j < n) p[j] = v[j];
	}
#endif
}

/* ---- the end of a tile ----
 *
 * What is applied to an output element: y = f(v + bias + residual). part, if
 * there, takes v instead, for a second stage to sum over the splits of k. */

typedef struct {
	const float *bias;
	const real *residual;
	real *y;
	float *part;
	int act;
} ending;

/* Ends four elements at y[at ...], channels col ... of which n are there. */
DEVICE void end4(ending e, i64 at, int col, int n, const float *v) {
	if (e.part) {
		put_row(e.part + at, n, v);
		return;
	}
#ifdef FOUR
	float4 r = make_float4(v[0], v[1], v[2], v[3]);
	if (e.bias) r = add4(r, ldf4(e.bias + col));
	if (e.residual) r = add4(r, ld4(e.residual + at));
	st4(e.y + at, act4(e.act, r));
#else
	UNROLL
	for (int j = 0; j < 4; j++) {
		if (j >= n) break;
		float r = v[j];
		if (e.bias) r += e.bias[col + j];
		if (e.residual) r += ld(e.residual + at + j);
		st(e.y + at + j, act(e.act, r));
	}
#endif
}
