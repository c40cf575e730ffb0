/* The first convolution of a net: few input channels, which no matrix product
 * can load four at a time, and the largest pictures.
 *
 *   first_layer        y[n,i,j,o]  = f(Σ_{u,v,c} x[n, i·s+u-p, j·s+v-p, c]·w[u,v,c,o] + bias[o] + residual[n,i,j,o])
 *   first_layer_weight dw[u,v,c,o] = Σ_{n,i,j} x[n, i·s+u-p, j·s+v-p, c]·dy[n,i,j,o],  db[o] = Σ_{n,i,j} dy[n,i,j,o]
 *
 * A block works on a tile of TILE_H x TILE_W output pixels and COLUMNS output
 * channels; the patch of x under it lies in shared memory, and so do all the
 * weights of these channels, or dy. The channels CHANNELS, the kernel's extent
 * TAPS (square) and the stride STRIDE are fixed when compiling, so that the
 * values that neighboring pixels share stay in registers. */

#ifndef CHANNELS
#define CHANNELS 3
#endif
#ifndef TAPS
#define TAPS 3
#endif
#ifndef STRIDE
#define STRIDE 1
#endif
#ifndef COLUMNS /* 16 or 32 */
#define COLUMNS 16
#endif

#if ON_DEVICE
#define NO_UNROLL _Pragma("unroll 1")
#else
#define NO_UNROLL
#endif

#define TILE_W 32
#define REACH (TAPS * CHANNELS)    /* floats of x that one row of taps reads */
#define STEP (STRIDE * CHANNELS)   /* floats of x from one output pixel to the next */
#define WIDTH ((TILE_W - 1) * STEP + REACH)
#define PITCH ((WIDTH + 3) / 4 * 4 + 4) /* floats of a row of the patch */

typedef struct {
	const real *x;        /* [N,H,W,CHANNELS] */
	const float *w;       /* [TAPS,TAPS,CHANNELS,O] */
	const float *bias;    /* [O] or 0 */
	const real *residual; /* [N,OH,OW,O] or 0 */
	real *y;              /* [N,OH,OW,O] */
	int n, h, w_, oh, ow, o;
	int pad;
	int tiles_h, tiles_w, tiles_o;
	int act;
	int four; /* whether four channels may be moved at once */
} first_layer_args;

/* Loads so many rows of x, from row h0 and column w0 of picture x on, with zeros
 * around the picture. */
DEVICE void load_patch(float *patch, const int rows, const int threads, const real *x, int h0, int w0, int h, int w) {
	for (int e = (int)threadIdx.x; e < rows * PITCH; e += threads) {
		const int y = h0 + e / PITCH, z = w0 * CHANNELS + e % PITCH;
		const int in = y >= 0 && y < h && z >= 0 && z < w * CHANNELS;
		patch[e] = in ? ld(x + (i64)y * w * CHANNELS + z) : 0.f;
	}
}

/* ---- forwards ----
 *
 * A thread makes PIXELS neighboring pixels of eight channels: four from its own
 * on, and four COLUMNS/2 further. */

#define PIXELS 4
#define FORWARD_THREADS 256
#define LANES_O (COLUMNS / 8)
#define LANES_W (TILE_W / PIXELS)
#define FORWARD_H (FORWARD_THREADS / LANES_O / LANES_W) /* TILE_H */
#define FORWARD_ROWS ((FORWARD_H - 1) * STRIDE + TAPS)
#define SEGMENT (((PIXELS - 1) * STEP + REACH + 3) / 4) /* float4s that a thread reads in a row */

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(FORWARD_THREADS, 2)

/* Ends four channels of one output pixel. */
DEVICE void first_layer_end(first_layer_args a, i64 pixel, int o, const float *v) {
	const i64 at = pixel * a.o + o;
	if (a.four) {
		if (o >= a.o) return;
		float4 r = make_float4(v[0], v[1], v[2], v[3]);
		if (a.bias) r = add4(r, ldf4(a.bias + o));
		if (a.residual) r = add4(r, ld4(a.residual + at));
		st4(a.y + at, act4(a.act, r));
		return;
	}
	UNROLL
	for (int j = 0; j < 4; j++) {
		if (o + j >= a.o) break;
		float r = v[j];
		if (a.bias) r += a.bias[o + j];
		if (a.residual) r += ld(a.residual + at + j);
		st(a.y + at + j, act(a.act, r));
	}
}

