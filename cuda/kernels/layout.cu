/* What stands behind a product that cuDNN or cuBLASLt computes: gradients of weights
 * brought back into our layout, what is added, and sums of columns. What stands before
 * it is in weights.cu. */

/* transpose_back: y[j,i] = x[i,j] for x [rows,cols], of the type of activations, to
 * float32: KRSC weights, [O,KH·KW·I], become HWIO. A block moves tiles of 32×32
 * through shared memory, whose rows are one longer to keep to different banks. */

typedef struct {
	const real *x;
	float *y;
	int rows, cols;
	int across; /* tiles along cols */
} transpose_back_args;

#define LDF1(p) (*(p))

KERNEL(transpose_back)(transpose_back_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float tile[32][33];
	const int lane = (int)threadIdx.x % 32, line = (int)threadIdx.x / 32, lines = (int)blockDim.x / 32;
	const int top = (int)blockIdx.x / a.across * 32, left = (int)blockIdx.x % a.across * 32;
	for (int r = line; r < 32; r += lines) {
		if (top + r < a.rows && left + lane < a.cols) tile[r][lane] = ld(a.x + (i64)(top + r) * a.cols + left + lane);
	}
	__syncthreads();
	for (int r = line; r < 32; r += lines) {
		if (left + r < a.cols && top + lane < a.rows) a.y[(i64)(left + r) * a.rows + top + lane] = tile[lane][r];
	}
}

/* epilogue: y[i] = f(x[i] + bias[i mod C] + residual[i]) for i < n, where bias
 * and residual may be missing, and x may be y; narrow: the same for a float32 x.
 * C and n count vectors of `wide` elements, which is four where C is a multiple
 * of four, else one. A thread's place in a row moves on by a constant, so that
 * there is one division a thread. */

typedef struct {
	const void *x;
	real *y;
	const float *bias;
	const real *residual;
	i64 n;
	int channels;
	int act;
} epilogue_args;

#define EPILOGUE(name, wide, value, type, loadx, load, store, loadf, add, take) \
	KERNEL(name)(epilogue_args a) {                                             \
		WAIT_FOR_EARLIER();                                                     \
		const type *x = (const type *)a.x;                                      \
		const i64 step = (i64)gridDim.x * blockDim.x;                           \
		const int turn = (int)(step % a.channels);                              \
		i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x;                     \
		int c = (int)(i % a.channels);                                          \
		for (; i < a.n; i += step) {                                            \
			value v = loadx(x + i * wide);                                      \
			if (a.bias) v = add(v, loadf(a.bias + c * wide));                   \
			if (a.residual) v = add(v, load(a.residual + i * wide));            \
			store(a.y + i * wide, take(a.act, v));                              \
			c += turn;                                                          \
			if (c >= a.channels) c -= a.channels;                               \
		}                                                                       \
	}

#define ADD1(a, b) ((a) + (b))

EPILOGUE(epilogue, 1, float, real, ld, ld, st, LDF1, ADD1, act)
EPILOGUE(epilogue4, 4, float4, real, ld4, ld4, st4, ldf4, add4, act4)
EPILOGUE(narrow, 1, float, float, LDF1, ld, st, LDF1, ADD1, act)
EPILOGUE(narrow4, 4, float4, float, ldf4, ld4, st4, ldf4, add4, act4)

/* column_sum: part[b,c] = Σ x[r,c] over the rows of block b, for x [rows,cols].
 * A block takes `width` columns, of which gridDim.y blocks have all, and `lines`
 * rows at a time; width·lines threads work. Two blocks with neighboring x have
 * neighboring rows. */

#define COLUMN_THREADS 256
#if ON_DEVICE
#define UNROLL4 _Pragma("unroll 4")
#else
#define UNROLL4
#endif

typedef struct {
	const real *x;
	float *part;
	i64 rows;
	i64 chunk; /* rows of a block */
	int cols;
	int width, lines;
} column_sum_args;

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(COLUMN_THREADS)

KERNEL(column_sum)(column_sum_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float sums[COLUMN_THREADS];
	const int t = (int)threadIdx.x, line = t / a.width;
	const int c = (int)blockIdx.y * a.width + t % a.width;
	const i64 from = (i64)blockIdx.x * a.chunk;
	const i64 to = from + a.chunk < a.rows ? from + a.chunk : a.rows;
	float sum = 0.f;
	if (line < a.lines && c < a.cols) {
		UNROLL4
		for (i64 r = from + line; r < to; r += a.lines) sum += ld(a.x + r * a.cols + c);
	}
	sums[t] = sum;
	__syncthreads();
	if (line > 0 || c >= a.cols) return;
	for (int l = 1; l < a.lines; l++) sum += sums[l * a.width + t];
	a.part[(i64)blockIdx.x * a.cols + c] = sum;
}

/* column_total: y[c] = Σ_s part[s,c] for c < cols. A warp takes 32 columns, the
 * warps of a block every LANES-th part; their sums are added in order. */

#define LANES 8

typedef struct {
	const float *part;
	float *y;
	int parts, cols;
} column_total_args;

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(32 * LANES)

KERNEL(column_total)(column_total_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float sums[LANES][32];
	const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
	const int c = (int)blockIdx.x * 32 + lane;
	float sum = 0.f;
	if (c < a.cols) {
		UNROLL4
		for (int s = warp; s < a.parts; s += LANES) sum += a.part[(i64)s * a.cols + c];
	}
	sums[warp][lane] = sum;
	__syncthreads();
	if (warp > 0 || c >= a.cols) return;
	UNROLL
	for (int w = 1; w < LANES; w++) sum += sums[w][lane];
	a.y[c] = sum;
}
