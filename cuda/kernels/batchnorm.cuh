/* What batchnorm.cu and batchnorm_backward.cu share: how a block's threads take
 * the rows of x, and the last sums. */

/* The most threads of a block. The passes that leave sums have as many, so that
 * few blocks have enough loads under way; those that write have half of them. */
#define BN_THREADS 512
#define BN_ROWS (16 / VEC)

/* The finishing kernels: channels and partial results that a block works on at a
 * time. */
#define BN_CHANNELS 8
#define BN_SLOTS (BN_THREADS / BN_CHANNELS)

/* The rows lo + line + k·lines, k < rows, of one thread, and its column. */
typedef struct {
	size_t at; /* of the first row's first element */
	int column, rows, line;
} bn_span;

DEVICE bn_span bn_rows(size_t rows, u32 chunk, int width, int tile, int lines) {
	bn_span s;
	int lane = (int)threadIdx.x % tile;
	size_t lo = (size_t)blockIdx.x * chunk;
	size_t left = lo < rows ? rows - lo : 0;
	u32 count = left < chunk ? (u32)left : chunk;
	s.line = (int)threadIdx.x / tile;
	s.column = (int)blockIdx.y * tile + lane;
	s.rows = 0;
	if (s.line < lines && s.column < width && (u32)s.line < count)
		s.rows = (int)((count - (u32)s.line + (u32)lines - 1u) / (u32)lines);
	s.at = ((lo + (size_t)s.line) * (size_t)width + (size_t)s.column) * VEC;
	return s;
}

/* The sum over the block's threads of one channel, in all of them. */
DEVICE double bn_total(double *shared, double v) {
	int t = (int)threadIdx.x;
	shared[t] = v;
	for (int half = BN_SLOTS / 2; half > 0; half /= 2) {
		__syncthreads();
		if (t / BN_CHANNELS < half) shared[t] += shared[t + half * BN_CHANNELS];
	}
	__syncthreads();
	v = shared[t % BN_CHANNELS];
	__syncthreads();
	return v;
}