KERNEL(first_layer)(first_layer_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float4 patch4[FORWARD_ROWS * PITCH / 4], weights4[TAPS * REACH * COLUMNS / 4];
	float *patch = (float *)patch4, *weights = (float *)weights4;
	const int t = (int)threadIdx.x;
	u32 rest = blockIdx.x;
	const int o0 = (int)(rest % (u32)a.tiles_o) * COLUMNS;
	rest /= (u32)a.tiles_o;
	const int j0 = (int)(rest % (u32)a.tiles_w) * TILE_W;
	rest /= (u32)a.tiles_w;
	const int i0 = (int)(rest % (u32)a.tiles_h) * FORWARD_H, n = (int)(rest / (u32)a.tiles_h);
	for (int e = t; e < TAPS * REACH * COLUMNS; e += FORWARD_THREADS) {
		const int k = e / COLUMNS, o = o0 + e % COLUMNS;
		weights[e] = o < a.o ? a.w[(i64)k * a.o + o] : 0.f;
	}
	load_patch(patch, FORWARD_ROWS, FORWARD_THREADS, a.x + (i64)n * a.h * a.w_ * CHANNELS, i0 * STRIDE - a.pad, j0 * STRIDE - a.pad, a.h, a.w_);
	__syncthreads();

	const int lane_o = t % LANES_O * 4, lane_w = t / LANES_O % LANES_W * PIXELS, row = t / (LANES_O * LANES_W);
	const float *x = patch + row * STRIDE * PITCH + lane_w * STEP, *w = weights + lane_o;
	float acc[PIXELS][8];
	UNROLL
	for (int p = 0; p < PIXELS; p++) {
		UNROLL
		for (int j = 0; j < 8; j++) acc[p][j] = 0.f;
	}
	NO_UNROLL
	for (int u = 0; u < TAPS; u++, x += PITCH, w += REACH * COLUMNS) {
		float v[SEGMENT * 4];
		UNROLL
		for (int i = 0; i < SEGMENT; i++) {
			const float4 q = ldf4(x + 4 * i);
			v[4 * i] = q.x, v[4 * i + 1] = q.y, v[4 * i + 2] = q.z, v[4 * i + 3] = q.w;
		}
		UNROLL
		for (int k = 0; k < REACH; k++) {
			const float4 lo = ldf4(w + k * COLUMNS), hi = ldf4(w + k * COLUMNS + COLUMNS / 2);
			UNROLL
			for (int p = 0; p < PIXELS; p++) {
				const float b = v[p * STEP + k];
				acc[p][0] = fmaf(b, lo.x, acc[p][0]), acc[p][1] = fmaf(b, lo.y, acc[p][1]);
				acc[p][2] = fmaf(b, lo.z, acc[p][2]), acc[p][3] = fmaf(b, lo.w, acc[p][3]);
				acc[p][4] = fmaf(b, hi.x, acc[p][4]), acc[p][5] = fmaf(b, hi.y, acc[p][5]);
				acc[p][6] = fmaf(b, hi.z, acc[p][6]), acc[p][7] = fmaf(b, hi.w, acc[p][7]);
			}
		}
	}

	const int i = i0 + row;
	if (i >= a.oh) return;
	UNROLL
	for (int p = 0; p < PIXELS; p++) {
		const int j = j0 + lane_w + p;
		if (j >= a.ow) break;
		const i64 pixel = ((i64)n * a.oh + i) * a.ow + j;
		first_layer_end(a, pixel, o0 + lane_o, acc[p]);
		first_layer_end(a, pixel, o0 + lane_o + COLUMNS / 2, acc[p] + 4);
	}
}

/* ---- the gradient of the weights ----
 *
 * A thread has the taps of one row u and four channels, of the pixels in one row
 * of the tile; it walks along that row with the taps' values of x in registers.
 * A block does every blocks-th tile, and leaves one partial result, which
 * split_sum adds to the others'. */

#define WEIGHT_H (128 / COLUMNS) /* TILE_H */
#define WEIGHT_THREADS (WEIGHT_H * TAPS * COLUMNS / 4)
#define WEIGHT_ROWS ((WEIGHT_H - 1) * STRIDE + TAPS)
#define RESULTS (TAPS * REACH * COLUMNS + COLUMNS) /* dw and db of these columns */
#define WEIGHT_PATCH (WEIGHT_ROWS * PITCH)
#define WEIGHT_FLOATS (WEIGHT_PATCH + WEIGHT_H * TILE_W * COLUMNS)

typedef struct {
	const real *x;  /* [N,H,W,CHANNELS] */
	const real *dy; /* [N,OH,OW,O] */
	float *dw;      /* [TAPS,TAPS,CHANNELS,O], of each block */
	float *db;      /* [O] or 0, of each block */
	i64 stride;     /* floats from one block's results to the next */
	int n, h, w, oh, ow, o;
	int pad;
	int tiles_h, tiles_w, tiles_o;
	int tiles, blocks; /* n·tiles_h·tiles_w, and what shares them */
	int four;
} first_layer_weight_args;

#undef KERNEL_BOUNDS
#define KERNEL_BOUNDS __launch_bounds__(WEIGHT_THREADS, TAPS == 7 ? 2 : 4)

