/* What has a number for each channel: scales and shifts, the slopes of PReLU, and
 * the factors that each image or each pixel has for itself. x is rows of channels.
 *
 * With -DGATE the numbers are activations, a vector for each image; with -DPRELU
 * they are slopes, and with -DONE there is one slope for all channels. With
 * -DFAKE they are the scales of engine.FakeQuant, and the shifts its zero points. */

#include "columns.cuh"

#ifdef GATE
typedef real factor;
DEVICE void load_factors(const real *p, float *v) { load(p, v); }
#else
typedef float factor;
DEVICE void load_factors(const float *p, float *v) {
	UNROLL
	for (int l = 0; l < WIDTH; l++) v[l] = p[l];
}
#endif

#ifdef ONE
#define SHIFT_OF(c) 0
#else
#define SHIFT_OF(c) (c)
#endif

/* The nearest integer, halves to the even one, without a negative zero; v between
 * two bounds, a NaN itself. */
DEVICE float nearest(float v) { return rintf(v) + 0.f; }
DEVICE float between(float v, float least, float most) { return v < least ? least : v > most ? most : v; }

/* y = x·w + b, or PReLU, or FakeQuant. A null w or b is left out. */
typedef struct {
	const real *x;
	const factor *w;
	const float *b;
	real *y;
	u32 items;             /* vectors of WIDTH channels */
	fastdiv by_row, by_image; /* vectors of a row, rows of an image */
	float lo, hi;             /* codes */
} channelwise_args;

KERNEL(channelwise)(channelwise_args a) {
	WAIT_FOR_EARLIER();
	ROLLED
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		u32 row = div_by(i, a.by_row), c = mod_by(i, row, a.by_row) * WIDTH;
		float v[WIDTH], w[WIDTH], b[WIDTH];
		load(a.x + (i64)i * WIDTH, v);
#ifdef GATE
		load_factors(a.w + (i64)div_by(row, a.by_image) * a.by_row.div * WIDTH + c, w);
#elif defined(ONE)
		UNROLL
		for (int l = 0; l < WIDTH; l++) w[l] = *a.w;
#else
		if (a.w) load_factors(a.w + c, w);
#endif
		if (a.b) {
			UNROLL
			for (int l = 0; l < WIDTH; l++) b[l] = a.b[SHIFT_OF(c + l)];
		}
		UNROLL
		for (int l = 0; l < WIDTH; l++) {
#ifdef PRELU
			v[l] = v[l] > 0.f ? v[l] : v[l] * w[l];
#elif defined(FAKE)
			float z = a.b ? b[l] : 0.f;
			v[l] = __fmul_rn(nearest(between(__fdiv_rn(v[l], w[l]), a.lo - z, a.hi - z)), w[l]);
#else
			if (a.w) v[l] *= w[l];
			if (a.b) v[l] += b[l];
#endif
		}
		store(a.y + (i64)i * WIDTH, v);
	}
}

/* dx, where it is wanted, and parts of Σdy·x and Σdy; for PReLU only where x is
 * not positive; for FakeQuant of Σdy·t·gain. Blocks are `chunks` along the rows of each image. */
typedef struct {
	const real *x, *dy;
	const factor *w;
	real *dx;    /* may be null */
	float *part; /* [2, images·chunks, channels] */
	i64 rows, chunk; /* of an image, and of a block */
	int chunks, parts;
	columns c;
	const float *b; /* of FakeQuant, as are lo, hi and gain */
	float lo, hi, gain;
} channelwise_grad_args;

