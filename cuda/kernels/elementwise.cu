/* Element-wise operators, and the transpose of Flatten. All are bound by memory:
 * sixteen bytes at a time, in grid-stride loops. Tensors start at multiples of
 * sixteen bytes, so only the last few elements are taken one by one. */

#include "vectors.cuh"

/* y = w0·x0 + w1·x1; a null x1 is left out. */
typedef struct {
	const real *x0, *x1;
	real *y;
	i64 n;
	float w0, w1;
} add2_args;

KERNEL(add2)(add2_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float v[VEC], u[VEC];
		ldv(a.x0 + i, v);
		if (a.x1) ldv(a.x1 + i, u);
		UNROLL
		for (int l = 0; l < VEC; l++) {
			v[l] *= a.w0;
			if (a.x1) v[l] = fmaf(a.w1, u[l], v[l]);
		}
		stv(a.y + i, v);
	}
	REST(i, a.n) {
		float v = a.w0 * ld(a.x0 + i);
		if (a.x1) v = fmaf(a.w1, ld(a.x1 + i), v);
		st(a.y + i, v);
	}
}

/* y = Σ_k w[k]·x[k] for up to ADD_INPUTS inputs. */
#define ADD_INPUTS 128
typedef struct {
	const real *x[ADD_INPUTS];
	real *y;
	i64 n;
	float w[ADD_INPUTS];
	int k;
} add_args;

KERNEL(add)(add_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float sum[VEC];
		UNROLL
		for (int l = 0; l < VEC; l++) sum[l] = 0.f;
		UNROLL
		for (int k = 0; k < a.k; k++) {
			float v[VEC], w = a.w[k];
			ldv(a.x[k] + i, v);
			UNROLL
			for (int l = 0; l < VEC; l++) sum[l] = fmaf(w, v[l], sum[l]);
		}
		stv(a.y + i, sum);
	}
	REST(i, a.n) {
		float sum = 0.f;
		for (int k = 0; k < a.k; k++) sum = fmaf(a.w[k], ld(a.x[k] + i), sum);
		st(a.y + i, sum);
	}
}

typedef struct {
	real *y;
	i64 n;
	float value;
} fill_args;

KERNEL(fill)(fill_args a) {
	WAIT_FOR_EARLIER();
	VECTORS(i, a.n) {
		float v[VEC];
		UNROLL
		for (int l = 0; l < VEC; l++) v[l] = a.value;
		stv(a.y + i, v);
	}
	REST(i, a.n) st(a.y + i, a.value);
}

/* ---- float32 to bfloat16 and back, eight elements a thread ---- */

typedef struct {
	const float *x;
	bf16 *y;
	i64 n;
} cast_to_args;

KERNEL(cast_to)(cast_to_args a) {
	WAIT_FOR_EARLIER();
	VECTORS_OF(8, i, a.n) {
		float4 v = ldf4(a.x + i), u = ldf4(a.x + i + 4);
		bf16x8 r;
		r.a = to_bf16x2(v.x, v.y), r.b = to_bf16x2(v.z, v.w);
		r.c = to_bf16x2(u.x, u.y), r.d = to_bf16x2(u.z, u.w);
		*(bf16x8 *)(a.y + i) = r;
	}
	REST_OF(8, i, a.n) a.y[i] = to_bf16(a.x[i]);
}

typedef struct {
	const bf16 *x;
	float *y;
	i64 n;
} cast_from_args;

KERNEL(cast_from)(cast_from_args a) {
	WAIT_FOR_EARLIER();
	VECTORS_OF(8, i, a.n) {
		bf16x8 r = *(const bf16x8 *)(a.x + i);
		stf4(a.y + i, make_float4(low_bf16(r.a), high_bf16(r.a), low_bf16(r.b), high_bf16(r.b)));
		stf4(a.y + i + 4, make_float4(low_bf16(r.c), high_bf16(r.c), low_bf16(r.d), high_bf16(r.d)));
	}
	REST_OF(8, i, a.n) a.y[i] = from_bf16(a.x[i]);
}

/* ---- Flatten ----
 *
 * y[n,s,r] = x[n,r,s]: each image's matrix [rows,cols] is transposed, in tiles of
 * 32×32 through shared memory, so that reads and writes both run along rows. A
 * block has 32×8 threads. The column of padding keeps the banks apart. */
#define TILE 32
#define TILE_ROWS 8
typedef struct {
	const real *x;
	real *y;
	u32 tiles;
	int rows, cols;
	fastdiv across, down; /* tiles side by side in a row of an image, and one below the other */
} transpose_args;

