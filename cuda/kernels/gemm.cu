/* Matrix products: the pointwise convolution, the linear layer, and their two
 * backwards. Matrices are row-major; a row is a pixel or a sample.
 *
 *   gemm             y[M,N]  = f(x[M,K]·w[K,N] + bias[N] + residual[M,N])
 *   gemm_transposed  dx[M,N] = dy[M,K]·w[N,K]ᵀ
 *   gemm_weight      dw[M,N] = x[K,M]ᵀ·dy[K,N],  db[N] = Σ_k dy[k,N]
 *
 * The sum over k may be cut into splits, whose partial results a second stage
 * (split_sum) adds in a fixed order. One block does one tile of one split; tiles
 * that share rows of x are neighbors in the grid. */

#include "tile.cuh"

typedef struct {
	const real *x;        /* [M,K] */
	const float *w;       /* [K,N]; transposed: [N,K] */
	const float *bias;    /* [N] or 0 */
	const real *residual; /* [M,N] or 0 */
	real *y;              /* [M,N] */
	float *part;          /* [splits,M,N], or 0 without splits */
	i64 m;
	int n, k;
	int tiles_m, tiles_n; /* ⌈M/TILE_M⌉, ⌈N/TILE_N⌉ */
	int panels;           /* of TILE_K terms, in a split */
	int act;
} gemm_args;

DEVICE void product(gemm_args a, const int transposed) {
	__shared__ float4 memory_a[2][PANEL_A / 4], memory_b[2][PANEL_B / 4];
	const int t = (int)threadIdx.x;
	const u32 tile = blockIdx.x / (u32)a.tiles_n, split = tile / (u32)a.tiles_m;
	const int col0 = (int)(blockIdx.x % (u32)a.tiles_n) * TILE_N;
	const i64 row0 = (i64)(tile % (u32)a.tiles_m) * TILE_M;
	const int first = (int)split * a.panels, left = CEIL_DIV(a.k, TILE_K) - first;
	const int panels = left < a.panels ? left : a.panels;
	const int row = tile_row(t), col = tile_col(t);
	const int rows = a.m - row0 < TILE_M ? (int)(a.m - row0) : TILE_M;
	const int cols = a.n - col0 < TILE_N ? a.n - col0 : TILE_N;
	const i64 step = (i64)ACROSS_ROWS * a.k; /* elements between a thread's pieces of x */
	const real *x = a.x + (row0 + across_row(t)) * a.k + across_k(t);
	const float *w = transposed ? a.w + (i64)(col0 + across_row(t)) * a.k + across_k(t) : a.w + col0;
	float acc[THREAD_M][THREAD_N], va[CARRY(TILE_M)], vb[CARRY(TILE_N)];
	tile_clear(acc);

	for (int p = -1; p < panels; p++) {
		if (p + 1 < panels) { /* the next panel sets out */
			const int k0 = (first + p + 1) * TILE_K, in = k0 + across_k(t) < a.k;
			const real *q = x + k0;
			UNROLL
			for (int i = 0; i < CARRY(TILE_M) / PIECE; i++, q += step) {
				piece(va + i * PIECE, q, in && across_row(t) + i * ACROSS_ROWS < rows);
			}
			UNROLL
			for (int i = 0; i < CARRY(TILE_N) / PIECE; i++) {
				if (transposed) {
					piece_float(vb + i * PIECE, w + k0 + i * step, in && across_row(t) + i * ACROSS_ROWS < cols);
				} else {
					const int k = k0 + ALONG_K(t, i, TILE_N), c = ALONG_COL(t, i, TILE_N);
					piece_float(vb + i * PIECE, w + (i64)k * a.n + c, k < a.k && c < cols);
				}
			}
		}
		if (p >= 0) {
			tile_multiply(acc, (const float *)memory_a[p & 1] + row, (const float *)memory_b[p & 1] + col);
		}
		if (p + 1 < panels) { /* and arrives */
			float *pb = (float *)memory_b[(p + 1) & 1];
			across_store((float *)memory_a[(p + 1) & 1], TILE_M, va, CARRY(TILE_M), t);
			if (transposed) across_store(pb, TILE_N, vb, CARRY(TILE_N), t);
			else along_store(pb, TILE_N, vb, CARRY(TILE_N), t);
			__syncthreads();
		}
	}

	ending e;
	e.bias = a.bias, e.residual = a.residual, e.y = a.y, e.act = a.act;
	e.part = a.part ? a.part + (i64)split * a.m * a.n : a.part;
	UNROLL
	for (int i = 0; i < THREAD_M; i++) {
		const int r = ELEMENT_ROW(row, i);
		if (r >= rows) continue;
		UNROLL
		for (int j = 0; j < THREAD_N; j += 4) {
			const int c = ELEMENT_COL(col, j);
			if (c < cols) end4(e, (row0 + r) * a.n + col0 + c, col0 + c, cols - c, acc[i] + j);
		}
	}
}