KERNEL(channelwise_grad)(channelwise_grad_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[2 * WIDTH * NORM_THREADS];
	column at = column_of(a.c);
	norm_sums s;
	i64 image = (i64)(blockIdx.x / (u32)a.chunks), from = (i64)(blockIdx.x % (u32)a.chunks) * a.chunk;
	i64 to = from + a.chunk < a.rows ? from + a.chunk : a.rows;
	UNROLL
	for (int l = 0; l < WIDTH; l++) s.dot[l] = s.sum[l] = 0.f;
	if (at.k >= 0) {
		float w[WIDTH];
		UNROLL
		for (int l = 0; l < WIDTH; l++) w[l] = 0.f;
#ifdef GATE
		load_factors(a.w + (image * a.c.vectors + at.k) * WIDTH, w);
#elif defined(ONE)
		UNROLL
		for (int l = 0; l < WIDTH; l++) w[l] = *a.w;
#else
		if (a.w) load_factors(a.w + at.k * WIDTH, w);
#endif
		for (i64 row = from + at.line; row < to; row += a.c.lines) {
			float v[WIDTH], g[WIDTH];
			i64 p = ((image * a.rows + row) * a.c.vectors + at.k) * WIDTH;
			load(a.x + p, v), load(a.dy + p, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				s.sum[l] += g[l];
#ifdef FAKE
				float z = a.b ? a.b[SHIFT_OF(at.k * WIDTH + l)] : 0.f, least = a.lo - z, most = a.hi - z;
				float u = __fdiv_rn(v[l], w[l]), r = nearest(u);
				float t = r < least ? least : r > most ? most : r - u;
				s.dot[l] = fmaf(g[l], t * a.gain, s.dot[l]);
				if (r < least || r > most) g[l] = 0.f;
				continue;
#endif
#ifdef PRELU
				if (v[l] > 0.f) continue;
#endif
				s.dot[l] = fmaf(g[l], v[l], s.dot[l]);
				g[l] *= w[l];
			}
			if (a.dx) store(a.dx + p, g);
		}
	}
	store_sums(s, a.c, at, shared, a.part, blockIdx.x, a.parts);
}

/* ds[image, channel] = Σ of the image's parts, a thread for each. */
typedef struct {
	const float *part;
	real *ds;
	u32 items;
	int chunks;
	fastdiv by_channels;
} channelwise_total_args;

KERNEL(channelwise_total)(channelwise_total_args a) {
	WAIT_FOR_EARLIER();
	for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < a.items; i += gridDim.x * blockDim.x) {
		u32 image = div_by(i, a.by_channels), c = mod_by(i, image, a.by_channels);
		float s = 0.f;
		for (int k = 0; k < a.chunks; k++) s += a.part[((i64)image * a.chunks + k) * a.by_channels.div + c];
		st(a.ds + i, s);
	}
}

/* dw = Σ of n parts, in one block. */
typedef struct {
	const float *part;
	float *dw;
	i64 n;
} slope_total_args;

KERNEL(slope_total)(slope_total_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[32];
	float s = 0.f;
	for (i64 i = threadIdx.x; i < a.n; i += NORM_THREADS) s += a.part[i];
	s = block_sum(s, shared);
	if (threadIdx.x == 0) *a.dw = s;
}

/* y = x·w with a factor for each row, a warp a row; with dy, dx = dy·w and
 * dw = Σdy·x. */
typedef struct {
	const real *x, *w, *dy;
	real *y, *dw;
	i64 rows;
	int vectors;
} rowwise_args;

KERNEL(rowwise)(rowwise_args a) {
	WAIT_FOR_EARLIER();
	int lane = (int)threadIdx.x % 32;
	for (i64 row = (i64)blockIdx.x * (NORM_THREADS / 32) + threadIdx.x / 32; row < a.rows; row += (i64)gridDim.x * (NORM_THREADS / 32)) {
		float w = ld(a.w + row), d = 0.f;
		for (int k = lane; k < a.vectors; k += 32) {
			float v[WIDTH], g[WIDTH];
			i64 p = (row * a.vectors + k) * WIDTH;
			load(a.x + p, v);
			if (a.dy) load(a.dy + p, g);
			UNROLL
			for (int l = 0; l < WIDTH; l++) {
				if (a.dy) d = fmaf(g[l], v[l], d), v[l] = g[l];
				v[l] *= w;
			}
			store(a.y + p, v);
		}
		if (!a.dy) continue;
		d = warp_sum(d);
		if (lane == 0) st(a.dw + row, d);
	}
}