/* Loads the tile of dy at (i0, j0, o0) of picture dy; what is outside is zero. */
DEVICE void load_gradient(float *to, const real *dy, int i0, int j0, int o0, first_layer_weight_args a) {
	for (int e = (int)threadIdx.x * 4; e < WEIGHT_H * TILE_W * COLUMNS; e += WEIGHT_THREADS * 4) {
		const int o = o0 + e % COLUMNS, j = j0 + e / COLUMNS % TILE_W, i = i0 + e / COLUMNS / TILE_W;
		const int in = i < a.oh && j < a.ow;
		const real *p = dy + ((i64)i * a.ow + j) * a.o + o;
		if (a.four) {
			stf4(to + e, in && o < a.o ? ld4(p) : zero4());
			continue;
		}
		UNROLL
		for (int q = 0; q < 4; q++) to[e + q] = in && o + q < a.o ? ld(p + q) : 0.f;
	}
}

KERNEL(first_layer_weight)(first_layer_weight_args a) {
	WAIT_FOR_EARLIER();
	__shared__ float4 memory[(WEIGHT_FLOATS > RESULTS ? WEIGHT_FLOATS : RESULTS) / 4 + 1];
	float *patch = (float *)memory, *gradient = patch + WEIGHT_PATCH, *results = patch;
	const int t = (int)threadIdx.x;
	const int o0 = (int)(blockIdx.x % (u32)a.tiles_o) * COLUMNS, block = (int)(blockIdx.x / (u32)a.tiles_o);
	const int lane = t % (COLUMNS / 4) * 4, u = t / (COLUMNS / 4) % TAPS, row = t / (COLUMNS / 4) / TAPS;
	float acc[REACH][4], sum[4];
	UNROLL
	for (int j = 0; j < 4; j++) {
		sum[j] = 0.f;
		UNROLL
		for (int k = 0; k < REACH; k++) acc[k][j] = 0.f;
	}

	NO_UNROLL
	for (int tile = block; tile < a.tiles; tile += a.blocks) {
		const int j0 = tile % a.tiles_w * TILE_W, i0 = tile / a.tiles_w % a.tiles_h * WEIGHT_H;
		const i64 n = tile / a.tiles_w / a.tiles_h;
		__syncthreads(); /* the tile before is done with */
		load_patch(patch, WEIGHT_ROWS, WEIGHT_THREADS, a.x + n * a.h * a.w * CHANNELS, i0 * STRIDE - a.pad, j0 * STRIDE - a.pad, a.h, a.w);
		load_gradient(gradient, a.dy + n * a.oh * a.ow * a.o, i0, j0, o0, a);
		__syncthreads();
		const float *x = patch + (row * STRIDE + u) * PITCH, *dy = gradient + row * TILE_W * COLUMNS + lane;
		float v[REACH];
		UNROLL
		for (int k = 0; k < REACH - STEP; k++) v[k + STEP] = x[k];
		NO_UNROLL
		for (int j = 0; j < TILE_W; j++) {
			UNROLL
			for (int k = 0; k < REACH; k++) v[k] = k < REACH - STEP ? v[k + STEP] : x[j * STEP + k];
			const float4 d = ldf4(dy + j * COLUMNS);
			UNROLL
			for (int k = 0; k < REACH; k++) {
				acc[k][0] = fmaf(v[k], d.x, acc[k][0]), acc[k][1] = fmaf(v[k], d.y, acc[k][1]);
				acc[k][2] = fmaf(v[k], d.z, acc[k][2]), acc[k][3] = fmaf(v[k], d.w, acc[k][3]);
			}
			sum[0] += d.x, sum[1] += d.y, sum[2] += d.z, sum[3] += d.w;
		}
	}

	for (int r = 0; r < WEIGHT_H; r++) { /* the rows' results, one after the other */
		__syncthreads();
		if (row != r) continue;
		UNROLL
		for (int k = 0; k < REACH; k++) {
			float *p = results + (u * REACH + k) * COLUMNS + lane;
			UNROLL
			for (int j = 0; j < 4; j++) p[j] = r > 0 ? p[j] + acc[k][j] : acc[k][j];
		}
		if (u == 0) {
			float *p = results + TAPS * REACH * COLUMNS + lane;
			UNROLL
			for (int j = 0; j < 4; j++) p[j] = r > 0 ? p[j] + sum[j] : sum[j];
		}
	}
	__syncthreads();
	for (int e = t; e < RESULTS; e += WEIGHT_THREADS) {
		const int k = e / COLUMNS, o = o0 + e % COLUMNS;
		if (o >= a.o) continue;
		if (k < TAPS * REACH) a.dw[block * a.stride + (i64)k * a.o + o] = results[e];
		else if (a.db) a.db[block * a.stride + o] = results[e];
	}
}