KERNEL(gemm)(gemm_args a) {
	WAIT_FOR_EARLIER();
	product(a, 0);
}

KERNEL(gemm_transposed)(gemm_args a) {
	WAIT_FOR_EARLIER();
	product(a, 1);
}

typedef struct {
	const real *x;  /* [K,M] */
	const real *dy; /* [K,N] */
	float *dw;      /* [M,N], in each split */
	float *db;      /* [N] or 0, in each split */
	i64 k;
	i64 stride; /* floats from one split's results to the next */
	int m, n;
	int tiles_m, tiles_n;
	int panels;
} gemm_weight_args;

KERNEL(gemm_weight)(gemm_weight_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float4 memory_a[2][PANEL_A / 4], memory_b[2][PANEL_B / 4];
	const int t = (int)threadIdx.x;
	const u32 tile = blockIdx.x / (u32)a.tiles_n, split = tile / (u32)a.tiles_m;
	const int col0 = (int)(blockIdx.x % (u32)a.tiles_n) * TILE_N, row0 = (int)(tile % (u32)a.tiles_m) * TILE_M;
	const i64 k0 = (i64)split * a.panels * TILE_K;
	const i64 left = (a.k - k0 + TILE_K - 1) / TILE_K;
	const int panels = left < a.panels ? (int)left : a.panels;
	const int row = tile_row(t), col = tile_col(t);
	const int rows = a.m - row0 < TILE_M ? a.m - row0 : TILE_M;
	const int cols = a.n - col0 < TILE_N ? a.n - col0 : TILE_N;
	const int sums = a.db && row0 == 0; /* whether the block sums the columns of dy */
	float acc[THREAD_M][THREAD_N], va[CARRY(TILE_M)], vb[CARRY(TILE_N)], sum = 0.f;
	tile_clear(acc);

	for (int p = -1; p < panels; p++) {
		if (p + 1 < panels) {
			const i64 start = k0 + (i64)(p + 1) * TILE_K;
			const real *x = a.x + start * a.m + row0, *dy = a.dy + start * a.n + col0;
			const int terms = a.k - start < TILE_K ? (int)(a.k - start) : TILE_K;
			UNROLL
			for (int i = 0; i < CARRY(TILE_M) / PIECE; i++) {
				const int k = ALONG_K(t, i, TILE_M), r = ALONG_COL(t, i, TILE_M);
				piece(va + i * PIECE, x + (i64)k * a.m + r, k < terms && r < rows);
			}
			UNROLL
			for (int i = 0; i < CARRY(TILE_N) / PIECE; i++) {
				const int k = ALONG_K(t, i, TILE_N), c = ALONG_COL(t, i, TILE_N);
				piece(vb + i * PIECE, dy + (i64)k * a.n + c, k < terms && c < cols);
			}
		}
		if (p >= 0) {
			const float *pb = (const float *)memory_b[p & 1];
			tile_multiply(acc, (const float *)memory_a[p & 1] + row, pb + col);
			if (sums) sum += column_sum(pb, t);
		}
		if (p + 1 < panels) {
			along_store((float *)memory_a[(p + 1) & 1], TILE_M, va, CARRY(TILE_M), t);
			along_store((float *)memory_b[(p + 1) & 1], TILE_N, vb, CARRY(TILE_N), t);
			__syncthreads();
		}
	}

	float *dw = a.dw + (i64)split * a.stride;
	UNROLL
	for (int i = 0; i < THREAD_M; i++) {
		const int r = ELEMENT_ROW(row, i);
		if (r >= rows) continue;
		UNROLL
		for (int j = 0; j < THREAD_N; j += 4) {
			const int c = ELEMENT_COL(col, j);
			if (c < cols) put_row(dw + (i64)(row0 + r) * a.n + col0 + c, cols - c, acc[i] + j);
		}
	}
	if (sums) {
		sum = column_total(sum, (float *)memory_a, t);
		if (t < TILE_N && t < cols) a.db[(i64)split * a.stride + col0 + t] = sum;
	}
}
