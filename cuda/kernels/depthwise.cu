/* Depthwise convolution with any kernel, stride, dilation, padding and channel
 * multiplier, and its gradients. See engine.Conv2D for the algebra;
 * depthwise3x3.cu has the fast kernels for the usual shapes.
 *
 * x [N,H,W,C], w [KH,KW,1,O] (float), y [N,OH,OW,O], O = C·M: channel o of y
 * sees channel o/M of x. LANES = 4 is for M = 1 and C divisible by four. */

#ifndef LANES
#define LANES 1
#endif

#if LANES == 4
typedef float4 vec;
DEVICE vec load(const real *p) { return ld4(p); }
DEVICE void store(real *p, vec v) { st4(p, v); }
DEVICE vec splat(float v) { return splat4(v); }
DEVICE vec fma_vec(vec a, vec b, vec c) { return fma4(a, b, c); }
DEVICE vec add_vec(vec a, vec b) { return add4(a, b); }
DEVICE vec act_vec(int f, vec v) { return act4(f, v); }
#else
typedef float vec;
DEVICE vec load(const real *p) { return ld(p); }
DEVICE void store(real *p, vec v) { st(p, v); }
DEVICE vec splat(float v) { return v; }
DEVICE vec fma_vec(vec a, vec b, vec c) { return fmaf(a, b, c); }
DEVICE vec add_vec(vec a, vec b) { return a + b; }
DEVICE vec act_vec(int f, vec v) { return act(f, v); }
#endif
DEVICE vec load_vec(const float *p) { return *(const vec *)p; }

typedef struct {
	int n, h, w, c, oh, ow, o, kh, kw, m;
	int sh, sw, top, left, dilation_h, dilation_w;
	u32 each;                   /* vecs of a picture that the kernel makes */
	fastdiv by_lanes, by_width; /* vecs of its pixel, pixels of its row */
	fastdiv by_m, by_sh, by_sw;
} geometry;

/* Row i, column j and channel c of vec q of a picture. */
typedef struct { int i, j, c; } place;

DEVICE place find(geometry g, u32 q) {
	u32 at = div_by(q, g.by_lanes), row = div_by(at, g.by_width);
	place p;
	p.c = (int)mod_by(q, at, g.by_lanes) * LANES;
	p.i = (int)row;
	p.j = (int)mod_by(at, row, g.by_width);
	return p;
}

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(256, 4)

typedef struct {
	const real *x, *residual;
	const float *w, *bias; /* residual and bias may be null */
	real *y;
	geometry g;
	int act;
} depthwise_args;

/* y = act(x ⋆ w + bias + residual). A thread makes LANES channels of a pixel;
 * blocks along y share out the pictures. */
KERNEL(depthwise)(depthwise_args a) {
	WAIT_FOR_EARLIER();
	geometry g = a.g;
	u32 q = blockIdx.x * blockDim.x + threadIdx.x;
	if (q >= g.each) return;
	place at = find(g, q);
	int c = g.m == 1 ? at.c : (int)div_by((u32)at.c, g.by_m);
	int h0 = at.i * g.sh - g.top, w0 = at.j * g.sw - g.left;
	vec bias = splat(0.f);
	if (a.bias) bias = load_vec(a.bias + at.c);
	for (int n = (int)blockIdx.y; n < g.n; n += (int)gridDim.y) {
		vec s = bias;
		for (int u = 0; u < g.kh; u++) {
			int h = h0 + u * g.dilation_h;
			if (h < 0 || h >= g.h) continue;
			const real *x = a.x + ((i64)n * g.h + h) * g.w * g.c + c;
			const float *k = a.w + (i64)u * g.kw * g.o + at.c;
			for (int v = 0; v < g.kw; v++) {
				int w = w0 + v * g.dilation_w;
				if (w < 0 || w >= g.w) continue;
				s = fma_vec(load(x + (i64)w * g.c), load_vec(k + (i64)v * g.o), s);
			}
		}
		i64 out = ((i64)n * g.each + q) * LANES;
		if (a.residual) s = add_vec(s, load(a.residual + out));
		store(a.y + out, act_vec(a.act, s));
	}
}

typedef struct {
	const real *dy;
	const float *w;
	real *dx;
	geometry g;
} depthwise_data_args;

/* The output row, or column, that input row t-pad met through one tap, or -1. */
DEVICE int met(int t, int n, int stride, fastdiv by_stride) {
	if (t < 0) return -1;
	int i = (int)div_by((u32)t, by_stride);
	return i < n && i * stride == t ? i : -1;
}

/* dx, gathered: a thread sums over the taps that its pixel took part in. */
KERNEL(depthwise_data)(depthwise_data_args a) {
	WAIT_FOR_EARLIER();
	geometry g = a.g;
	u32 q = blockIdx.x * blockDim.x + threadIdx.x;
	if (q >= g.each) return;
	place at = find(g, q);
	int m = LANES == 1 ? g.m : 1, o = at.c * m;
	for (int n = (int)blockIdx.y; n < g.n; n += (int)gridDim.y) {
		vec s = splat(0.f);
		for (int u = 0; u < g.kh; u++) {
			int i = met(at.i + g.top - u * g.dilation_h, g.oh, g.sh, g.by_sh);
			if (i < 0) continue;
			const real *dy = a.dy + ((i64)n * g.oh + i) * g.ow * g.o + o;
			const float *k = a.w + (i64)u * g.kw * g.o + o;
			for (int v = 0; v < g.kw; v++) {
				int j = met(at.j + g.left - v * g.dilation_w, g.ow, g.sw, g.by_sw);
				if (j < 0) continue;
				for (int r = 0; r < m; r++) s = fma_vec(load(dy + (i64)j * g.o + r), load_vec(k + (i64)v * g.o + r), s);
			}
		}
		store(a.dx + ((i64)n * g.each + q) * LANES, s);
	}
}