KERNEL(transpose)(transpose_args a) {
	WAIT_FOR_EARLIER();
	__shared__ real tile[TILE][TILE + 1];
	int tx = (int)threadIdx.x, ty = (int)threadIdx.y;
	for (u32 t = blockIdx.x; t < a.tiles; t += gridDim.x) {
		u32 q = div_by(t, a.across), n = div_by(q, a.down);
		int col = (int)mod_by(t, q, a.across) * TILE, row = (int)mod_by(q, n, a.down) * TILE;
		i64 image = (i64)n * a.rows * a.cols;
		UNROLL
		for (int u = 0; u < TILE; u += TILE_ROWS) {
			int r = row + ty + u, s = col + tx;
			if (r < a.rows && s < a.cols) tile[ty + u][tx] = a.x[image + (i64)r * a.cols + s];
		}
		__syncthreads();
		UNROLL
		for (int u = 0; u < TILE; u += TILE_ROWS) {
			int r = row + tx, s = col + ty + u;
			if (r < a.rows && s < a.cols) a.y[image + (i64)s * a.rows + r] = tile[tx][ty + u];
		}
		__syncthreads();
	}
}

/* ---- Dropout ----
 *
 * Element i is kept if word i mod 4 of Philox4x32-10 is not below the threshold;
 * the key is counter[0:2], the counter (i/4, stream, counter[2], counter[3]). */

typedef struct { u32 w[4]; } philox_words;

DEVICE philox_words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
	UNROLL
	for (int round = 0; round < 10; round++) {
		u32 hi0 = mul_hi(0xD2511F53u, c0), lo0 = 0xD2511F53u * c0;
		u32 hi1 = mul_hi(0xCD9E8D57u, c2), lo1 = 0xCD9E8D57u * c2;
		c0 = hi1 ^ c1 ^ k0, c1 = lo1;
		c2 = hi0 ^ c3 ^ k1, c3 = lo0;
		k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
	}
	philox_words r;
	r.w[0] = c0, r.w[1] = c1, r.w[2] = c2, r.w[3] = c3;
	return r;
}

typedef struct {
	const real *x;
	const u32 *counter;
	real *y;
	i64 n;
	u32 stream, threshold;
	float scale; /* 1/(1-P) */
} dropout_args;

KERNEL(dropout)(dropout_args a) {
	WAIT_FOR_EARLIER();
	u32 k0 = a.counter[0], k1 = a.counter[1], c2 = a.counter[2], c3 = a.counter[3];
	VECTORS(i, a.n) {
		float v[VEC];
		ldv(a.x + i, v);
		UNROLL
		for (int q = 0; q < VEC / 4; q++) {
			philox_words r = philox((u32)(i / 4) + (u32)q, a.stream, c2, c3, k0, k1);
			UNROLL
			for (int l = 0; l < 4; l++) v[4 * q + l] = r.w[l] < a.threshold ? 0.f : v[4 * q + l] * a.scale;
		}
		stv(a.y + i, v);
	}
	REST(i, a.n) {
		philox_words r = philox((u32)(i / 4), a.stream, c2, c3, k0, k1);
		u32 word = i % 4 == 0 ? r.w[0] : i % 4 == 1 ? r.w[1] : i % 4 == 2 ? r.w[2] : r.w[3];
		st(a.y + i, word < a.threshold ? 0.f : ld(a.x + i) * a.scale);
	}
}

/* ---- Stochastic depth: as dropout, but a word for each image of `each` elements ---- */

typedef struct {
	const real *x;
	const u32 *counter;
	real *y;
	i64 n;
	u32 stream, threshold;
	float scale; /* 1/(1-P) */
	fastdiv by_image; /* the vectors, or elements, of an image */
} stochastic_depth_args;

DEVICE float image_scale(const stochastic_depth_args *a, u32 image) {
	philox_words r = philox(image / 4, a->stream, a->counter[2], a->counter[3], a->counter[0], a->counter[1]);
	u32 k = image % 4, word = k == 0 ? r.w[0] : k == 1 ? r.w[1] : k == 2 ? r.w[2] : r.w[3];
	return word < a->threshold ? 0.f : a->scale;
}

/* Images of whole vectors; n counts these. */
KERNEL(stochastic_depth_wide)(stochastic_depth_args a) {
	WAIT_FOR_EARLIER();
	ROLLED for (i64 i = FIRST; i < a.n; i += STEP) {
		float v[VEC], scale = image_scale(&a, div_by((u32)i, a.by_image));
		ldv(a.x + i * VEC, v);
		UNROLL
		for (int l = 0; l < VEC; l++) v[l] = scale == 0.f ? 0.f : v[l] * scale;
		stv(a.y + i * VEC, v);
	}
}

KERNEL(stochastic_depth)(stochastic_depth_args a) {
	WAIT_FOR_EARLIER();
	ROLLED for (i64 i = FIRST; i < a.n; i += STEP) {
		float scale = image_scale(&a, div_by((u32)i, a.by_image));
		st(a.y + i, scale == 0.f ? 0.f : ld(a.x + i) * scale);
	}
}