#if LANES == 1

#define CHANNELS 32 /* of a block: a warp's */
#define WARPS 8

typedef struct {
	const real *x, *dy;
	float *partial; /* [taps][tiles][blocks][CHANNELS], if blocks > 1 */
	float *dw, *db; /* db may be null */
	u32 *finished;  /* [taps][tiles] counters that are zero, if blocks > 1 */
	geometry g;
	u32 rows, chunk; /* rows of all y, rows of a block */
	int taps;        /* KH·KW; with db one more */
	int tiles;       /* of CHANNELS output channels */
	int blocks;      /* that share a tap and a tile */
	fastdiv by_oh, by_blocks, by_tiles, by_kw;
} depthwise_weight_args;

/* ⌈a/b⌉ for any a and b > 0. */
DEVICE int ceil_div(int a, int b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

/* What rows from q on, every WARPS-th before end, give to tap u, v of channel o. */
DEVICE float rows_sum(depthwise_weight_args a, int u, int v, int o, u32 q, u32 end) {
	geometry g = a.g;
	int c = (int)div_by((u32)o, g.by_m), shift = v * g.dilation_w - g.left;
	int from = ceil_div(-shift, g.sw), to = ceil_div(g.w - shift, g.sw); /* columns that see x */
	if (from < 0) from = 0;
	if (to > g.ow) to = g.ow;
	float s = 0.f;
	for (; q < end; q += WARPS) {
		u32 n = div_by(q, a.by_oh);
		int h = (int)mod_by(q, n, a.by_oh) * g.sh + u * g.dilation_h - g.top;
		if (h < 0 || h >= g.h) continue;
		const real *x = a.x + (((i64)n * g.h + h) * g.w + shift) * g.c + c;
		const real *dy = a.dy + (i64)q * g.ow * g.o + o;
		for (int j = from; j < to; j++) s = fmaf(ld(x + (i64)j * g.sw * g.c), ld(dy + (i64)j * g.o), s);
	}
	return s;
}

/* The same for the bias. */
DEVICE float bias_sum(depthwise_weight_args a, int o, u32 q, u32 end) {
	float s = 0.f;
	for (; q < end; q += WARPS) {
		const real *dy = a.dy + (i64)q * a.g.ow * a.g.o + o;
		for (int j = 0; j < a.g.ow; j++) s += ld(dy + (i64)j * a.g.o);
	}
	return s;
}

/* The sum of v over the block's warps, lane by lane, in the first warp. */
DEVICE float warps_sum(float v, float *shared) {
	int t = (int)threadIdx.x;
	shared[t] = v;
	__syncthreads();
	if (t < CHANNELS)
		for (int i = 1; i < WARPS; i++) v += shared[t + i * CHANNELS];
	__syncthreads();
	return v;
}

/* dw and db. A block sums one tap of CHANNELS channels over a chunk of rows, one
 * of y's rows a warp at a time; the last block of a tap and tile adds the chunks
 * up in their order. */
KERNEL(depthwise_weight)(depthwise_weight_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float shared[CHANNELS * WARPS];
	__shared__ int flag;
	u32 which = div_by(blockIdx.x, a.by_blocks), block = mod_by(blockIdx.x, which, a.by_blocks);
	u32 tap = div_by(which, a.by_tiles), tile = mod_by(which, tap, a.by_tiles);
	int lane = (int)threadIdx.x % CHANNELS, warp = (int)threadIdx.x / CHANNELS, o = (int)tile * CHANNELS + lane;
	u32 from = block * a.chunk, end = from + a.chunk < a.rows ? from + a.chunk : a.rows;
	float v = 0.f;
	if (o < a.g.o) {
		if ((int)tap < a.g.kh * a.g.kw) {
			u32 row = div_by(tap, a.by_kw);
			v = rows_sum(a, (int)row, (int)mod_by(tap, row, a.by_kw), o, from + (u32)warp, end);
		} else {
			v = bias_sum(a, o, from + (u32)warp, end);
		}
	}
	v = warps_sum(v, shared);
	if (a.blocks > 1) {
		float *p = a.partial + (i64)which * a.blocks * CHANNELS + lane;
		if (warp == 0) p[(i64)block * CHANNELS] = v;
		if (!last_block(a.finished + which, (u32)a.blocks, &flag)) return;
		v = 0.f;
		UNROLL8
		for (int b = warp; b < a.blocks; b += WARPS) v += p[(i64)b * CHANNELS];
		v = warps_sum(v, shared);
	}
	if (warp > 0 || o >= a.g.o) return;
	if ((int)tap < a.g.kh * a.g.kw) a.dw[(i64)tap * a.g.o + o] = v;
	else a.db[o] = v;
}

#endif
